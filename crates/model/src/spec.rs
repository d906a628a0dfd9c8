//! A plug before its kind has parsed it.

use serde::{Deserialize, Serialize};

/// Names a kind of policy, source or balancer and carries its settings unread.
/// The kind's row in its shelf's table turns it into a typed value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The word of the kind in its shelf: `headers`, `dns`, `round_robin`.
    pub kind: String,
    /// The settings as written; `null` when there are none.
    #[serde(default)]
    pub settings: serde_json::Value,
}

/// What is wrong with a plug's settings. The fault of whoever wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer to the place within the settings; empty for the whole.
    pub path: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at `path`, without help.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            help: None,
        }
    }

    /// The same problem with a way out.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}
