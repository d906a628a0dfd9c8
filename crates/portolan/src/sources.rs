//! Starts and stops sources as plans come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portolan_catalog::{InboxHub, SourceSpec, Turn};
use portolan_config::Plan;
use portolan_model::{
    SourceId,
    route::{Destination, HostPort},
};
use portolan_runtime::{Env, Task};
use tokio::sync::watch;

/// The source of the host names that upstreams name.
const HOSTS: &str = "dns:upstreams";

/// The sources at work.
#[derive(Debug)]
pub(crate) struct Sources {
    hub: InboxHub,
    env: Env,
    running: BTreeMap<SourceId, Running>,
    /// Whether they may speak.
    floor: watch::Sender<bool>,
}

#[derive(Debug)]
struct Running {
    spec: Arc<dyn SourceSpec>,
    _task: Task,
}

impl Sources {
    /// No source yet.
    #[must_use]
    pub(crate) fn new(hub: InboxHub, env: Env) -> Self {
        Self {
            hub,
            env,
            running: BTreeMap::new(),
            floor: watch::Sender::new(false),
        }
    }

    /// Lets them speak. Until then they have their inboxes, by which what they said before can
    /// be remembered: whatever they say of it anew is a change then.
    pub(crate) fn begin(&self) {
        self.floor.send_replace(true);
    }

    /// The hub, for the registry, which is no configured source.
    pub(crate) const fn hub(&mut self) -> &mut InboxHub {
        &mut self.hub
    }

    /// The sources at work.
    #[must_use]
    pub(crate) fn ids(&self) -> Vec<SourceId> {
        self.running.keys().cloned().collect()
    }

    /// Starts, keeps and stops sources so that they are those of the plan.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        let mut wanted: BTreeMap<SourceId, Arc<dyn SourceSpec>> = BTreeMap::new();
        for planned in &plan.sources {
            wanted.insert(planned.id.clone(), Arc::clone(&planned.spec));
        }
        if let Some(spec) = hosts_of(plan) {
            wanted.insert(SourceId::new(HOSTS), spec);
        }
        let gone: BTreeSet<SourceId> = self
            .running
            .keys()
            .filter(|id| !wanted.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.running.remove(&id);
            self.hub.close(&id);
            tracing::info!(source = %id, "source stopped");
        }
        for (id, spec) in wanted {
            let same = self
                .running
                .get(&id)
                .is_some_and(|running| running.spec.same_as(&*spec));
            if !same {
                self.start(id, spec);
            }
        }
    }

    fn start(&mut self, id: SourceId, spec: Arc<dyn SourceSpec>) {
        let inbox = self.hub.open(&id, Turn::Fair);
        let source = spec.build(&id, &self.env);
        let mut floor = self.floor.subscribe();
        let task = self.env.spawn("source", async move {
            if floor.wait_for(|is_given| *is_given).await.is_ok() {
                source.run(inbox).await;
            }
        });
        tracing::info!(source = %id, "source started");
        self.running.insert(id, Running { spec, _task: task });
    }
}

/// The source that resolves the host names of all upstreams; `None` if there are none.
fn hosts_of(plan: &Plan) -> Option<Arc<dyn SourceSpec>> {
    let hosts: BTreeSet<(&str, u16)> = plan
        .upstreams
        .iter()
        .filter_map(|planned| match &planned.upstream.destination {
            Destination::Hosts(hosts) => Some(hosts),
            Destination::Service(_) | Destination::Addresses(_) => None,
        })
        .flatten()
        .map(|HostPort { host, port }| (host.as_str(), *port))
        .collect();
    let hosts: Vec<_> = hosts
        .into_iter()
        .map(|(host, port)| HostPort {
            host: host.to_owned(),
            port,
        })
        .collect();
    (!hosts.is_empty()).then(|| portolan_sources::for_hosts(&hosts))
}
