//! Calls over HTTP to whichever instance is picked, tried on another where that is safe.
//!
//! The host of a URL is the name of a service, or a client is of one service whatever the
//! URL says; scheme, path and query stay. An answer of status 502, 503 or 504, or with the
//! gRPC status UNAVAILABLE, is handed to the caller and counts as a failure of the instance.
//!
//! A call is tried again on another instance if nothing was sent, or if its method is
//! idempotent (RFC 9110, section 9.2.2) and its body can be sent again. A [`Safety`] among
//! the request's extensions decides in place of the method. An idempotent call that broke
//! off everywhere is made once more: connections that are kept are closed by servers just
//! when they are used, too, and with one instance there is no other.

mod counted;
#[cfg(feature = "tower")]
mod discover;
#[cfg(feature = "tonic")]
mod grpc;
#[cfg(feature = "tower")]
mod over;
#[cfg(feature = "tower")]
mod replay;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "tower")]
#[cfg(test)]
mod tests;

use std::{error::Error, io};

use http::{HeaderMap, Method, StatusCode};

pub use self::counted::Counted;
#[cfg(feature = "tonic")]
pub use self::grpc::GrpcChannel;
#[cfg(feature = "reqwest")]
pub use self::reqwest::Reqwest;
#[cfg(feature = "tower")]
pub use self::{
    discover::Changes,
    over::{Calls, HttpClient},
    replay::Replay,
};
use crate::{
    BadName, Discovery, Failure, Picked, Safety, Service, ServiceKey,
    discovery::{Attempts, PickError},
};

/// Any error, as the clients below have theirs.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The gRPC status of a server that can't serve now.
const GRPC_UNAVAILABLE: &[u8] = b"14";

