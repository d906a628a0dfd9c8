//! What is: services, instances, sources.

use std::sync::Arc;

use http::StatusCode;
use portolan_catalog::{Catalog, Conflict, PulseReport, Service, SourceStatus};
use portolan_dialects::native::{
    ConflictView, FailureView, InstanceView, PulseView, ServiceAnswer, ServiceList, ServiceSummary,
    SourceList, SourceState, SourceView, StalenessView,
};
use portolan_model::{Instance, InstanceId, Name, Revision, ServiceKey, SourceId};
use portolan_wire::serve::{Query, Response, full};

use super::{
    Parts, Refusal,
    confirmed::Confirmed,
    filter::{self, Filter},
    json, response, watch,
};

const LIST_END: &[u8] = b"]}\n";

pub(super) fn services(parts: &Parts, namespace: Option<&Name>) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let wanted = |service: &&Arc<Service>| {
        namespace.is_none_or(|namespace| service.key.namespace == *namespace)
    };
    let mut services: Vec<_> = catalog.services().filter(wanted).collect();
    services.sort_by(|a, b| a.key.cmp(&b.key));
    let list = ServiceList {
        revision: catalog.revision(),
        services: services
            .into_iter()
            .map(|service| summary(service))
            .collect(),
    };
    json(StatusCode::OK, &list)
}

pub(super) async fn service(parts: &Parts, key: &ServiceKey) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let service = catalog
        .service(key)
        .ok_or_else(|| Refusal::service_unknown(key))?;
    let answer = ServiceAnswer {
        revision: catalog.revision(),
        summary: summary(service),
        instances: Confirmed::new(parts, &catalog)
            .views(&service.instances)
            .await,
        conflicts: service.conflicts.iter().map(conflict).collect(),
    };
    json(StatusCode::OK, &answer)
}

/// The instances of a service that meet the conditions, now or `at` an earlier revision or
/// time.
pub(super) async fn instances(
    parts: &Parts,
    key: &ServiceKey,
    query: &Query<'_>,
) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    if let (true, Some(service)) = (query.is_empty(), catalog.service(key)) {
        return Ok(whole(parts, &catalog, service));
    }
    let filter = Filter::parse(query, &["at"])?;
    let (revision, past) = filter::moment(query, &parts.registry, &catalog).await?;
    let service = catalog.service(key);
    let instances = match service {
        Some(service) if revision == catalog.revision() => service.instances.clone(),
        None if revision == catalog.revision() => return Err(Refusal::service_unknown(key)),
        // A service that is forgotten today may have had some.
        Some(_) | None => catalog.instances_before(key, revision, past.as_deref())?,
    };
    let chosen = filter.choose(&instances).await?;
    let is_present = revision == catalog.revision();
    let confirmed = is_present.then(|| Confirmed::new(parts, &catalog));
    Ok(listed(parts, revision, &chosen, confirmed))
}

/// All instances of a service. Those of our own alone are a text that is made once for everybody
/// who asks; when others were confirmed is another answer each time.
fn whole(parts: &Parts, catalog: &Catalog, service: &Arc<Service>) -> Response {
    let revision = catalog.revision();
    let own = parts.registry.source();
    if service
        .instances
        .iter()
        .any(|instance| instance.source != *own)
    {
        let instances: Vec<_> = service.instances.iter().collect();
        let confirmed = Confirmed::new(parts, catalog);
        return listed(parts, revision, &instances, Some(confirmed));
    }
    let shared = parts.hub.shared();
    let texts = shared.lists.get_large(service, |service| {
        let texts = service.instances.iter();
        let texts: Vec<_> = texts
            .map(|instance| watch::text(&shared, instance))
            .collect();
        texts.join(&b","[..]).into()
    });
    let head = list_head(revision);
    let list = [head.as_bytes(), &texts, LIST_END].concat();
    response(StatusCode::OK, "application/json", full(list))
}

fn list_head(revision: Revision) -> String {
    format!("{{\"revision\":{revision},\"instances\":[")
}

