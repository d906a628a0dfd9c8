//! Why a request can't be served, in words for two readers.

use std::{borrow::Cow, error::Error};

use portolan_model::{Cause, Side};

/// A failure of one request.
#[derive(Debug, thiserror::Error)]
#[error("{}: {explanation}", cause.id())]
pub struct Fault {
    /// What happened.
    pub cause: Cause,
    /// One sentence for the client: no addresses, no internals.
    pub explanation: Cow<'static, str>,
    /// More for the log; never sent.
    pub detail: Option<Cow<'static, str>>,
    /// Whether nothing of the request has reached an instance, so that another may be tried.
    pub retryable: bool,
    /// The methods that would have been served, for [`Cause::MethodUnsupported`]; else empty.
    pub allowed: String,
    /// The underlying error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault that must not be retried.
    #[must_use]
    pub fn new(cause: Cause, explanation: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause,
            explanation: explanation.into(),
            detail: None,
            retryable: false,
            allowed: String::new(),
            source: None,
        }
    }

    /// The same with more for the log.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The same, said to be safe to try elsewhere.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self {
            retryable: true,
            ..self
        }
    }

    /// Whose side it is on.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.cause.side()
    }
}
