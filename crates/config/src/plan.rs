//! The plan: everything that a configuration says, checked, with its origins.
//!
//! A plan is made whole and never changed; a reload makes another one and compares
//! digests. Objects that could not be read are not in it (a route that could not be
//! read keeps its matches and answers with an error, so that its requests do not
//! fall through to a broader route); they stand in [`Plan::findings`].
//!
//! Invariant: every reference resolves: a target names an upstream of the plan, a
//! route names listeners of the plan.

use std::{collections::BTreeMap, sync::Arc};

use portolan_balance::BalanceSpec;
use portolan_catalog::{GuardSettings, SourceSpec};
use portolan_model::{
    Name, SourceId,
    route::{Route, Upstream},
};
use portolan_policy::PolicySpec;

use crate::{
    Access, AccessLog, Admin, Digest, Dns, Finding, Gateway, Listener, ObjectRef, Origin, Registry,
    Status,
};

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What holds for the gateway as a whole.
    pub gateway: Gateway,
    /// The admin listener.
    pub admin: Admin,
    /// The listener for liveness and readiness, besides the admin listener.
    pub status: Option<Status>,
    /// Access control of the control listeners; none if everybody may do everything.
    pub access: Option<Access>,
    /// Where access records go.
    pub access_log: AccessLog,
    /// The registry's limits and foreign protocols.
    pub registry: Registry,
    /// The DNS server.
    pub dns: Dns,
    /// The guard's settings.
    pub guard: GuardSettings,
    /// The listeners, in the order written.
    pub listeners: Vec<Listener>,
    /// Policies of every route on every listener.
    pub policies: Vec<PlannedPolicy>,
    /// The routes, in the order written.
    pub routes: Vec<PlannedRoute>,
    /// The upstreams, in the order written.
    pub upstreams: Vec<PlannedUpstream>,
    /// The sources, in the order written, which is their order of precedence.
    pub sources: Vec<PlannedSource>,
    /// Everything that was found, errors and warnings.
    pub findings: Vec<Finding>,
    /// What was written, object by object; those in quarantine are here too.
    pub objects: BTreeMap<ObjectRef, Described>,
    /// Digest of all objects: equal plans have equal digests.
    pub digest: Digest,
}

/// What is known of an object besides what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Where it was written.
    pub origin: Origin,
    /// Digest of the object with its defaults and with the environment put in.
    pub digest: Digest,
    /// The object as JSON text, without defaults; `${env:...}` is left as written, so that
    /// it can be shown.
    pub written: Arc<str>,
    /// Whether it is in quarantine: it has errors and does not apply.
    pub quarantined: bool,
}

/// A policy whose settings have been read.
#[derive(Clone, Debug)]
pub struct PlannedPolicy {
    /// The word of its kind.
    pub kind: &'static str,
    /// The row of its kind in the shelf's table, which is its place in a chain.
    pub rank: usize,
    /// The settings: proof that it can be built.
    pub spec: Arc<dyn PolicySpec>,
}

/// A route whose policies have been read.
#[derive(Clone, Debug)]
pub struct PlannedRoute {
    /// The route. Its targets name upstreams of the plan.
    pub route: Route,
    /// The route's own policies.
    pub policies: Vec<PlannedPolicy>,
    /// Digest of what was written.
    pub digest: Digest,
    /// Why it is in quarantine: it then answers every request with
    /// [`portolan_model::Cause::Misconfigured`] and this detail for the log.
    pub quarantine: Option<Arc<str>>,
}

/// An upstream whose balancer has been read.
#[derive(Clone, Debug)]
pub struct PlannedUpstream {
    /// The upstream.
    pub upstream: Upstream,
    /// The balancing algorithm.
    pub balance: Arc<dyn BalanceSpec>,
    /// Digest of what was written.
    pub digest: Digest,
}

/// A source whose settings have been read.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    /// Its name among all sources: `file:edge`, `dns:legacy`.
    pub id: SourceId,
    /// The settings: proof that it can be built.
    pub spec: Arc<dyn SourceSpec>,
    /// Digest of what was written.
    pub digest: Digest,
}

impl Plan {
    /// What runs without any configuration: the gateway on 127.0.0.1:8080 with the automatic
    /// lane, the admin listener on 127.0.0.1:9070, Eureka's protocol on 127.0.0.1:8761, Consul's on
    /// 127.0.0.1:8500, and DNS on 127.0.0.1:8600.
    #[must_use]
    pub fn zero_config() -> Self {
        crate::fold::zero_config()
    }

    /// The listener of that name.
    #[must_use]
    pub fn listener(&self, name: &Name) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.name == *name)
    }

    /// The upstream of that name.
    #[must_use]
    pub fn upstream(&self, name: &Name) -> Option<&PlannedUpstream> {
        let named = |planned: &&PlannedUpstream| planned.upstream.name == *name;
        self.upstreams.iter().find(named)
    }

    /// The objects in quarantine.
    pub fn quarantined(&self) -> impl Iterator<Item = &ObjectRef> {
        let objects = self.objects.iter();
        objects
            .filter(|(_, described)| described.quarantined)
            .map(|(object, _)| object)
    }
}
