//! The walk of a request: route, policies, dispatch, answer.

use std::{future::poll_fn, panic::AssertUnwindSafe, pin::pin, rc::Rc, sync::Arc, task::Poll};

use bytes::Bytes;
use portolan_model::{
    Cause, Name, ServiceKey,
    http::{Fields, Known, KnownSet, Method, Status},
};
use portolan_policy::{Chain, Exchange, Fault, Flow, Reply};
use portolan_router::Outcome;
use portolan_runtime::Alarm;
use portolan_snapshot::{Cluster, Lane, Snapshot, Way, choose};
use portolan_telemetry::Count;
use portolan_wire::{
    h1::{Framing, Wanted},
    io::{Inlet, Relay},
};

use crate::{
    answer,
    back::{Failure, RequestShape},
    connection::Connection,
    dispatch::dispatch,
    explain, forward,
    responder::{RequestBody, Responder, Shape},
    tally::Tally,
    worker::Worker,
};

/// A request that waits to be walked.
pub(crate) struct Walk<'a, 'c> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) request: RequestShape,
    pub(crate) body: RequestBody<'c>,
    pub(crate) responder: Responder<'c>,
    pub(crate) alarm: &'a Alarm,
}

/// What became of a request.
pub(crate) struct Walked<'c> {
    pub(crate) body: RequestBody<'c>,
    pub(crate) responder: Responder<'c>,
    /// Whether the answer was sent whole.
    pub(crate) is_whole: bool,
}

/// Walks a request to its end. A panic in it is answered and counted.
pub(crate) async fn walk<'c>(mut walk: Walk<'_, 'c>, tally: &mut Tally) -> Walked<'c> {
    let caught = {
        let mut running = pin!(serve(&mut walk, tally));
        poll_fn(|cx| {
            let poll = AssertUnwindSafe(|| running.as_mut().poll(cx));
            match std::panic::catch_unwind(poll) {
                Ok(poll) => poll.map(Some),
                Err(_) => Poll::Ready(None),
            }
        })
        .await
    };
    let result = caught.unwrap_or_else(|| {
        walk.worker.meters.count(Count::Panicked);
        tracing::error!("a request panicked");
        Err(Fault::new(
            Cause::Internal,
            "the gateway has a defect; its log says more",
        )
        .into())
    });
    let is_whole = match result {
        Ok(()) => true,
        Err(Failure::Gone) => {
            tally.gone();
            false
        }
        Err(Failure::Fault(fault) | Failure::Stale(fault)) => {
            tally.failed(&fault);
            answer_fault(&mut walk, &fault, tally).await
        }
    };
    Walked {
        body: walk.body,
        responder: walk.responder,
        is_whole,
    }
}

async fn serve(walk: &mut Walk<'_, '_>, tally: &mut Tally) -> Result<(), Failure> {
    let worker = walk.worker;
    let pinned = worker.view.pin();
    let snapshot: &Snapshot = &pinned;
    let exchange = &mut *walk.exchange;
    let client = forward::client_of(walk.connection, &exchange.head.fields);
    exchange.client = client.ip();
    forward::write_request_id(
        &mut exchange.request_id,
        walk.connection,
        &exchange.head.fields,
        &mut worker.dice.borrow_mut(),
    );
    tally.identify(client, &exchange.request_id);
    if forward::runs_in_circles(&walk.exchange.head.fields, &worker.shared.pseudonym) {
        return Err(Fault::new(
            Cause::Loop,
            "the request came back to this gateway again and again",
        )
        .into());
    }
    if !walk.connection.trusted {
        let fields = &mut walk.exchange.head.fields;
        fields.remove_known(Known::XForwardedPrefix);
    }
    if let Some(reply) = last_hop(walk.exchange) {
        return answer_whole(walk, &reply, None, tally).await;
    }
    let (lane, service) = route(walk, snapshot)?;
    tally.routed(lane.route.as_str());
    let empty = Chain::default();
    let chain = chain_of(walk, snapshot, lane).unwrap_or(&empty);
    match chain.request(walk.exchange).await {
        Flow::Next => {}
        Flow::Reply(reply) => return answer_whole(walk, &reply, Some(chain), tally).await,
        Flow::Fail(fault) => return Err(Failure::Fault(fault)),
    }
    let cluster = aim(walk, snapshot, lane, service.as_ref())?;
    tally.aimed(
        cluster.template.upstream.name.as_str(),
        &cluster.service,
        cluster.row,
    );
    forward::announce(walk.exchange, walk.connection, &worker.shared.pseudonym)
        .map_err(|_| Fault::new(Cause::HeadTooLarge, "the head of the request is too large"))?;
    let Some(total) = cluster.template.upstream.timeouts.total else {
        return dispatch(walk, (snapshot, cluster), chain, tally).await;
    };
    let alarm = worker.take_alarm();
    alarm.set(total);
    let mut dispatching = pin!(dispatch(walk, (snapshot, cluster), chain, tally));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = dispatching.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        alarm.poll_passed(cx).map(|()| {
            let words = format!("service {}: the answer took too long", cluster.service);
            Err(Fault::new(Cause::TotalTimeout, words).into())
        })
    });
    let done = done.await;
    worker.give_alarm(alarm);
    done
}