/// What the system calls it when a connection is closed by the other side.
const BREAKS: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL has no host, so that nobody knows which service it means.
    #[error("the URL names no service: it has no host")]
    NoHost,
    /// The host is not the name of a service.
    #[error("the host is not the name of a service")]
    Host(#[source] BadName),
    /// The request could not be built, or is none that the client can send.
    #[error("the request is none")]
    Request(#[source] Box<dyn Error + Send + Sync>),
    /// There is no instance to call; nothing was sent.
    #[error(transparent)]
    Pick(#[from] PickError),
    /// It was tried, and the last try failed.
    #[error("call to service `{service}` failed, tries: {attempts}")]
    Failed {
        /// Which service.
        service: ServiceKey,
        /// How often it was tried.
        attempts: u32,
        /// How the last try ended.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Which service a call is for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Always this one.
    Service(Service),
    /// The one that is called like the host of the URL.
    Host(Discovery),
}

/// The tries of one call.
pub(crate) struct Course {
    attempts: Attempts,
    service: ServiceKey,
    safety: Safety,
    /// Whether the last try broke off.
    broke_off: bool,
    /// Whether it was made once more where it had been.
    has_returned: bool,
}

/// Whose fault an error is, and what that means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nobody could send such a request.
    Caller,
    /// It is sure that there was no connection.
    Unreachable,
    /// The connection was closed before there was an answer.
    BrokeOff,
    /// There was no answer in time.
    Silent,
    /// Anything else.
    Failed,
}

impl Target {
    pub(crate) fn course(&self, host: Option<&str>, safety: Safety) -> Result<Course, CallError> {
        let service = match self {
            Self::Service(service) => service.clone(),
            Self::Host(discovery) => discovery
                .service(host.ok_or(CallError::NoHost)?)
                .map_err(CallError::Host)?,
        };
        Ok(Course {
            service: service.key().clone(),
            attempts: service.attempts(),
            safety,
            broke_off: false,
            has_returned: false,
        })
    }
}

impl Course {
    /// The instance to try; not the first if a try failed before, with this error.
    pub(crate) async fn pick(&mut self, failed: Option<AnyError>) -> Result<Picked, CallError> {
        let mut picked = self.attempts.pick().await;
        let is_everywhere = matches!(picked, Err(PickError::Tried { .. }));
        if is_everywhere && self.broke_off && !self.has_returned {
            self.has_returned = true;
            self.attempts.start_over();
            picked = self.attempts.pick().await;
        }
        match (picked, failed) {
            (Ok(picked), _) => Ok(picked),
            (Err(none), None) => Err(none.into()),
            (Err(_), Some(source)) => Err(self.failed(source)),
        }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn env(&self) -> &crate::Env {
        self.attempts.env()
    }

    /// Reports how a try failed. Says whether it may be tried again, if it can be.
    pub(crate) fn goes_on(&mut self, picked: Picked, blame: Blame) -> bool {
        self.broke_off = blame == Blame::BrokeOff;
        let failure = match blame {
            Blame::Caller => {
                picked.withdraw();
                return false;
            }
            Blame::Unreachable => Failure::Unreachable,
            Blame::BrokeOff | Blame::Silent | Blame::Failed => Failure::Failed,
        };
        if blame == Blame::Silent {
            picked.kept_silent();
        } else {
            picked.failed(failure);
        }
        // It is over there before there is another.
        drop(picked);
        self.safety.allows_retry(failure)
    }

    /// It has failed for good.
    pub(crate) fn failed(&self, source: AnyError) -> CallError {
        CallError::Failed {
            service: self.service.clone(),
            attempts: self.attempts.made(),
            source,
        }
    }
}

/// What may be done with a request of that method.
pub(crate) fn safety(method: &Method, said: Option<&Safety>) -> Safety {
    match said {
        Some(said) => *said,
        None if method.is_idempotent() => Safety::Idempotent,
        None => Safety::Once,
    }
}

/// Tells how an answer with that head reflects on its instance.
pub(crate) fn report(picked: &Picked, status: StatusCode, headers: &HeaderMap) {
    let is_broken = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    if is_broken || is_unavailable(headers) {
        picked.failed(Failure::Failed);
    } else {
        picked.answered();
    }
}

/// Whether the head of an answer or its trailers have the gRPC status of a server that can't
/// serve.
fn is_unavailable(fields: &HeaderMap) -> bool {
    let status = fields.get("grpc-status");
    status.is_some_and(|status| status.as_bytes() == GRPC_UNAVAILABLE)
}

/// Whose fault an error is, from what it and its causes are.
pub(crate) fn blame(error: &(dyn Error + 'static)) -> Blame {
    let mut blame = Blame::Failed;
    // Whether a client has said if there was a connection.
    let mut is_told = false;
    let mut next = Some(error);
    while let Some(error) = next {
        match has_no_connection(error) {
            Some(true) if !is_told => return Blame::Unreachable,
            Some(_) => is_told = true,
            None => {}
        }
        if is_silence(error) {
            return Blame::Silent;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_user() {
                return Blame::Caller;
            }
            if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
                blame = Blame::BrokeOff;
            }
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // It comes of connecting only; what else says that there is no way to a host comes
            // of connections that have sent something, too.
            if error.kind() == io::ErrorKind::ConnectionRefused && !is_told {
                return Blame::Unreachable;
            }
            if BREAKS.contains(&error.kind()) {
                blame = Blame::BrokeOff;
            }
        }
        next = error.source();
    }
    blame
}

/// Whether there was no connection, if the error is that of a client that knows.
fn has_no_connection(error: &(dyn Error + 'static)) -> Option<bool> {
    #[cfg(feature = "tower")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return Some(error.is_connect());
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<::reqwest::Error>() {
        return Some(error.is_connect());
    }
    None
}

/// Whether there was a connection, but no answer in the time that there was.
fn is_silence(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "tower")]
    if error.is::<over::TimedOut>() {
        return true;
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<::reqwest::Error>() {
        return error.is_timeout();
    }
    false
}
