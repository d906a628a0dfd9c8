//! Sessions: who holds locks, and when they are let go.

use std::{fmt, sync::Arc, time::Duration};

use portolan_model::Revision;
use portolan_runtime::Dice;
use serde::{Deserialize, Serialize};

/// Longest id, in bytes: what an entry has room for.
const ID_BYTES_MAX: usize = 64;
/// Longest TTL: a day, as with Consul.
pub const TTL_MAX: Duration = Duration::from_hours(24);
/// Longest lock delay: a minute, as with Consul.
pub const LOCK_DELAY_MAX: Duration = Duration::from_mins(1);

/// Which session.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// An id as a client sends it; none if it can't be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= ID_BYTES_MAX;
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        (fits && is_plain).then(|| Self(text.into()))
    }

    /// A new id, in the form of a random UUID (RFC 9562, version 4). Not for secrets.
    #[must_use]
    pub fn draw(dice: &mut Dice) -> Self {
        Self(dice.uuid())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to the keys of a session that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behavior {
    /// They are unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

/// What a session is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// A name for people.
    pub name: String,
    /// The node that it belongs to.
    pub node: String,
    /// How long a key can't be locked after the session that held it ended unasked.
    pub lock_delay: Duration,
    /// What happens to its keys when it ends.
    pub behavior: Behavior,
    /// How long it lives without being renewed; forever if none.
    pub ttl: Option<Duration>,
    /// Checks of the node that end it when they fail.
    pub node_checks: Vec<Arc<str>>,
    /// Checks of services that end it when they fail.
    pub service_checks: Vec<Arc<str>>,
}

impl Terms {
    /// Whether its spans are within the limits, so that no deadline is out of a clock's range.
    pub(crate) fn are_in_range(&self) -> bool {
        self.lock_delay <= LOCK_DELAY_MAX && self.ttl.is_none_or(|ttl| ttl <= TTL_MAX)
    }

    /// The same with spans within the limits.
    pub(crate) fn in_range(self) -> Self {
        Self {
            lock_delay: self.lock_delay.min(LOCK_DELAY_MAX),
            ttl: self.ttl.map(|ttl| ttl.min(TTL_MAX)),
            ..self
        }
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What it was made with.
    pub terms: Terms,
    /// The revision that made it.
    pub created: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ids_are_uuids() {
        let mut dice = Dice::new(1);
        for _ in 0..100 {
            let id = SessionId::draw(&mut dice);
            let text = id.as_str();
            assert_eq!(SessionId::new(text), Some(id.clone()));
            assert_eq!(text.len(), 36);
            assert_eq!(text.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        }
    }

    #[test]
    fn ids_are_refused_one_past_the_limit() {
        assert!(SessionId::new(&"a".repeat(ID_BYTES_MAX)).is_some());
        assert!(SessionId::new(&"a".repeat(ID_BYTES_MAX + 1)).is_none());
        assert!(SessionId::new("").is_none());
        assert!(SessionId::new("a b").is_none());
    }
}
