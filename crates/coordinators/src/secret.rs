//! Passwords of sources: read, sent, and never shown.

use std::fmt;

use portolan_sources::frame::Fields;
use serde_json::{Value, json};

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The user.
    pub(crate) username: String,
    /// The password.
    pub(crate) password: String,
}

impl Login {
    /// Reads `username` and `password`.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        match (fields.text("username"), fields.text("password")) {
            (Some(username), Some(password)) => Some(Self {
                username: username.to_owned(),
                password: password.to_owned(),
            }),
            (None, None) => None,
            (Some(_), None) => {
                fields.refuse("password", "there is a `username`, but no `password`");
                None
            }
            (None, Some(_)) => {
                fields.refuse("username", "there is a `password`, but no `username`");
                None
            }
        }
    }

    /// The schema of these settings.
    pub(crate) fn schema() -> [(&'static str, Value); 2] {
        let text = |what: &str| json!({"type": "string", "description": what});
        [
            ("username", text("The user; needs `password`.")),
            ("password", text("The user's password; it is not shown.")),
        ]
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
