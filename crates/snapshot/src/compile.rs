//! From a plan to what requests run on. Done when the plan changes, not when discovery does.

use std::{collections::HashMap, sync::Arc};

use portolan_balance::KINDS;
use portolan_config::{Plan, PlannedPolicy, PlannedRoute, PlannedUpstream};
use portolan_model::{
    Metadata, Name, ServiceKey, Spec,
    route::{Destination, Protocol, Retry, Target, Timeouts, Upstream},
};
use portolan_policy::{Chain, Placed};
use portolan_router::{Entry, Router};
use portolan_runtime::Env;
use portolan_telemetry::{Meters, Row};
use serde_json::Value;

use crate::{Goal, Lane, Template, Way, cluster::services_of};

/// The name of the built-in lane in records and explanations.
const AUTOMATIC: &str = "automatic";

/// A plan ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Finds the lane of a request.
    pub router: Router<Arc<Lane>>,
    /// What clusters are made from, by the clusters' places in the snapshot.
    pub templates: Vec<Arc<Template>>,
    /// The built-in lane, where it is on.
    pub automatic: Option<Automatic>,
}

/// The built-in lane that finds a service by the name in the request.
#[derive(Debug)]
pub struct Automatic {
    /// Its chain.
    pub lane: Arc<Lane>,
    /// What the cluster of each service is made from.
    pub template: Arc<Template>,
}

/// Numbers that must stay the same from plan to plan for what did not change.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    transports: HashMap<String, u32>,
    budgets: HashMap<Name, u32>,
}

impl Numbers {
    fn transport(&mut self, upstream: &Upstream) -> u32 {
        // Whatever a connection depends on; connections of equal settings are shared.
        let settings = format!(
            "{:?} {:?} {:?} {:?}",
            upstream.protocol, upstream.tls, upstream.proxy_protocol, upstream.timeouts.connect
        );
        let next = u32::try_from(self.transports.len()).unwrap_or(u32::MAX);
        *self.transports.entry(settings).or_insert(next)
    }

    fn budget(&mut self, upstream: &Name) -> u32 {
        let next = u32::try_from(self.budgets.len()).unwrap_or(u32::MAX);
        *self.budgets.entry(upstream.clone()).or_insert(next)
    }
}

/// Compiles plans.
pub(crate) struct Compiler<'a> {
    pub(crate) env: &'a Env,
    pub(crate) meters: &'a Meters,
    pub(crate) numbers: &'a mut Numbers,
}

impl Compiler<'_> {
    pub(crate) fn compile(&mut self, plan: Arc<Plan>) -> Compiled {
        let mut templates = Templates::default();
        let entries = plan.routes.iter().map(|planned| {
            let lane = self.lane(&plan, planned, &mut templates);
            Entry::of(&planned.route, Arc::new(lane))
        });
        let entries: Vec<_> = entries.collect();
        // What is wrong with a route was a finding when the plan was checked.
        let (router, _known_problems) = Router::compile(entries);
        let automatic = self.automatic(&plan);
        Compiled {
            router,
            templates: templates.list,
            automatic,
            plan,
        }
    }

    fn lane(&mut self, plan: &Plan, planned: &PlannedRoute, templates: &mut Templates) -> Lane {
        let way = match &planned.quarantine {
            Some(reason) => Way::Quarantine(Arc::clone(reason)),
            None => Way::Goals {
                goals: self.goals(plan, &planned.route.targets, templates),
            },
        };
        let chains = self.chains(plan, &planned.policies);
        Lane {
            route: planned.route.name.clone(),
            chains,
            way,
        }
    }

    fn chains(&self, plan: &Plan, policies: &[PlannedPolicy]) -> Box<[Chain]> {
        let place = |planned: &PlannedPolicy| Placed {
            phase: planned.spec.phase(),
            rank: planned.rank,
            kind: planned.kind,
            policy: planned.spec.build(self.env),
        };
        let global: Vec<Placed> = plan.policies.iter().map(place).collect();
        let own: Vec<Placed> = policies.iter().map(place).collect();
        let chains = plan.listeners.iter().map(|listener| {
            let between = listener.policies.iter().map(place);
            let all = global
                .iter()
                .cloned()
                .chain(between)
                .chain(own.iter().cloned());
            Chain::freeze(all.collect())
        });
        chains.collect()
    }

    fn goals(&mut self, plan: &Plan, targets: &[Target], templates: &mut Templates) -> Box<[Goal]> {
        let mut weight_sum = 0u32;
        let mut goals = Vec::new();
        for target in targets {
            let Some(planned) = plan.upstream(&target.upstream) else {
                continue;
            };
            weight_sum = weight_sum.saturating_add(target.weight);
            let cluster = templates.place(planned, target, self);
            goals.push(Goal {
                cluster,
                weight_sum,
            });
        }
        goals.into()
    }

    fn template(&mut self, planned: &PlannedUpstream, subset: Metadata) -> Template {
        let services = services_of(&planned.upstream);
        let row = services
            .first()
            .map_or(Row::OTHER, |service| self.meters.row(service));
        Template {
            upstream: Arc::new(planned.upstream.clone()),
            balance: Arc::clone(&planned.balance),
            services,
            subset,
            transport: self.numbers.transport(&planned.upstream),
            budget: self.numbers.budget(&planned.upstream.name),
            row,
        }
    }

    fn automatic(&mut self, plan: &Plan) -> Option<Automatic> {
        if !plan.gateway.automatic.is_enabled {
            return None;
        }
        let name = Name::parse(AUTOMATIC).ok()?;
        let key = ServiceKey {
            namespace: name.clone(),
            name: name.clone(),
        };
        let kind = KINDS.first()?;
        let balance = (kind.parse)(&Value::Null).ok()?;
        let upstream = Upstream {
            name: name.clone(),
            destination: Destination::Service(key),
            port: None,
            subset: plan.gateway.automatic.filter.clone(),
            balance: Spec {
                kind: kind.name.to_owned(),
                settings: Value::Null,
            },
            protocol: Protocol::Auto,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            tls: None,
            check: None,
            proxy_protocol: None,
            connections_max: None,
            preserve_host: true,
        };
        let template = Template {
            subset: upstream.subset.clone(),
            balance,
            services: Vec::new(),
            transport: self.numbers.transport(&upstream),
            budget: self.numbers.budget(&name),
            row: Row::OTHER,
            upstream: Arc::new(upstream),
        };
        let lane = Lane {
            route: name,
            chains: self.chains(plan, &[]),
            way: Way::Automatic,
        };
        Some(Automatic {
            lane: Arc::new(lane),
            template: Arc::new(template),
        })
    }
}

/// Templates by upstream and subset: targets that ask for the same share one.
#[derive(Default)]
struct Templates {
    list: Vec<Arc<Template>>,
    places: HashMap<(Name, Metadata), usize>,
}

impl Templates {
    fn place(
        &mut self,
        planned: &PlannedUpstream,
        target: &Target,
        compiler: &mut Compiler<'_>,
    ) -> usize {
        let mut subset = planned.upstream.subset.clone();
        subset.extend(
            target
                .subset
                .iter()
                .map(|(key, value)| (Arc::clone(key), Arc::clone(value))),
        );
        let key = (planned.upstream.name.clone(), subset.clone());
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = self.list.len();
        self.list.push(Arc::new(compiler.template(planned, subset)));
        self.places.insert(key, place);
        place
    }
}
