//! From a cluster to an answer: which instance is tried, and whether another is.

use std::sync::Arc;

use portolan_balance::{Slot, Turn};
use portolan_policy::Chain;
use portolan_snapshot::{Cluster, Snapshot};
use smallvec::SmallVec;

use crate::{
    back::{self, Attempt, Connected, Failure},
    explain,
    tally::Tally,
    walk::Walk,
    worker::Worker,
};

/// Tries instances until one answers, or none may be tried any more.
pub(crate) async fn dispatch(
    walk: &mut Walk<'_, '_>,
    (snapshot, cluster): (&Snapshot, &Cluster),
    chain: &Chain,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let template = &cluster.template;
    let mut tried: SmallVec<[Slot; 2]> = SmallVec::new();
    walk.worker.deposit(template);
    let mut last: Option<Failure> = None;
    let mut is_fresh = false;
    let mut newest: Option<Arc<Cluster>> = None;
    loop {
        let cluster = newest.as_deref().unwrap_or(cluster);
        let mut picked = pick(walk.worker, cluster, &tried);
        if picked.is_none() && matches!(last, Some(Failure::Stale(_))) && !is_fresh {
            // There is no other, and a new connection to the same one is as good.
            is_fresh = true;
            tried.clear();
            picked = pick(walk.worker, cluster, &tried);
        }
        let Some(endpoint) = picked.and_then(|index| cluster.pool.endpoints.get(index)) else {
            // What the last instance did says more than that there is no other.
            return Err(last.unwrap_or_else(|| explain::no_instance(cluster).into()));
        };
        let _in_flight = walk.worker.gauges.begin(endpoint.slot);
        tally.tried(endpoint);
        tried.push(endpoint.slot);
        let mut attempt = Attempt {
            worker: walk.worker,
            connection: walk.connection,
            cluster,
            endpoint,
            chain,
            exchange: walk.exchange,
            request: &walk.request,
            body: &mut walk.body,
            responder: &mut walk.responder,
            tally,
            alarm: walk.alarm,
            is_fresh,
        };
        let failure = match try_once(&mut attempt).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let is_untouched = match &failure {
            Failure::Fault(fault) => fault.retryable,
            Failure::Stale(_) => true,
            Failure::Gone => false,
        };
        let may_retry = is_untouched
            && !walk.responder.is_started()
            && tally.outcome.attempts < template.upstream.retry.attempts_max
            && walk.worker.may_retry(template);
        if !may_retry {
            return Err(failure);
        }
        last = Some(failure);
        newest = newer(walk.worker, snapshot, cluster).or(newest);
    }
}

/// The cluster as it is known by now, if it is another: an instance that has just failed may
/// have been replaced meanwhile. A plan that has changed meanwhile is for later requests.
fn newer(worker: &Worker, snapshot: &Snapshot, cluster: &Cluster) -> Option<Arc<Cluster>> {
    let now = worker.view.pin();
    if now.revision() == snapshot.revision() || !Arc::ptr_eq(&now.compiled, &snapshot.compiled) {
        return None;
    }
    let is_it = |other: &&Arc<Cluster>| Arc::ptr_eq(&other.template, &cluster.template);
    let found = now.clusters.iter().find(is_it);
    found.or_else(|| now.automatic(&cluster.service)).cloned()
}

/// Picks an endpoint that was not tried. The dice are let go of before anything waits.
fn pick(worker: &Worker, cluster: &Cluster, tried: &[Slot]) -> Option<usize> {
    let mut dice = worker.dice.borrow_mut();
    let now = worker.ticker.now();
    let turn = Turn {
        gauges: &worker.gauges,
        dice: &mut dice,
        now,
        tried,
    };
    cluster.balance.pick(&cluster.pool, turn)
}

async fn try_once(attempt: &mut Attempt<'_, '_>) -> Result<(), Failure> {
    if !attempt.cluster.template.upstream.preserve_host {
        attempt.exchange.head.authority = attempt.endpoint.address.to_string();
    }
    match back::connect(attempt).await? {
        Connected::Http1 { link, reused } => back::over_http1(attempt, link, reused).await,
        Connected::Http2(client) => back::over_http2(attempt, client).await,
    }
}
