//! What one finished request left.
//!
//! An [`Outcome`] is numbers only and goes to the meters of every request. A
//! [`Record`] borrows the names around it and is made only for an access log.

use std::{net::SocketAddr, time::Duration};

use portolan_model::{
    Cause, ServiceKey, Timestamp,
    http::{Status, Version},
};

/// How a request ended, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The status that the client got; `None` if no head was sent.
    pub status: Option<Status>,
    /// What went wrong, if something did.
    pub cause: Option<Cause>,
    /// How many instances were tried; 0 if the gateway answered by itself.
    pub attempts: u32,
    /// Bytes of the request's body, as received.
    pub received_bytes: u64,
    /// Bytes of the answer's body, as sent.
    pub sent_bytes: u64,
    /// How long its parts took.
    pub timers: Timers,
}

/// How long the parts of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// Waiting for a place at the instance.
    pub queue: Option<Duration>,
    /// Connecting to the instance, TLS included; `None` on a kept connection.
    pub connect: Option<Duration>,
    /// From sending the request to the first byte of the answer's head.
    pub first_byte: Option<Duration>,
    /// From the request's first byte to the answer's last.
    pub total: Duration,
}

/// One line of an access log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request began.
    pub at: Timestamp,
    /// The listener's name.
    pub listener: &'a str,
    /// Who asked, as far as the trusted proxies tell.
    pub client: SocketAddr,
    /// Version of HTTP.
    pub version: Version,
    /// Version of TLS, such as `1.3`; `None` in the clear.
    pub tls: Option<&'a str>,
    /// The method's token.
    pub method: &'a str,
    /// Host and port as the client named them.
    pub authority: &'a str,
    /// The path without its query, which often holds secrets.
    pub path: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The W3C trace id, if one came with the request.
    pub trace_id: Option<&'a str>,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// The upstream that its target names.
    pub upstream: Option<&'a str>,
    /// The service that was asked.
    pub service: Option<&'a ServiceKey>,
    /// Id of the last instance that was tried.
    pub instance: Option<&'a str>,
    /// Where that instance listens.
    pub address: Option<SocketAddr>,
    /// The numbers.
    pub outcome: &'a Outcome,
    /// What the client is not told.
    pub detail: Option<&'a str>,
}
