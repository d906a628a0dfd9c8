//! Who a Portolan is, so that what it tells others does not come back to it as news.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest id of a node, in bytes.
const NODE_ID_BYTES_MAX: usize = 64;

/// The id of one Portolan: made by chance once, and kept for as long as its data are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

/// A text that is no id of a node. The fault of whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a node is 1 to {NODE_ID_BYTES_MAX} letters, digits and `-`")]
pub struct BadNodeId;

impl NodeId {
    /// The header field in which every registry front says whose it is.
    pub const FIELD: &'static str = "x-portolan-node";
    /// The metadata key that names the Portolan to which an instance was told first.
    pub const ORIGIN: &'static str = "portolan/origin";

    /// The metadata key that names, by commas, those that passed it on since.
    pub const PATH: &'static str = "portolan/path";

    /// Reads an id.
    ///
    /// # Errors
    /// [`BadNodeId`] if it is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, BadNodeId> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_sound = !text.is_empty() && text.len() <= NODE_ID_BYTES_MAX;
        if !is_sound || !text.bytes().all(fits) {
            return Err(BadNodeId);
        }
        Ok(Self(text.into()))
    }

    /// The id out of two numbers that chance gave.
    #[must_use]
    pub fn of_chance(numbers: [u64; 2]) -> Self {
        let [first, second] = numbers;
        Self(format!("{first:016x}{second:016x}").into())
    }

    /// The id as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeId {
    type Error = BadNodeId;

    fn try_from(text: String) -> Result<Self, BadNodeId> {
        Self::parse(&text)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = NodeId::of_chance([7, u64::MAX]);
        assert_eq!(id.as_str(), "0000000000000007ffffffffffffffff");
        assert_eq!(NodeId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn what_no_header_should_carry_is_no_id() {
        for text in ["", "a b", "a\n", "é", &"a".repeat(65)] {
            assert_eq!(NodeId::parse(text), Err(BadNodeId), "{text}");
        }
        assert!(NodeId::parse(&"a".repeat(64)).is_ok());
    }
}
