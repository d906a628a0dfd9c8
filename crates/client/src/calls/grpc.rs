//! A channel for clients that tonic generates.
//!
//! What such a client is told is a status: `UNAVAILABLE` where there is nobody to call or the
//! call broke off, `DEADLINE_EXCEEDED` where nobody answered in time. The deadline of a call is
//! kept here as well as by the server up to the head of the answer: one that is frozen keeps
//! none. After that the server keeps it, and pings find out whether it is frozen.
//!
//! Source: gRPC over HTTP/2, `grpc-timeout`; statuses and their use in gRPC.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tonic::{Status, body::Body};

use super::{
    Blame, CallError, Calls, Counted, HttpClient, Target, blame,
    over::{Version, call, client},
};
use crate::Service;

/// What a call says of the time that it has.
const TIMEOUT: &str = "grpc-timeout";
/// Most digits of it.
const TIMEOUT_DIGITS_MAX: usize = 8;

/// A channel to a service: HTTP/2 in the clear, over connections of its own, with up to a
/// second to connect.
///
/// Each try has 30 s to the head of its answer ([`Self::each_within`]), and all of them
/// together what the deadline of the call allows, if it has one; an instance that let most of
/// that pass has failed. What comes after the head is in time if the server says so. A connection with calls
/// whose server was silent for 5 minutes is asked whether it is there ([`Self::ping_after`]).
/// Calls fail with a [`Status`]. Cloning is cheap; clones share the connections.
#[derive(Clone, Debug)]
pub struct GrpcChannel {
    calls: HttpClient<Body>,
}

impl Service {
    /// A channel to this service for a client that tonic generates. Calls are tried on
    /// another instance if nothing was sent; those with [`Safety::Idempotent`] among the
    /// extensions of their request after any failure to answer.
    ///
    /// [`Safety::Idempotent`]: crate::Safety::Idempotent
    #[must_use]
    pub fn grpc_channel(&self) -> GrpcChannel {
        let target = Target::Service(self.clone());
        GrpcChannel {
            calls: Calls::own(target, |line| client(Version::Http2, line)),
        }
    }
}

impl GrpcChannel {
    /// How long each try may take to the head of its answer, 30 s by default, so that an
    /// instance that hangs costs this much. Connecting may take half of it, a second at most.
    /// Servers that send the head of a stream together with its first message need as long as
    /// that may take. Connections are begun anew.
    #[must_use]
    pub fn each_within(self, within: Duration) -> Self {
        let calls = self.calls.each_within(within);
        Self { calls }
    }

    /// How long a server may be silent, while calls are under way on its connection, before it
    /// is pinged: 5 minutes and 5 s by default. If it does not answer that within 10 s, or
    /// `silence` if that is less, the connection is closed and its calls fail, streams included. Servers of gRPC hang up on
    /// whoever pings more often than they permit, which is every 5 minutes unless they are told
    /// otherwise. Connections are begun anew.
    #[must_use]
    pub fn ping_after(self, silence: Duration) -> Self {
        let calls = self.calls.ping_after(silence);
        Self { calls }
    }
}

impl tower::Service<Request<Body>> for GrpcChannel {
    type Response = Response<Counted<Incoming>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // It is not known yet which instance is to be called.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let within = deadline(request.headers());
        let calls = self.calls.clone();
        Box::pin(async move {
            let answer = call(calls, request, within).await;
            answer.map_err(|error| status(&error))
        })
    }
}

/// How long a call may take. What can't be read is left to the server to refuse.
fn deadline(fields: &HeaderMap) -> Option<Duration> {
    let text = fields.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number || digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// What a caller of gRPC is told.
fn status(error: &CallError) -> Status {
    let code = match error {
        CallError::Pick(_) => tonic::Code::Unavailable,
        CallError::Failed { source, .. } => match blame(&**source) {
            Blame::Unreachable | Blame::BrokeOff => tonic::Code::Unavailable,
            Blame::Silent => tonic::Code::DeadlineExceeded,
            Blame::Caller => tonic::Code::Internal,
            Blame::Failed => tonic::Code::Unknown,
        },
        CallError::NoHost | CallError::Host(_) | CallError::Request(_) => tonic::Code::Internal,
    };
    Status::new(code, told(error))
}

/// An error with its causes: a status is often all that is shown.
fn told(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_call_is_read_in_every_unit_and_up_to_its_limit() {
        let read = |text: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(TIMEOUT, text.parse().unwrap());
            deadline(&fields)
        };
        for (text, span) in [
            ("2H", Duration::from_hours(2)),
            ("3M", Duration::from_mins(3)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("7n", Duration::from_nanos(7)),
            ("99999999H", Duration::from_hours(99_999_999)),
        ] {
            assert_eq!(read(text), Some(span), "{text}");
        }
        for text in ["", "S", "5", "-1S", "+1S", "1.5S", "100000000n", "5s", "é"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(deadline(&HeaderMap::new()), None);
    }
}
