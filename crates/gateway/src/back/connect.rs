//! A connection to an instance: kept, shared or new.

use std::{future::poll_fn, net::SocketAddr, pin::pin, task::Poll, time::Duration};

use portolan_model::{Cause, route::Destination, route::Protocol};
use portolan_telemetry::Count;
use portolan_wire::{
    http2::Client,
    io::Link,
    upstream::{Around, Dialled, Permit, PoolKey, dial},
};

use super::{Attempt, Failure};
use crate::answer::is_grpc;

/// How long an instance that refused a connection is left alone at first.
const EJECTION: Duration = Duration::from_secs(1);

/// A connection that is ready for this request.
pub(crate) enum Connected {
    /// For this request alone; `reused` if it has carried others.
    Http1 {
        /// The connection.
        link: Box<Link>,
        /// Whether another request came before.
        reused: bool,
    },
    /// Shared with others.
    Http2(Client),
}

/// Finds or makes a connection.
pub(crate) async fn connect(attempt: &mut Attempt<'_, '_>) -> Result<Connected, Failure> {
    let template = &attempt.cluster.template;
    let transport = attempt.worker.transport(template).map_err(Failure::Fault)?;
    let key = PoolKey {
        slot: attempt.endpoint.slot,
        transport: template.transport,
    };
    let is_tunnel = attempt.request.upgrade.is_some();
    let wants_http2 = is_grpc(&attempt.exchange.head.fields);
    // A connection that announces a client is that client's alone.
    let is_anonymous = transport.proxy_protocol.is_none();
    let may_share = is_anonymous
        && match transport.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => !is_tunnel,
        };
    if may_share && let Some(client) = attempt.worker.pool.shared(key) {
        attempt.worker.meters.count(Count::UpstreamReused);
        return Ok(Connected::Http2(client));
    }
    let in_the_clear_http1 = transport.tls.is_none() && !wants_http2;
    let may_take = is_anonymous
        && match transport.protocol {
            Protocol::Http1 => true,
            Protocol::Http2 => false,
            Protocol::Auto => in_the_clear_http1 || transport.tls.is_some() || is_tunnel,
        };
    let may_take = may_take && !attempt.is_fresh;
    if may_take && let Some(link) = attempt.worker.pool.take(key) {
        attempt.worker.meters.count(Count::UpstreamReused);
        return Ok(Connected::Http1 { link, reused: true });
    }
    let dialled = dial_now(attempt, wants_http2 && !is_tunnel).await?;
    Ok(match dialled {
        Dialled::Http1(link) => Connected::Http1 {
            link: Box::new(link),
            reused: false,
        },
        Dialled::Http2(client) => {
            if is_anonymous {
                attempt.worker.pool.share(key, &client);
            }
            Connected::Http2(client)
        }
    })
}

async fn dial_now(attempt: &mut Attempt<'_, '_>, wants_http2: bool) -> Result<Dialled, Failure> {
    let worker = attempt.worker;
    let transport = worker
        .transport(&attempt.cluster.template)
        .map_err(Failure::Fault)?;
    let address = attempt.endpoint.address;
    let ends: (SocketAddr, SocketAddr) = (attempt.connection.peer, attempt.connection.local);
    let permit = permit(attempt).await?;
    let started = worker.instant();
    let host = host_of(attempt);
    let around = Around {
        env: &worker.shared.env,
        buffers: &worker.buffers,
        meters: &worker.meters,
        permit,
    };
    let mut dialling = pin!(dial(&transport, (address, host), ends, wants_http2, around));
    let responder = &mut *attempt.responder;
    let dialled = poll_fn(|cx| {
        if let Poll::Ready(dialled) = dialling.as_mut().poll(cx) {
            return Poll::Ready(Some(dialled));
        }
        responder.poll_gone(cx).map(|()| None)
    });
    let Some(dialled) = dialled.await else {
        return Err(Failure::Gone);
    };
    let took = worker.instant().saturating_duration_since(started);
    attempt.tally.outcome.timers.connect = Some(took);
    dialled.map_err(|error| {
        let (slot, now) = (attempt.endpoint.slot, worker.ticker.now());
        worker.gauges.eject(slot, EJECTION, now);
        if error.cause == Cause::ConnectRefused {
            worker.gauges.refused(slot, now);
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "dialling has few causes, and what is no reason of its own is told as one"
        )]
        let words = match error.cause {
            Cause::ConnectRefused => "connection refused",
            Cause::ConnectTimeout => "no connection in time",
            Cause::TlsCertificate => "the instance's certificate is not acceptable",
            Cause::TlsFailed => "the TLS handshake failed",
            _ => "the instance can't be connected to",
        };
        attempt
            .fault(error.cause, words)
            .with_detail(error.detail)
            .retryable()
            .into()
    })
}

/// Waits for its turn where the instance allows only so many connections.
async fn permit(attempt: &Attempt<'_, '_>) -> Result<Option<Permit>, Failure> {
    let template = &attempt.cluster.template;
    let Some(most) = template.upstream.connections_max else {
        return Ok(None);
    };
    let key = PoolKey {
        slot: attempt.endpoint.slot,
        transport: template.transport,
    };
    let gate = attempt.worker.shared.gates.gate(key);
    let env = &attempt.worker.shared.env;
    let entered = env
        .timeout(attempt.timeouts().connect, gate.enter(most))
        .await;
    entered.map(Some).map_err(|_| {
        let words = "the instance has as many connections as it may";
        attempt.fault(Cause::Overloaded, words).retryable().into()
    })
}

/// The host name that stands for the endpoint, where the upstream names hosts.
fn host_of<'a>(attempt: &Attempt<'a, '_>) -> Option<&'a str> {
    let Destination::Hosts(hosts) = &attempt.cluster.template.upstream.destination else {
        return None;
    };
    let key = &attempt.endpoint.instance.key;
    let named = hosts
        .iter()
        .find(|host| host.service_key().as_ref() == Ok(key));
    named.map(|host| host.host.as_str())
}
