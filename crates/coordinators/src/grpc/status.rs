//! How a server says that it refuses.

use std::fmt;

use http::{HeaderMap, HeaderName};
use portolan_model::percent::decode_loosely;

pub(super) const CODE: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What is told of a server's words.
const TOLD_BYTES_MAX: usize = 300;

/// The names of the codes, from 0.
const NAMES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid argument",
    "deadline exceeded",
    "not found",
    "already exists",
    "permission denied",
    "resource exhausted",
    "failed precondition",
    "aborted",
    "out of range",
    "unimplemented",
    "internal",
    "unavailable",
    "data loss",
    "unauthenticated",
];

/// A call that did not go well, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Status {
    code: u16,
    message: String,
}

impl Status {
    const UNKNOWN: u16 = 2;
    const PERMISSION_DENIED: u16 = 7;
    const UNAUTHENTICATED: u16 = 16;

    /// Reads what the trailers say; an answer without a status is not to be trusted.
    pub(super) fn of(trailers: &HeaderMap) -> Result<(), Self> {
        let code = trailers.get(CODE).and_then(|code| code.to_str().ok());
        let code = code.and_then(|code| code.parse().ok());
        let code = code.unwrap_or(Self::UNKNOWN);
        if code == 0 {
            return Ok(());
        }
        let message = trailers.get(MESSAGE).map(http::HeaderValue::as_bytes);
        let told = decode_loosely(message.unwrap_or_default());
        let told: Vec<u8> = told.take(TOLD_BYTES_MAX).collect();
        Err(Self {
            code,
            message: String::from_utf8_lossy(&told).into_owned(),
        })
    }

    /// The server does not know who asks, or not any more.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        // etcd says `invalid argument` to a wrong password, and to none where one is needed.
        let words = [
            "authentication failed",
            "user name is empty",
            "invalid auth token",
        ];
        let is_said = words.iter().any(|word| self.message.contains(word));
        self.code == Self::UNAUTHENTICATED || is_said
    }

    /// The server knows who asks, and refuses.
    pub(crate) const fn is_denied(&self) -> bool {
        self.code == Self::PERMISSION_DENIED
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.get(usize::from(self.code));
        write!(f, "it says {}", name.copied().unwrap_or("something else"))?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(code: &'static str, message: &'static str) -> Status {
        let mut trailers = HeaderMap::new();
        trailers.insert(CODE, HeaderValue::from_static(code));
        trailers.insert(MESSAGE, HeaderValue::from_static(message));
        Status::of(&trailers).unwrap_err()
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let status = refused("14", "etcdserver: no leader, 100%25 sure%2");
        assert_eq!(
            status.to_string(),
            "it says unavailable: etcdserver: no leader, 100% sure%2"
        );
        assert!(refused("16", "").is_unauthenticated());
        assert!(refused("7", "etcdserver: permission denied").is_denied());
        assert_eq!(refused("99", "").to_string(), "it says something else");
    }

    #[test]
    fn an_answer_without_a_status_is_a_failure() {
        assert!(Status::of(&HeaderMap::new()).is_err());
        let mut trailers = HeaderMap::new();
        trailers.insert(CODE, HeaderValue::from_static("0"));
        assert_eq!(Status::of(&trailers), Ok(()));
    }
}
