//! Calls over HTTP to whichever instance is picked, tried on another where that is safe.
//!
//! The host of a URL is the name of a service, or a client is of one service whatever the
//! URL says; scheme, path and query stay. An answer of status 502, 503 or 504, or with the
//! gRPC status UNAVAILABLE, is handed to the caller and counts as a failure of the instance.
//!
//! A call is tried again on another instance if nothing was sent, or if its method is
//! idempotent (RFC 9110, section 9.2.2) and its body can be sent again. A [`Safety`] among
//! the request's extensions decides in place of the method.

#[cfg(feature = "tower")]
mod counted;
#[cfg(feature = "tower")]
mod discover;
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

#[cfg(feature = "tonic")]
pub use self::over::GrpcChannel;
#[cfg(feature = "reqwest")]
pub use self::reqwest::Reqwest;
#[cfg(feature = "tower")]
pub use self::{
    counted::Counted,
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

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL has no host, so that nobody knows which service it means.
    #[error("the URL names no service: it has no host")]
    NoHost,
    /// The host is not the name of a service.
    #[error("the host is not the name of a service")]
    Host(#[source] BadName),
    /// The request could not be built.
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
        })
    }
}

impl Course {
    /// The instance to try; not the first if a try failed before, with this error.
    pub(crate) async fn pick(&mut self, failed: Option<AnyError>) -> Result<Picked, CallError> {
        match (self.attempts.pick().await, failed) {
            (Ok(picked), _) => Ok(picked),
            (Err(none), None) => Err(none.into()),
            (Err(_), Some(source)) => Err(self.failed(source)),
        }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn env(&self) -> &crate::Env {
        self.attempts.env()
    }

    /// Whether it may be tried again after such a failure, if it can be.
    pub(crate) fn allows_retry(&self, failure: Failure) -> bool {
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
    let grpc = headers.get("grpc-status");
    let is_unavailable = grpc.is_some_and(|status| status.as_bytes() == GRPC_UNAVAILABLE);
    if is_broken || is_unavailable {
        picked.failed(Failure::Failed);
    } else {
        picked.succeeded(picked.elapsed());
    }
}

/// What an error says about the call: [`Failure::Unreachable`] only if it is sure that there
/// was no connection.
pub(crate) fn failure(error: &(dyn Error + 'static)) -> Failure {
    let mut next = Some(error);
    while let Some(error) = next {
        if has_no_connection(error) {
            return Failure::Unreachable;
        }
        next = error.source();
    }
    Failure::Failed
}

fn has_no_connection(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "tower")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect();
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<::reqwest::Error>() {
        return error.is_connect();
    }
    // These come of connecting only.
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        )
    })
}
