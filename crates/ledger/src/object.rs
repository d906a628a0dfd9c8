//! What fronts keep beside keys: prepared queries, nodes that are registered by hand, events.
//!
//! The engine carries them unread: a body is its front's. What it does know is what must hold at
//! every moment: names that nobody else of the kind has, the session that takes an object with it,
//! and how many there may be.

use std::sync::Arc;

use portolan_model::Revision;
use serde::{Deserialize, Serialize};

use crate::SessionId;

/// Largest body, in bytes.
pub const OBJECT_BYTES_MAX: usize = 256 << 10;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A prepared query.
    Query,
    /// A node that is registered by hand.
    Node,
    /// A check of a node.
    Check,
    /// An event. One too many takes the place of the oldest.
    Event,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Query, Self::Node, Self::Check, Self::Event];

    /// Most objects of it.
    #[must_use]
    pub const fn max(self) -> usize {
        match self {
            Self::Query => 10_000,
            Self::Node | Self::Check => 65_536,
            Self::Event => 256,
        }
    }

    /// Where they are stored.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Query => "query/",
            Self::Node => "node/",
            Self::Check => "check/",
            Self::Event => "event/",
        }
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// A name that no other object of its kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Arc<str>>,
    /// The session that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What the front knows of it.
    pub body: Arc<str>,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that changed it last.
    pub modified: Revision,
}
