//! Query strings and percent-encoding.

use std::{borrow::Cow, time::Duration};

use portolan_model::{Revision, parse_span};

use super::Refusal;

/// The parameters of a query; a parameter that stands twice has its first value.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let parsed = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        parsed.collect::<Result<_, Refusal>>().map(Self)
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// A span of time that is at most `max`.
    pub(super) fn span(&self, name: &str, max: Duration) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.find(name) else {
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

    pub(super) fn revision(&self, name: &str) -> Result<Option<Revision>, Refusal> {
        self.number(name)
            .map(|number| number.map(Revision::from_u64))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let parsed = self.find(name).map(str::parse).transpose();
        parsed.map_err(|_| Refusal::malformed(format!("`{name}` is not a whole number")))
    }
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let malformed = || Refusal::malformed(format!("`{text}` is not percent-encoded UTF-8"));
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(malformed)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_bounded() {
        let query = Query::parse("service=a%2Fb&wait=5s&after=7&flag&=x&wait=6s").unwrap();
        assert_eq!(query.find("service"), Some("a/b"));
        assert_eq!(query.find("flag"), Some(""));
        let minute = Duration::from_mins(1);
        assert_eq!(
            query.span("wait", minute).unwrap(),
            Some(Duration::from_secs(5))
        );
        assert!(query.span("wait", Duration::from_secs(4)).is_err());
        assert_eq!(query.number("after").unwrap(), Some(7));
        assert!(query.number("service").is_err());
        assert!(Query::parse("a=%f").is_err());
        assert!(Query::parse("a=%+1").is_err());
    }
}