/// An [`InstanceList`] out of texts that are made once for everybody who asks.
///
/// [`InstanceList`]: portolan_dialects::native::InstanceList
fn listed(
    parts: &Parts,
    revision: Revision,
    instances: &[&Arc<Instance>],
    mut confirmed: Option<Confirmed<'_>>,
) -> Response {
    let shared = parts.hub.shared();
    let mut list = list_head(revision).into_bytes();
    for (number, instance) in instances.iter().enumerate() {
        if number > 0 {
            list.push(b',');
        }
        let text = watch::text(&shared, instance);
        let at = confirmed.as_mut();
        match (at.and_then(|at| at.by_source(instance)), text.split_last()) {
            (Some(at), Some((end, fields))) => {
                list.extend_from_slice(fields);
                list.extend_from_slice(format!(",\"confirmed_at\":\"{at}\"").as_bytes());
                list.push(*end);
            }
            (None, _) | (_, None) => list.extend_from_slice(&text),
        }
    }
    list.extend_from_slice(LIST_END);
    response(StatusCode::OK, "application/json", full(list))
}

pub(super) async fn instance(
    parts: &Parts,
    key: &ServiceKey,
    id: &InstanceId,
) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let service = catalog
        .service(key)
        .ok_or_else(|| Refusal::service_unknown(key))?;
    let found = service.instances.binary_search_by(|known| known.id.cmp(id));
    let instance = found.ok().and_then(|place| service.instances.get(place));
    let instance = instance.ok_or_else(|| {
        let detail = format!("service `{key}` has no instance `{id}`");
        Refusal::new(StatusCode::NOT_FOUND, "instance_not_found", detail)
    })?;
    let confirmed = Confirmed::new(parts, &catalog);
    let views = confirmed.views(std::slice::from_ref(instance)).await;
    match views.first() {
        Some(view) => json(StatusCode::OK, view),
        None => json(StatusCode::OK, &InstanceView::from(&**instance)),
    }
}

pub(super) fn sources(parts: &Parts) -> Result<Response, Refusal> {
    let catalog = parts.registry.reader().catalog();
    let known = catalog.sources().iter();
    let mut sources: Vec<_> = known
        .map(|status| source(status, parts.pulses.report(&status.id)))
        .collect();
    for (id, report) in parts.pulses.all() {
        let has_spoken = catalog.sources().iter().any(|status| status.id == id);
        // What is not configured has no kind in its name: the registry, the prober.
        if !has_spoken && id.as_str().contains(':') {
            sources.push(silent(&id, report));
        }
    }
    json(StatusCode::OK, &SourceList { sources })
}

fn summary(service: &Service) -> ServiceSummary {
    let instances = service.instances.iter();
    ServiceSummary {
        service: service.key.name.as_str().into(),
        namespace: service.key.namespace.as_str().into(),
        instances: service.instances.len(),
        open: instances
            .filter(|instance| instance.state.traffic().is_open())
            .count(),
        modified: service.modified,
    }
}

fn conflict(conflict: &Conflict) -> ConflictView {
    let losers = conflict.losers.iter();
    ConflictView {
        id: conflict.id.as_str().into(),
        winner: conflict.winner.as_str().into(),
        losers: losers.map(|loser| loser.as_str().into()).collect(),
    }
}

fn silent(id: &SourceId, report: PulseReport) -> SourceView {
    SourceView {
        id: id.as_str().into(),
        state: SourceState::Silent,
        stale: None,
        services: 0,
        instances: 0,
        held: 0,
        heard_at: None,
        changed_at: None,
        pulse: pulse(report),
    }
}

fn pulse(report: PulseReport) -> PulseView {
    PulseView {
        changes: report.changes,
        changes_per_second: report.changes_per_second,
        resyncs: report.resyncs,
        failures: report.failures,
        confirmed_at: report.confirmed_at.map(|at| at.to_string()),
        last_failure: report.last_failure.map(|failure| FailureView {
            at: failure.at.to_string(),
            reason: failure.reason,
        }),
        unfit: report.unfit,
        unfit_example: report.unfit_example,
    }
}

fn source(status: &SourceStatus, report: Option<PulseReport>) -> SourceView {
    SourceView {
        id: status.id.as_str().into(),
        state: match &status.stale {
            Some(_) => SourceState::Stale,
            None => SourceState::Current,
        },
        stale: status.stale.as_ref().map(|stale| StalenessView {
            reason: Arc::clone(&stale.reason),
            since: stale.since.to_string(),
        }),
        services: status.services,
        instances: status.instances,
        held: status.held,
        heard_at: status.heard_at.map(|at| at.to_string()),
        changed_at: status.changed_at.map(|at| at.to_string()),
        pulse: pulse(report.unwrap_or_default()),
    }
}
