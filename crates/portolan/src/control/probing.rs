//! The prober of the program: what it is told to check, and how far it may go for that.

use std::sync::Arc;

use portolan_config::Plan;
use portolan_consul::Programs;
use portolan_registry::{
    Orders, Registry,
    check::{Checks, Parts, Prober, Reach, ReachSettings, ServiceCheck},
};
use portolan_runtime::Env;
use portolan_snapshot::services_of;
use tokio::sync::watch;

use super::ports::Verdicts;

/// What a plan says to the prober.
pub(super) struct Probing {
    checks: watch::Sender<Arc<[ServiceCheck]>>,
    reach: watch::Sender<ReachSettings>,
}

impl Probing {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            checks: watch::Sender::new(service_checks(plan)),
            reach: watch::Sender::new(reach_settings(plan)),
        }
    }

    /// A prober that listens to this, and how its checks stand.
    pub(super) fn prober(
        &self,
        env: &Env,
        registry: &Registry,
        orders: Orders,
        bench: Arc<Verdicts>,
    ) -> (Prober, Checks) {
        let (states, reports) = Checks::new();
        let prober = Prober::new(Parts {
            errands: Arc::new(Reach::new(env.clone(), self.reach.subscribe())),
            env: env.clone(),
            registry: registry.clone(),
            orders,
            checks: self.checks.subscribe(),
            bench,
            reports,
        });
        (prober, states)
    }

    /// Whether checks may run programs of this machine, as things stand.
    pub(super) fn programs(&self) -> Programs {
        let reach = self.reach.subscribe();
        Arc::new(move || reach.borrow().runs_programs)
    }

    /// Says what a new plan says.
    pub(super) fn apply(&self, plan: &Plan) {
        self.checks.send_if_modified(|checks| {
            let wanted = service_checks(plan);
            let differs = *checks != wanted;
            *checks = wanted;
            differs
        });
        self.reach.send_replace(reach_settings(plan));
    }
}

fn reach_settings(plan: &Plan) -> ReachSettings {
    let checks = &plan.registry.checks;
    ReachSettings {
        runs_programs: checks.runs_programs,
        docker: checks.docker.clone(),
        ca: checks.ca.clone(),
    }
}

/// The checks that upstreams ask for, by service.
fn service_checks(plan: &Plan) -> Arc<[ServiceCheck]> {
    let upstreams = plan.upstreams.iter().map(|planned| &planned.upstream);
    let checks = upstreams.flat_map(|upstream| {
        let services = upstream.check.iter().flat_map(|_| services_of(upstream));
        services.filter_map(|key| {
            Some(ServiceCheck {
                key,
                port: upstream.port.clone(),
                subset: upstream.subset.clone(),
                check: upstream.check.clone()?,
            })
        })
    });
    checks.collect()
}
