//! Why a request is not served, as a client of Consul is told.

/// A status and a plain text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Refusal {
    /// A refusal of that status.
    #[must_use]
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// 400: the request is wrong in itself.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// 404: what it is about is not there.
    #[must_use]
    pub fn missing(text: impl Into<String>) -> Self {
        Self::new(404, text)
    }

    /// 500, which is also how Consul says that a request names what it does not have.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(500, text)
    }

    /// A body that can't be read.
    pub(super) fn decode(text: impl std::fmt::Display) -> Self {
        Self::bad(format!("Request decode failed: {text}"))
    }

    /// A check that nobody registered.
    #[must_use]
    pub fn unknown_check(id: &str) -> Self {
        Self::missing(format!(
            "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
        ))
    }

    /// A service that nobody registered.
    #[must_use]
    pub fn unknown_service(id: &str) -> Self {
        Self::missing(format!(
            "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
        ))
    }

    /// A datacenter that is not ours.
    #[must_use]
    pub fn no_path() -> Self {
        Self::failed("No path to datacenter")
    }
}

impl From<portolan_expression::bexpr::FilterError> for Refusal {
    fn from(error: portolan_expression::bexpr::FilterError) -> Self {
        Self::bad(format!(
            "Failed to create boolean expression evaluator: {error}"
        ))
    }
}
