//! What is wrong with a request.

use std::borrow::Cow;

/// What does not fit in a well-formed request. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Misfit {
    /// JSON pointer to the field.
    pub pointer: Cow<'static, str>,
    /// What is wrong with it.
    pub message: String,
}

impl Misfit {
    pub(crate) fn new(pointer: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// The same, within the field at that pointer.
    pub(crate) fn under(self, pointer: &str) -> Self {
        Self {
            pointer: format!("{pointer}{}", self.pointer).into(),
            ..self
        }
    }
}
