//! What one request leaves behind, told when it is dropped.
//!
//! However a request ends, by an answer, a fault, a client that went away or a
//! panic, its tally is dropped and counts it.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use portolan_balance::Endpoint;
use portolan_model::{
    Cause, ServiceKey, Timestamp,
    http::{Known, RequestHead, Status, Version},
};
use portolan_policy::Fault;
use portolan_telemetry::{Count, Outcome, Record, Row};

use crate::{connection::Connection, worker::Worker};

/// A request being counted.
#[derive(Debug)]
pub(crate) struct Tally {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    pub(crate) started: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) row: Row,
    /// Only when there is an access log.
    texts: Option<Box<Texts>>,
}

/// What a record shows besides numbers.
#[derive(Debug)]
struct Texts {
    at: Timestamp,
    client: SocketAddr,
    version: Version,
    method: String,
    authority: String,
    path: String,
    request_id: String,
    trace_id: Option<String>,
    route: Option<String>,
    upstream: Option<String>,
    service: Option<ServiceKey>,
    instance: Option<String>,
    address: Option<SocketAddr>,
    detail: Option<String>,
}

impl Tally {
    /// Begins to count a request whose head has just been read.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        head: &RequestHead,
        started: Instant,
    ) -> Self {
        worker.meters.count(Count::RequestStarted);
        let texts = worker
            .shared
            .access
            .as_ref()
            .map(|_| Box::new(Texts::of(worker, connection, head)));
        Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(connection),
            started,
            outcome: Outcome::default(),
            row: Row::NONE,
            texts,
        }
    }

    pub(crate) fn identify(&mut self, client: SocketAddr, request_id: &str) {
        if let Some(texts) = &mut self.texts {
            texts.client = client;
            request_id.clone_into(&mut texts.request_id);
        }
    }

    pub(crate) fn routed(&mut self, route: &str) {
        if let Some(texts) = &mut self.texts {
            texts.route = Some(route.to_owned());
        }
    }

    pub(crate) fn aimed(&mut self, upstream: &str, service: &ServiceKey, row: Row) {
        self.row = row;
        if let Some(texts) = &mut self.texts {
            texts.upstream = Some(upstream.to_owned());
            texts.service = Some(service.clone());
        }
    }

    pub(crate) fn tried(&mut self, endpoint: &Endpoint) {
        self.outcome.attempts += 1;
        if let Some(texts) = &mut self.texts {
            texts.instance = Some(endpoint.instance.id.to_string());
            texts.address = Some(endpoint.address);
        }
    }

    pub(crate) fn failed(&mut self, fault: &Fault) {
        self.outcome.cause = Some(fault.cause);
        if let Some(texts) = &mut self.texts {
            let detail = fault.detail.as_deref().unwrap_or(&fault.explanation);
            texts.detail = Some(detail.to_owned());
        }
    }

    pub(crate) fn gone(&mut self) {
        self.outcome.cause = Some(Cause::ClientGone);
    }

    pub(crate) fn answered(&mut self, status: Status) {
        self.outcome.status = Some(status);
    }
}

impl Texts {
    fn of(worker: &Worker, connection: &Connection, head: &RequestHead) -> Self {
        Self {
            at: worker.shared.env.now(),
            client: connection.peer,
            version: head.version,
            method: head.method.as_str().to_owned(),
            authority: head.authority.clone(),
            path: head.path().to_owned(),
            request_id: String::new(),
            trace_id: head.fields.known(Known::Traceparent).and_then(trace_id),
            route: None,
            upstream: None,
            service: None,
            instance: None,
            address: None,
            detail: None,
        }
    }
}

/// The trace id of a W3C `traceparent`: 32 hexadecimal digits after the version.
fn trace_id(traceparent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let id = text.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.outcome.timers.total = self
            .worker
            .instant()
            .saturating_duration_since(self.started);
        self.worker.meters.finish(self.row, &self.outcome);
        let (Some(texts), Some(log)) = (&self.texts, &self.worker.shared.access) else {
            return;
        };
        log.write(&Record {
            at: texts.at,
            listener: self.connection.listener.name.as_str(),
            client: texts.client,
            version: texts.version,
            tls: self.connection.tls,
            method: &texts.method,
            authority: &texts.authority,
            path: &texts.path,
            request_id: &texts.request_id,
            trace_id: texts.trace_id.as_deref(),
            route: texts.route.as_deref(),
            upstream: texts.upstream.as_deref(),
            service: texts.service.as_ref(),
            instance: texts.instance.as_deref(),
            address: texts.address,
            outcome: &self.outcome,
            detail: texts.detail.as_deref(),
        });
    }
}
