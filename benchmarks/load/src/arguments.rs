//! Command line: pairs of `--name value`, names may repeat.

use std::str::FromStr;

/// The pairs, in the order given.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads pairs of `--name value`.
    ///
    /// # Errors
    /// A word without its dashes, or a name without its value.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut pairs = Vec::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(format!("expected --name, found {word}"));
            };
            let value = words
                .next()
                .ok_or_else(|| format!("--{name} has no value"))?;
            pairs.push((name.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    /// Every value of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value of `name`, or `default`.
    ///
    /// # Errors
    /// The value cannot be read as `T`.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.all(name).last() {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("--{name}: cannot read {text}")),
        }
    }
}