/// The lane's chain on the listener that the request came to.
fn chain_of<'s>(walk: &Walk<'_, '_>, snapshot: &Snapshot, lane: &'s Lane) -> Option<&'s Chain> {
    let listener = &walk.connection.listener.name;
    let mut listeners = snapshot.compiled.plan.listeners.iter();
    let place = listeners.position(|known| known.name == *listener)?;
    lane.chains.get(place)
}

/// The lane of a request, and on the built-in lane the service that it names.
fn route<'s>(
    walk: &mut Walk<'_, '_>,
    snapshot: &'s Snapshot,
) -> Result<(&'s Arc<Lane>, Option<ServiceKey>), Fault> {
    let compiled = &snapshot.compiled;
    let exchange = &mut *walk.exchange;
    let miss = match compiled
        .router
        .find(&walk.connection.listener.name, &exchange.head)
    {
        Outcome::Found(found) => {
            exchange.captures = found.captures;
            exchange.prefix_bytes = found.prefix_bytes;
            return Ok((found.payload, None));
        }
        Outcome::Nothing(miss) => miss,
        Outcome::WantsBody { .. } => {
            return Err(Fault::new(
                Cause::Misconfigured,
                "the route asks for the body",
            ));
        }
    };
    if let Some(automatic) = &compiled.automatic {
        let service = named_service(exchange)?;
        return Ok((&automatic.lane, Some(service)));
    }
    if !miss.allowed.is_empty() {
        let allowed: Vec<&str> = miss.allowed.iter().map(Method::as_str).collect();
        let words = format!("{} is not served here", exchange.head.method);
        let fault = Fault::new(Cause::MethodUnsupported, words);
        return Err(Fault {
            allowed: allowed.join(", "),
            ..fault
        });
    }
    let words = if miss.host_known {
        format!(
            "no route for {} {}",
            exchange.head.method,
            exchange.head.path()
        )
    } else {
        format!("no route for host {:?}", exchange.head.host())
    };
    Err(Fault::new(Cause::RouteUnknown, words))
}

/// The service that a request on the built-in lane names: by host `<service>.localhost`, or by
/// the first segment of the path, which is then taken off.
fn named_service(exchange: &mut Exchange) -> Result<ServiceKey, Fault> {
    let unknown = |words: String| Fault::new(Cause::RouteUnknown, words);
    let key = |name: &str| {
        let namespace = Name::parse(ServiceKey::DEFAULT_NAMESPACE).ok()?;
        Some(ServiceKey {
            namespace,
            name: Name::parse(name).ok()?,
        })
    };
    if let Some(name) = exchange.head.host().strip_suffix(".localhost") {
        return key(name).ok_or_else(|| unknown(format!("{name:?} can't be a service's name")));
    }
    let path = exchange.head.path();
    let segment = path
        .get(1..)
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    if segment.is_empty() {
        return Err(unknown(
            "name a service: /<service>/... or http://<service>.localhost/".to_owned(),
        ));
    }
    let found =
        key(segment).ok_or_else(|| unknown(format!("{segment:?} can't be a service's name")))?;
    let prefix = format!("/{segment}");
    exchange.prefix_bytes = prefix.len();
    exchange.head.target.strip_prefix(prefix.len());
    let fields = &mut exchange.head.fields;
    // What is there now is what a trusted proxy has taken off before.
    let before = fields.known(Known::XForwardedPrefix).unwrap_or_default();
    let prefix = [before, prefix.as_bytes()].concat();
    // A value and a name are letters that a value may have.
    let _set = fields.set("x-forwarded-prefix", &prefix);
    Ok(found)
}

