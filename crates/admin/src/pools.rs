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
