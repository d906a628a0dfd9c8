//! The token of a request, from the three places where clients put it.

use std::{fmt, sync::Arc};

/// The longest token that is looked at.
const BYTES_MAX: usize = 4096;

/// A token; never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

impl Token {
    /// The secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The token that counts: the query's before the header's before that of `Authorization`.
/// An empty one counts for none.
#[must_use]
pub fn token_of(
    query: Option<&str>,
    header: Option<&str>,
    authorization: Option<&str>,
) -> Option<Token> {
    let bearer = authorization.and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim_start())
    });
    let given = [query, header, bearer].into_iter().flatten();
    let mut fine = given.filter(|token| !token.is_empty() && token.len() <= BYTES_MAX);
    fine.next().map(|token| Token(token.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_wins() {
        let token = |q, h, a| token_of(q, h, a).map(|token| token.as_str().to_owned());
        assert_eq!(
            token(Some("q"), Some("h"), Some("Bearer b")).as_deref(),
            Some("q")
        );
        assert_eq!(token(Some(""), Some("h"), None).as_deref(), Some("h"));
        assert_eq!(token(None, None, Some("bearer  b")).as_deref(), Some("b"));
        assert_eq!(token(None, None, Some("Basic b")), None);
        assert_eq!(token(None, None, None), None);
        assert_eq!(
            format!("{:?}", token_of(Some("q"), None, None)),
            "Some(Token(..))"
        );
    }

    #[test]
    fn a_token_is_looked_at_up_to_its_limit() {
        let long = "t".repeat(BYTES_MAX);
        assert!(token_of(Some(&long), None, None).is_some());
        assert!(token_of(Some(&format!("{long}t")), None, None).is_none());
    }
}
