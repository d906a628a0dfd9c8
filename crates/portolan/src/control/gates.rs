//! The gates before the control listeners, and the access control that they share.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc};

use http::Method;
use portolan_access::{Need, Rate};
use portolan_auth::{Access, Api, Front, Gate, Manner, Throttle};
use portolan_config::{ControlLimits, Plan, REQUESTS_PER_CLIENT};
use portolan_registry::front::native;
use portolan_runtime::Env;
use portolan_snapshot::View;
use portolan_wire::serve::{Handler, PerClient};

use crate::load::chain;

/// Access control and how much clients may ask, as the plan in force says.
pub(super) struct Gates {
    access: Access,
    view: View,
    admin: Arc<Throttle>,
    eureka: Arc<Throttle>,
    consul: Arc<Throttle>,
    /// Where data is kept.
    folder: PathBuf,
    has_local: bool,
}

impl Gates {
    pub(super) fn new(env: &Env, view: &View, folder: PathBuf) -> Self {
        Self {
            access: Access::new(env),
            view: view.clone(),
            admin: Arc::default(),
            eureka: Arc::default(),
            consul: Arc::default(),
            folder,
            has_local: false,
        }
    }

    pub(super) const fn access(&self) -> &Access {
        &self.access
    }

    /// The paths of tokens and the trail, before the native front.
    pub(super) fn api(&self, native: Arc<dyn Handler>) -> Api {
        Api::new(self.access.clone(), native)
    }

    pub(super) fn admin(&self, handler: Arc<dyn Handler>) -> Gate {
        let front = Front {
            listener: "admin",
            manner: Manner::Native,
            kind: native::kind,
            need: need_of_admin,
        };
        self.gate(front, handler, &self.admin)
    }

    pub(super) fn eureka(&self, handler: Arc<dyn Handler>) -> Gate {
        let front = Front {
            listener: "eureka",
            manner: Manner::Eureka,
            kind: portolan_eureka::kind,
            need: portolan_eureka::need,
        };
        self.gate(front, handler, &self.eureka)
    }

    pub(super) fn consul(&self, handler: Arc<dyn Handler>) -> Gate {
        let front = Front {
            listener: "consul",
            manner: Manner::Consul,
            kind: portolan_consul::kind,
            need: portolan_consul::need,
        };
        self.gate(front, handler, &self.consul)
    }

    fn gate(&self, front: Front, handler: Arc<dyn Handler>, throttle: &Arc<Throttle>) -> Gate {
        let view = self.view.clone();
        let revision = move || view.snapshot().catalog.revision();
        Gate::new(
            front,
            handler,
            self.access.clone(),
            Arc::clone(throttle),
            revision,
        )
    }

    /// Puts in force what a plan says.
    pub(super) fn follow(&mut self, plan: &Plan) {
        if plan.access.is_some() && !self.has_local {
            match self.access.write_local(&self.folder) {
                Ok(()) => self.has_local = true,
                Err(error) => tracing::error!(
                    error = chain(&error),
                    "the secret for commands on this machine can't be written"
                ),
            }
        }
        self.access.follow(plan.access.as_ref());
        for (throttle, limits) in [
            (&self.admin, &plan.admin.security.limits),
            (&self.eureka, &plan.registry.eureka.security.limits),
            (&self.consul, &plan.registry.consul.security.limits),
        ] {
            throttle.follow(rate(limits));
        }
    }
}

/// What a request to the admin listener needs, whoever of those who share it answers.
fn need_of_admin(method: &Method, path: &str) -> Need {
    portolan_admin::need(path)
        .or_else(|| portolan_auth::need(path))
        .unwrap_or_else(|| native::need(method, path))
}

fn rate(limits: &ControlLimits) -> PerClient<Rate> {
    let usual = NonZeroU32::new(REQUESTS_PER_CLIENT).unwrap_or(NonZeroU32::MAX);
    let per_second = limits.requests_per_client.unwrap_or(usual);
    let twice = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
    PerClient {
        limit: Rate {
            per_second,
            burst: limits.burst.unwrap_or(twice),
        },
        includes_this_machine: limits.requests_per_client.is_some(),
    }
}
