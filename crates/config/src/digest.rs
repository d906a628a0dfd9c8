//! A fingerprint of what was written: the same over restarts and machines.
//!
//! FNV-1a over 128 bits: it tells changes apart, it does not protect against
//! somebody who wants two objects to look alike. Source: draft-eastlake-fnv.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(BASIS).with(text.as_bytes())
    }

    /// Of a JSON value; the order of an object's members does not count.
    #[must_use]
    pub fn of_json(value: &Value) -> Self {
        Self(BASIS).with_json(value)
    }

    /// This one, continued by another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.with(&other.0.to_be_bytes())
    }

    fn with(self, bytes: &[u8]) -> Self {
        let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        Self(bytes.iter().fold(self.0, step))
    }

    fn with_json(self, value: &Value) -> Self {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                // A scalar's JSON text says its type, and no other scalar has the same.
                self.with(value.to_string().as_bytes()).with(b"\n")
            }
            Value::Array(items) => items
                .iter()
                .fold(self.with(b"["), Self::with_json)
                .with(b"]"),
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| key.as_str());
                let member = |hash: Self, (key, value): (&String, &Value)| {
                    hash.with(key.as_bytes()).with(b"\0").with_json(value)
                };
                members.into_iter().fold(self.with(b"{"), member).with(b"}")
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn digest_sees_values_and_not_the_order_of_members() {
        let one = Digest::of_json(&json!({"a": 1, "b": [true, "x"]}));
        assert_eq!(one, Digest::of_json(&json!({"b": [true, "x"], "a": 1})));
        for other in [
            json!({"a": 1, "b": ["x", true]}),
            json!({"a": "1", "b": [true, "x"]}),
        ] {
            assert_ne!(one, Digest::of_json(&other), "{other}");
        }
        assert_eq!(
            Digest::of("a").to_string(),
            "d228cb696f1a8caf78912b704e4a8964"
        );
    }
}
