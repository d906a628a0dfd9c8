//! Upstreams and who serves them now.

use portolan_balance::{Endpoint, Excluded};
use portolan_model::Traffic;
use portolan_snapshot::{Cluster, Snapshot};
use serde::Serialize;

use crate::config::time;

#[derive(Serialize)]
pub(crate) struct Upstreams {
    upstreams: Vec<Pool>,
}

/// An upstream, narrowed by a target's subset, and its instances.
#[derive(Serialize)]
pub(crate) struct Pool {
    pub(crate) upstream: String,
    services: Vec<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    subset: portolan_model::Metadata,
    /// Whether anybody ever named one of the services.
    is_known: bool,
    endpoints: Vec<Open>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct Open {
    service: String,
    id: String,
    address: String,
    weight: u16,
}

#[derive(Serialize)]
struct LeftOut {
    service: String,
    id: String,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<std::sync::Arc<str>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reason {
    Traffic(Traffic),
    Word(&'static str),
}

pub(crate) fn upstreams(snapshot: &Snapshot) -> Upstreams {
    let clusters = snapshot.clusters.iter();
    Upstreams {
        upstreams: clusters.map(|cluster| pool(cluster)).collect(),
    }
}

pub(crate) fn pool(cluster: &Cluster) -> Pool {
    let services = cluster.template.services.iter();
    let services: Vec<_> = services.map(ToString::to_string).collect();
    Pool {
        upstream: cluster.template.upstream.name.to_string(),
        services: if services.is_empty() {
            vec![cluster.service.to_string()]
        } else {
            services
        },
        subset: cluster.template.subset.clone(),
        is_known: cluster.is_known,
        endpoints: cluster.pool.endpoints.iter().map(open).collect(),
        left_out: cluster.pool.excluded.iter().map(left_out).collect(),
    }
}

/// The upstream's name, and which of its instances are meant.
pub(crate) fn label(cluster: &Cluster) -> String {
    let name = &cluster.template.upstream.name;
    match labels(&cluster.template.subset) {
        None => name.to_string(),
        Some(labels) => format!("{name} ({labels})"),
    }
}

/// What the gateway answers because nobody can serve a request, and why; `None` if somebody can.
pub(crate) fn absence(cluster: &Cluster) -> Option<String> {
    let (service, pool) = (&cluster.service, &cluster.pool);
    if !pool.endpoints.is_empty() {
        return None;
    }
    if !cluster.is_known {
        return Some(format!("404: no service is called {service}"));
    }
    let why = match (pool.excluded.len(), labels(&cluster.template.subset)) {
        (0, None) => "no instances".to_owned(),
        (0, Some(labels)) => format!("no instances with {labels}"),
        (1, _) => format!("1 instance, {}", reasons(&pool.excluded)),
        (count, _) => format!("{count} instances, {}", reasons(&pool.excluded)),
    };
    Some(format!("503: service {service}: {why}"))
}

/// `version=v1, zone=a`; `None` if nothing is asked for.
fn labels(subset: &portolan_model::Metadata) -> Option<String> {
    let labels: Vec<_> = subset
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!labels.is_empty()).then(|| labels.join(", "))
}

/// How many are left out for what, each reason with its first instance's time and note.
fn reasons(excluded: &[Excluded]) -> String {
    let mut kinds: Vec<(&'static str, usize, &Excluded)> = Vec::new();
    for one in excluded {
        let word = word(one.reason);
        match kinds.iter_mut().find(|(known, ..)| *known == word) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((word, 1, one)),
        }
    }
    let shown = kinds.iter().map(|(word, count, first)| {
        let how_many = match (*count == excluded.len(), count) {
            (true, 1) => String::new(),
            (true, _) => "all ".to_owned(),
            (false, count) => format!("{count} "),
        };
        let state = &first.instance.state;
        let since = time(state.since).map_or(String::new(), |since| format!(" since {since}"));
        let note = state.note.as_ref();
        let note = note.map_or(String::new(), |note| format!(" ({note})"));
        format!("{how_many}{word}{since}{note}")
    });
    shown.collect::<Vec<_>>().join(", ")
}

const fn word(reason: Option<Traffic>) -> &'static str {
    match reason {
        Some(Traffic::Critical) => "failing",
        Some(Traffic::Starting) => "starting",
        Some(Traffic::Overridden) => "taken out by an operator",
        Some(Traffic::Leaving) => "leaving",
        // Full and reduced are never left out.
        Some(Traffic::Full | Traffic::Reduced) => "left out",
        None => "without the port that the upstream names",
    }
}

fn open(endpoint: &Endpoint) -> Open {
    Open {
        service: endpoint.instance.key.to_string(),
        id: endpoint.instance.id.to_string(),
        address: endpoint.address.to_string(),
        weight: endpoint.weight.as_u16(),
    }
}

fn left_out(excluded: &Excluded) -> LeftOut {
    let state = &excluded.instance.state;
    LeftOut {
        service: excluded.instance.key.to_string(),
        id: excluded.instance.id.to_string(),
        reason: match excluded.reason {
            Some(traffic) => Reason::Traffic(traffic),
            None => Reason::Word("without_port"),
        },
        since: time(state.since),
        note: state.note.clone(),
    }
}
