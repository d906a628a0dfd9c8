//! Query strings (RFC 3986, section 3.4), as forms write them.

use std::borrow::Cow;

use crate::percent;

/// A text that is not percent-encoded UTF-8. The client's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not percent-encoded UTF-8")]
pub struct BadEncoding {
    /// The text.
    pub text: String,
}

/// The parameters of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads `name=value&name=value`; a name without `=` has an empty value, and `+` is a
    /// space, as forms write it.
    ///
    /// # Errors
    /// [`BadEncoding`] names the offending part.
    pub fn parse(text: &'a str) -> Result<Self, BadEncoding> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let parsed = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_form(name)?, decode_form(value)?))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are no parameters.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// All parameters with their values, in the given order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.0.iter();
        given.map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// All values of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let given = self.0.iter();
        given
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// Undoes the encoding of forms: that of percents, and `+` for a space.
/// Source: URL Standard, section 5.1.
fn decode_form(text: &str) -> Result<Cow<'_, str>, BadEncoding> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        decode(&spaced).map(|text| Cow::Owned(text.into_owned()))
    } else {
        decode(text)
    }
}

/// Undoes percent-encoding.
///
/// # Errors
/// [`BadEncoding`] if there is a `%` without two digits, or the bytes are not UTF-8.
pub fn decode(text: &str) -> Result<Cow<'_, str>, BadEncoding> {
    percent::decode(text).ok_or_else(|| BadEncoding {
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        let query = Query::parse("service=a%2Fb&after=7&flag&=x&after=8").unwrap();
        assert_eq!(query.find("service"), Some("a/b"));
        assert_eq!(query.find("flag"), Some(""));
        assert_eq!(query.all("after").collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!(query.find("other"), None);
    }

    #[test]
    fn a_plus_is_a_space_in_queries_and_nowhere_else() {
        let query = Query::parse("a+b=c+d%2B%20+&e=f").unwrap();
        assert_eq!(query.find("a b"), Some("c d+  "));
        assert_eq!(query.find("e"), Some("f"));
        assert_eq!(decode("a+b").unwrap(), "a+b");
    }

    #[test]
    fn what_is_not_encoded_is_refused() {
        for bad in ["a=%f", "a=%+1", "%ff", "%zz=1", "%"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }
}
