//! Sizes in bytes, as people write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Size of a body, a head or a buffer, in bytes; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct ByteSize(u64);

/// As [`ByteSize::from_bytes`].
impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self::from_bytes(bytes)
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size; write a number above zero with B, kB, KiB, MB, MiB, GB or GiB")]
pub struct BadSize {
    /// What was given.
    pub text: String,
}

impl ByteSize {
    /// From a number of bytes; zero becomes one.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes == 0 { 1 } else { bytes })
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as an index; everything on a 64-bit machine.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `512`, `64KiB`, `2kB`, `10MiB`.
    ///
    /// # Errors
    /// [`BadSize`] names the offending text; zero is refused.
    pub fn parse(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize {
            text: text.to_owned(),
        };
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "kB" | "KB" => 1000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "GiB" => 1 << 30,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        match number.checked_mul(scale) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            Some(_) | None => Err(bad()),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_trip() {
        for text in ["1B", "64KiB", "10MiB", "3GiB", "1000B"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ByteSize::parse("2kB").unwrap().as_bytes(), 2000);
        for bad in [
            "",
            "0",
            "1.5MiB",
            "10 mb",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }
}