/// The cluster that a request goes to.
fn aim<'s>(
    walk: &Walk<'_, '_>,
    snapshot: &'s Snapshot,
    lane: &Lane,
    service: Option<&ServiceKey>,
) -> Result<&'s Arc<Cluster>, Fault> {
    match (&lane.way, service) {
        (Way::Automatic, Some(service)) => snapshot
            .automatic(service)
            .ok_or_else(|| explain::unknown_service(service)),
        (Way::Automatic, None) => Err(Fault::new(Cause::RouteUnknown, "no service is named")),
        (Way::Goals { goals }, _) => {
            let place = choose(goals, &mut walk.worker.dice.borrow_mut());
            place
                .and_then(|place| snapshot.clusters.get(place))
                .ok_or_else(|| {
                    let words = format!("route {} has no target with a weight", lane.route);
                    Fault::new(Cause::Misconfigured, words)
                })
        }
        (Way::Quarantine(reason), _) => {
            let words = format!("route {} has an error in its configuration", lane.route);
            Err(Fault::new(Cause::Misconfigured, words).with_detail(reason.to_string()))
        }
    }
}

/// Answers OPTIONS and TRACE that may go no further (RFC 9110, section 7.6.2), and counts one
/// hop off others. What is secret is taken out of a TRACE: whoever answers it sends back what
/// it got (section 9.3.8).
fn last_hop(exchange: &mut Exchange) -> Option<Reply> {
    let head = &mut exchange.head;
    let is_trace = head.method == Method::Trace;
    if is_trace {
        let secret = KnownSet::of(&[Known::Cookie, Known::ProxyAuthorization]);
        head.fields.remove_known(secret);
        head.fields.remove("authorization");
    } else if head.method != Method::Options {
        return None;
    }
    let hops: u32 = std::str::from_utf8(head.fields.known(Known::MaxForwards)?)
        .ok()?
        .parse()
        .ok()?;
    if hops > 0 {
        let _counted = head
            .fields
            .set("max-forwards", (hops - 1).to_string().as_bytes());
        return None;
    }
    let mut reply = Reply {
        status: Status::OK,
        fields: Fields::default(),
        body: Bytes::new(),
    };
    let text = if is_trace {
        let mut echo = Vec::new();
        let wanted = Wanted::KeepAlive;
        portolan_wire::h1::write_request(&mut echo, head, Framing::None, wanted, false);
        reply.body = echo.into();
        ("content-type", "message/http")
    } else {
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
        ("allow", methods)
    };
    let _added = reply.fields.push(text.0, text.1.as_bytes());
    Some(reply)
}

/// Sends a reply whole.
async fn answer_whole(
    walk: &mut Walk<'_, '_>,
    reply: &Reply,
    chain: Option<&Chain>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut head = answer::head_of(reply, &walk.worker.shared.env);
    if let Some(chain) = chain {
        chain.response(walk.exchange, &mut head);
    }
    tally.answered(head.status);
    let length = reply.body.len() as u64;
    let is_head = walk.exchange.head.method == Method::Head;
    let bodyless = is_head || head.status.is_bodyless();
    let framing = if bodyless {
        Framing::None
    } else {
        Framing::Length(length)
    };
    let declared = (!head.status.is_bodyless()).then_some(length);
    let shape = Shape { framing, declared };
    let body = if bodyless {
        Inlet::Empty
    } else {
        Inlet::Full(reply.body.clone())
    };
    let outlet = walk
        .responder
        .start(&head, shape, Wanted::KeepAlive)
        .map_err(|_| Failure::Gone)?;
    let idle = walk.connection.idle_timeout();
    let mut relay = Relay::new(body, outlet, Some((walk.alarm, idle)));
    let done = poll_fn(|cx| relay.poll(cx)).await;
    tally.outcome.sent_bytes = relay.bytes();
    walk.alarm.clear();
    done.map_err(|_| Failure::Gone)
}

impl<'c> Walk<'_, 'c> {
    /// What is left of a request that was answered without a walk.
    pub(crate) fn into_walked(self) -> Walked<'c> {
        let is_whole = self.responder.is_started();
        Walked {
            body: self.body,
            responder: self.responder,
            is_whole,
        }
    }
}

/// Refuses a request that is not walked.
pub(crate) async fn fail(walk: &mut Walk<'_, '_>, fault: &Fault, tally: &mut Tally) {
    tally.failed(fault);
    answer_fault(walk, fault, tally).await;
}

/// Tells a fault, if there is still somebody to tell and something may be said. The answer is
/// whether the client got a whole answer.
async fn answer_fault(walk: &mut Walk<'_, '_>, fault: &Fault, tally: &mut Tally) -> bool {
    if walk.responder.is_started() || fault.cause.status() == 0 {
        return false;
    }
    let reply = answer::of_fault(fault, Some(&walk.exchange.head), &walk.exchange.request_id);
    answer_whole(walk, &reply, None, tally).await.is_ok()
}
