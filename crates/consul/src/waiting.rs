//! Blocking queries: an answer is made anew whenever something that it may depend on has
//! changed, and goes out when it differs from the one that the client has.

use std::sync::Arc;

use bytes::Bytes;
use portolan_catalog::Catalog;
use portolan_dialects::consul::{
    Parameters, Refusal,
    blocking::{Blocking, Verdict},
    service_key,
};
use portolan_model::{Revision, ServiceKey};
use portolan_wire::serve::Response;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    Parts,
    answering::{encoded, indexed, json_bytes},
    scene::Scene,
};
use portolan_registry::watch::{Scope, Watcher};

/// What a read shows: its bytes and its index.
type Made = (Bytes, u64);

/// Answers a read of one service.
pub(super) async fn of_service<T: Serialize>(
    parts: &Parts,
    parameters: &Parameters,
    name: &str,
    make: impl Fn(&Scene<'_>) -> Result<T, Refusal>,
) -> Result<Response, Refusal> {
    let key = service_key(name)?;
    let seen = parameters.blocking.index;
    let whole = |scene: &Scene<'_>, _: Option<&Made>| {
        let index = service_index(scene, &key, seen);
        Ok((encoded(&make(scene)?)?.into(), index))
    };
    answer(parts, parameters, Scope::Service(key.clone()), whole).await
}

/// Answers a read of everything.
pub(super) async fn of_everything<T: Serialize>(
    parts: &Parts,
    parameters: &Parameters,
    make: impl Fn(&Scene<'_>) -> Result<T, Refusal>,
) -> Result<Response, Refusal> {
    let whole =
        |scene: &Scene<'_>, _: Option<&Made>| Ok((encoded(&make(scene)?)?.into(), scene.index()));
    answer(parts, parameters, Scope::Everything, whole).await
}

/// Answers with the names of services and their tags.
pub(super) async fn of_names(parts: &Parts, parameters: &Parameters) -> Result<Response, Refusal> {
    let list = |_: &Scene<'_>, known: Option<&Made>| {
        let mut listing = parts.clerk.listing();
        match known {
            Some(known) if known.1 == listing.index() => Ok(known.clone()),
            Some(_) | None => Ok((listing.shown(&parts.permit)?, listing.index())),
        }
    };
    answer(parts, parameters, Scope::Everything, list).await
}

/// The index of a service. One that is not there has not changed if it was not there at the
/// index that the client has seen either, and not since.
fn service_index(scene: &Scene<'_>, key: &ServiceKey, seen: Option<u64>) -> u64 {
    let catalog = &scene.catalog;
    let index = match (catalog.service(key), seen) {
        (Some(service), _) => service.modified.as_u64(),
        (None, Some(seen)) if seen <= scene.index() => {
            if is_untouched(catalog, key, seen) {
                seen
            } else {
                catalog.revision().as_u64()
            }
        }
        (None, _) => catalog.revision().as_u64(),
    };
    index.max(scene.nodes.index)
}

fn is_untouched(catalog: &Catalog, key: &ServiceKey, since: u64) -> bool {
    let since = Revision::from_u64(since).min(catalog.revision());
    let touched = catalog.journal().touched_since(since);
    touched.is_ok_and(|touched| !touched.iter().any(|before| before.key == key))
}

/// `make` is given what it made last, as long as nobody was told.
async fn answer(
    parts: &Parts,
    parameters: &Parameters,
    scope: Scope,
    make: impl Fn(&Scene<'_>, Option<&Made>) -> Result<Made, Refusal>,
) -> Result<Response, Refusal> {
    let blocking = parameters.blocking;
    // Subscribing comes before reading, so that no change falls in between.
    let nodes = parts.clerk.watch_nodes();
    let revision = parts.clerk.catalog().revision();
    let first = make(&Scene::new(parts), None)?;
    let answered = match blocking.verdict(first.1) {
        Verdict::Answer => first,
        Verdict::Wait => {
            let reader = Arc::clone(parts.registry.reader());
            let watcher = Watcher::new(&parts.hub, reader, scope, Some(revision)).await;
            let watcher =
                watcher.ok_or_else(|| Refusal::new(503, "the program is coming to its end"))?;
            wait(parts, blocking, (watcher, nodes), first, make).await?
        }
    };
    let response = json_bytes(answered.0);
    Ok(indexed(response, answered.1, parameters.consistency))
}

async fn wait(
    parts: &Parts,
    blocking: Blocking,
    (mut watcher, mut nodes): (Watcher, watch::Receiver<()>),
    first: Made,
    make: impl Fn(&Scene<'_>, Option<&Made>) -> Result<Made, Refusal>,
) -> Result<Made, Refusal> {
    let patience = blocking.patience(parts.env.dice().unit_f64());
    let until = parts.env.instant() + patience;
    let mut drain = parts.drain.clone();
    let mut newest = first;
    loop {
        tokio::select! {
            biased;
            // What the client may see now is for its next request to find out.
            () = parts.permit.outdated(&parts.access) => return Ok(newest),
            () = drain.draining() => return Ok(newest),
            () = parts.env.sleep_until(until) => return Ok(newest),
            told = watcher.next() => {
                if told.is_none() {
                    return Ok(newest);
                }
                while watcher.has_news() {
                    // What changed does not matter: the answer is made whole.
                    let _told = watcher.next().await;
                }
            }
            changed = nodes.changed() => {
                if changed.is_err() {
                    return Ok(newest);
                }
            }
        }
        let again = make(&Scene::new(parts), Some(&newest))?;
        if again.0 != newest.0 {
            return Ok(again);
        }
        // Whoever comes back with this index has seen everything up to it.
        newest = again;
    }
}
