//! Typed parameters of a query.

use std::time::Duration;

use portolan_model::{Revision, parse_span};
use portolan_wire::serve::{BadEncoding, Query};

use super::Refusal;

/// A span of time that is at most `max`.
pub(super) fn span(
    query: &Query<'_>,
    name: &str,
    max: Duration,
) -> Result<Option<Duration>, Refusal> {
    let Some(text) = query.find(name) else {
        return Ok(None);
    };
    let span =
        parse_span(text).map_err(|error| Refusal::malformed(format!("`{name}`: {error}")))?;
    if span > max {
        let detail = format!("`{name}` is at most {max:?}");
        return Err(Refusal::malformed(detail));
    }
    Ok(Some(span))
}

pub(super) fn revision(query: &Query<'_>, name: &str) -> Result<Option<Revision>, Refusal> {
    number(query, name).map(|number| number.map(Revision::from_u64))
}

pub(super) fn number(query: &Query<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    let parsed = query.find(name).map(str::parse).transpose();
    parsed.map_err(|_| Refusal::malformed(format!("`{name}` is not a whole number")))
}

impl From<BadEncoding> for Refusal {
    fn from(error: BadEncoding) -> Self {
        Self::malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bounded() {
        let query = Query::parse("wait=5s&after=7").unwrap();
        let minute = Duration::from_mins(1);
        let five = Duration::from_secs(5);
        assert_eq!(span(&query, "wait", minute).unwrap(), Some(five));
        assert_eq!(span(&query, "wait", five).unwrap(), Some(five));
        assert!(span(&query, "wait", Duration::from_secs(4)).is_err());
        assert_eq!(number(&query, "after").unwrap(), Some(7));
        assert!(number(&query, "wait").is_err());
    }
}
