//! Conditions over texts: header values, query parameters, bodies.
//!
//! Regular expressions always speak for the whole text, as a half-anchored
//! pattern in an access rule is a hole. They run in linear time and their size is
//! limited, so that neither a request nor a configuration can stall a worker.

use portolan_model::route::TextMatch;
use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// Largest cache of one regular expression's lazy automaton, in bytes.
const REGEX_CACHE_BYTES_MAX: usize = 256 << 10;

/// A compiled condition over a text.
#[derive(Debug)]
pub(crate) enum TextTest {
    Exact(Box<[u8]>),
    Regex(Regex),
    Present,
}

impl TextTest {
    /// Compiles a condition, or says in one sentence why it can't be.
    pub(crate) fn compile(text: &TextMatch) -> Result<Self, String> {
        Ok(match text {
            TextMatch::Exact(text) => Self::Exact(text.as_bytes().into()),
            TextMatch::Regex(pattern) => Self::Regex(compile_regex(pattern)?),
            TextMatch::Present => Self::Present,
        })
    }

    /// Whether a text that is there meets the condition.
    pub(crate) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => **expected == *text,
            Self::Regex(regex) => regex.is_match(text),
            Self::Present => true,
        }
    }
}

/// Compiles a regular expression over a whole text, or says in one sentence why it can't be.
pub(crate) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
            .build()
            .map_err(|error| explain(&error))
    };
    // Alone first: `a)(b` must not become well-formed by what is put around it.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

fn explain(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("the regular expression needs more than the limit of {limit} bytes");
    }
    // The foreign text draws the pattern over several lines and ends in the reason.
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    let reason = reason.trim_start_matches("error: ");
    format!("the regular expression can't be read: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regex_speaks_for_the_whole_text() {
        let test = TextTest::compile(&TextMatch::Regex("a|bc".to_owned())).unwrap();
        for (text, expected) in [("a", true), ("bc", true), ("ab", false), ("xbc", false)] {
            assert_eq!(test.holds(text.as_bytes()), expected, "{text}");
        }
        assert!(!test.holds(b"a\n"));
    }

    #[test]
    fn bad_regex_is_explained_in_one_line() {
        for pattern in ["a)(b", "[", "(?x)a #"] {
            let message = compile_regex(pattern).unwrap_err();
            assert!(!message.contains('\n'), "{message}");
        }
        assert_eq!(
            compile_regex("[").unwrap_err(),
            "the regular expression can't be read: unclosed character class"
        );
    }

    #[test]
    fn regex_over_the_size_limit_is_refused() {
        assert!(compile_regex("[0-9]{1000}").is_ok());
        assert!(compile_regex(r"\w{1000}").unwrap_err().contains("limit"));
    }
}
