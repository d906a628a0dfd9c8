//! The instance's side of an exchange.

mod connect;
mod http1;
mod http2;
mod pace;
mod tunnel;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use portolan_balance::Endpoint;
use portolan_model::{
    Cause,
    http::{ResponseHead, Status},
    route::Timeouts,
};
use portolan_policy::{Chain, Exchange, Fault};
use portolan_runtime::Alarm;
use portolan_snapshot::Cluster;
use portolan_wire::{
    h1::Framing,
    io::{BodyError, LinkError, RelayError},
};

pub(crate) use connect::{Connected, connect};
pub(crate) use http1::exchange as over_http1;
pub(crate) use http2::exchange as over_http2;

use crate::{
    answer,
    connection::Connection,
    responder::{RequestBody, Responder},
    tally::Tally,
    worker::Worker,
};

/// One try of a request at one instance.
pub(crate) struct Attempt<'a, 'c> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) cluster: &'a Cluster,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) chain: &'a Chain,
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) request: &'a RequestShape,
    pub(crate) body: &'a mut RequestBody<'c>,
    pub(crate) responder: &'a mut Responder<'c>,
    pub(crate) tally: &'a mut Tally,
    pub(crate) alarm: &'a Alarm,
    /// Kept connections are not to be used.
    pub(crate) is_fresh: bool,
}

/// How a request's body ends, and what it asks of the connection.
#[derive(Clone, Debug)]
pub(crate) struct RequestShape {
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    /// The protocol that it wants to change to.
    pub(crate) upgrade: Option<Box<str>>,
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client went away.
    Gone,
    /// A kept connection turned out to be closed, which says nothing about the instance.
    Stale(Box<Fault>),
    /// Something else.
    Fault(Box<Fault>),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl Attempt<'_, '_> {
    fn timeouts(&self) -> &Timeouts {
        &self.cluster.template.upstream.timeouts
    }

    fn idle(&self) -> Duration {
        self.timeouts().idle
    }

    /// Takes note of the head of an answer. Anybody at that address can say that there is
    /// nothing or that it can't: only a good answer speaks for the instance.
    fn observe(&self, first_byte: Duration, status: Status) {
        let (slot, now) = (self.endpoint.slot, self.worker.ticker.now());
        self.worker.gauges.observe(slot, first_byte, now);
        if status.class() < 4 {
            self.worker.gauges.answered(slot, now);
        }
    }

    /// Where the instance is, for logs.
    fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Whether the request may be sent again although the instance may have seen it.
    fn is_repeatable(&self) -> bool {
        self.exchange.head.method.is_idempotent() && self.request.framing == Framing::None
            || self.request.framing == Framing::Length(0)
                && self.exchange.head.method.is_idempotent()
    }

    fn fault(&self, cause: Cause, what: &str) -> Fault {
        let service = &self.cluster.service;
        Fault::new(cause, format!("service {service}: {what}")).with_detail(format!(
            "instance {} at {}: {what}",
            self.endpoint.instance.id,
            self.address()
        ))
    }

    /// Lets policies look at the answer's head on its way back.
    fn shape_response(&self, head: &mut ResponseHead) {
        answer::date(head, &self.worker.shared.env);
        self.chain.response(self.exchange, head);
    }

    /// Tells apart on which side a body failed.
    fn relay_failure(&self, error: RelayError, towards_instance: bool) -> Failure {
        match (error, towards_instance) {
            (RelayError::Idle, _) => self
                .fault(Cause::IdleTimeout, "nothing moved for too long")
                .into(),
            (RelayError::Inlet(error), true) | (RelayError::Outlet(error), false) => {
                client_failure(&error)
            }
            (RelayError::Inlet(error), false) => {
                let cause = match &error {
                    BodyError::Link(LinkError::Refused(refusal)) => refusal.cause,
                    BodyError::Link(_) | BodyError::Stream(_) => Cause::ResponseIncomplete,
                };
                self.fault(cause, "the answer broke off")
                    .with_detail(error.to_string())
                    .into()
            }
            (RelayError::Outlet(error), true) => self
                .fault(
                    Cause::ConnectionClosed,
                    "the instance stopped reading the request",
                )
                .with_detail(error.to_string())
                .into(),
        }
    }
}

/// What it means that the client's side failed.
fn client_failure(error: &BodyError) -> Failure {
    match error {
        BodyError::Link(LinkError::Refused(refusal)) => {
            Fault::new(refusal.cause, refusal.detail).into()
        }
        BodyError::Link(LinkError::Ended { .. } | LinkError::Broken(_)) | BodyError::Stream(_) => {
            Failure::Gone
        }
    }
}
