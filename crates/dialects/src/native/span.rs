//! Spans of time as JSON texts.

use std::{fmt, time::Duration};

use portolan_model::{BadSpan, parse_span};
use serde::{Deserialize, Serialize, Serializer};

/// A span of time: `"30s"`, `"1m30s"`, `"250ms"` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<String> for Span {
    type Error = BadSpan;

    fn try_from(text: String) -> Result<Self, BadSpan> {
        parse_span(&text).map(Self)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// The largest unit that divides the span.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A division of 128 bits takes as long as all the rest.
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ];
        for (scale, unit) in units {
            if millis > 0
                && let (Some(count), Some(0)) =
                    (millis.checked_div(scale), millis.checked_rem(scale))
            {
                return write!(f, "{count}{unit}");
            }
        }
        write!(f, "{millis}ms")
    }
}
