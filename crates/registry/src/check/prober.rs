//! The task that probes.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_model::{Instance, InstanceId, ServiceKey, route::Check};
use portolan_runtime::{Env, Task};
use tokio::sync::{mpsc, watch};

use super::{
    Bench, Outcome, PROBES_MAX, ServiceCheck,
    probe::probe,
    roster::{Judgement, Roster, Wish},
};
use crate::{
    Follow, Orders, Published, Registry,
    core::{CheckOrder, Input, Subject},
};

/// What a prober is made of.
pub struct Parts {
    /// Clock, chance and tasks.
    pub env: Env,
    /// Hears about its own instances.
    pub registry: Registry,
    /// The checks that its instances bring.
    pub orders: Orders,
    /// The checks that the configuration adds.
    pub checks: watch::Receiver<Arc<[ServiceCheck]>>,
    /// Hears about instances of other sources.
    pub bench: Arc<dyn Bench>,
}

/// An instance that the configuration's checks were matched with.
#[derive(Clone, Copy, Debug)]
struct Matched {
    home: SocketAddr,
    /// It is of another source than the registry.
    is_foreign: bool,
}

/// Probes whoever has a check.
pub struct Prober {
    env: Env,
    began: Instant,
    registry: Registry,
    orders: Orders,
    checks: watch::Receiver<Arc<[ServiceCheck]>>,
    bench: Arc<dyn Bench>,
    follow: Box<dyn Follow>,
    roster: Roster,
    by_service: HashMap<ServiceKey, Vec<ServiceCheck>>,
    /// Instances that have checks by the configuration.
    matched: HashMap<ServiceKey, HashMap<InstanceId, Matched>>,
    under_way: HashMap<u64, Task>,
    done: mpsc::Receiver<(u64, Outcome)>,
    report: mpsc::Sender<(u64, Outcome)>,
}

impl Prober {
    /// A prober over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (report, done) = mpsc::channel(PROBES_MAX);
        Self {
            began: parts.env.instant(),
            roster: Roster::new(parts.env.dice()),
            follow: parts.registry.reader().follow(),
            env: parts.env,
            registry: parts.registry,
            orders: parts.orders,
            checks: parts.checks,
            bench: parts.bench,
            by_service: HashMap::new(),
            matched: HashMap::new(),
            under_way: HashMap::new(),
            done,
            report,
        }
    }

    /// Probes until the registry or the publisher has ended.
    pub async fn run(mut self) {
        self.take_checks().await;
        loop {
            self.begin();
            let idle = self.env.instant() + Duration::from_hours(1);
            let due = self.roster.next_due().filter(|_| self.has_room());
            let wake = due.map_or(idle, |due| self.began + Duration::from_millis(due));
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take_order(order).await,
                    None => return,
                },
                published = self.follow.next() => match published {
                    Some(Published::Changed(keys)) => self.match_services(&keys).await,
                    Some(Published::Missed) => self.match_all().await,
                    None => return,
                },
                changed = self.checks.changed() => match changed {
                    Ok(()) => self.take_checks().await,
                    Err(_) => return,
                },
                Some((serial, outcome)) = self.done.recv() => {
                    self.under_way.remove(&serial);
                    let judgement = self.roster.ended(serial, &outcome);
                    self.deliver(judgement).await;
                }
                () = self.env.sleep_until(wake) => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < PROBES_MAX
    }

    /// Begins the probes that are due, as far as there is room.
    fn begin(&mut self) {
        let now = self.now();
        while self.has_room()
            && let Some(job) = self.roster.take_due(now)
        {
            let (env, report) = (self.env.clone(), self.report.clone());
            let serial = job.serial;
            let probing = async move {
                let outcome = probe(&env, job.address, &job.check).await;
                // A prober that has ended needs no outcome.
                let _ended = report.send((serial, outcome)).await;
            };
            let task = self.env.spawn("probe", probing);
            self.under_way.insert(serial, task);
        }
    }

    async fn take_order(&mut self, order: CheckOrder) {
        let now = self.now();
        let judgement = match order {
            CheckOrder::Set(subject, address, check) => {
                let wanted = [(address, Arc::new(check))];
                self.roster
                    .set(now, &subject, address, (Wish::Own, &wanted))
            }
            CheckOrder::Clear(subject) => {
                let home = self.roster.home(&subject);
                home.and_then(|home| self.roster.set(now, &subject, home, (Wish::Own, &[])))
            }
        };
        self.deliver(judgement).await;
    }

    async fn take_checks(&mut self) {
        let checks = Arc::clone(&self.checks.borrow_and_update());
        self.by_service.clear();
        for check in checks.iter() {
            let of_service = self.by_service.entry(check.key.clone()).or_default();
            of_service.push(check.clone());
        }
        self.match_all().await;
    }

    /// Matches every service that has, or had, checks with its instances.
    async fn match_all(&mut self) {
        let checked = self.matched.keys().chain(self.by_service.keys());
        let keys: HashSet<_> = checked.cloned().collect();
        for key in keys {
            self.match_service(&key).await;
        }
    }

    async fn match_services(&mut self, keys: &[ServiceKey]) {
        for key in keys {
            if self.by_service.contains_key(key) || self.matched.contains_key(key) {
                self.match_service(key).await;
            }
        }
    }

    async fn match_service(&mut self, key: &ServiceKey) {
        let checks = self.by_service.get(key).cloned().unwrap_or_default();
        let catalog = self.registry.reader().catalog();
        let service = catalog.service(key).filter(|_| !checks.is_empty());
        let mut gone = self.matched.remove(key).unwrap_or_default();
        let mut matched = HashMap::new();
        for instance in service.into_iter().flat_map(|service| &service.instances) {
            let Some(home) = instance.address(None) else {
                continue;
            };
            gone.remove(&instance.id);
            let is_foreign = instance.source != *self.registry.source();
            let found = Matched { home, is_foreign };
            matched.insert(instance.id.clone(), found);
            let wanted = wanted(instance, &checks);
            self.match_instance(key, &instance.id, found, &wanted).await;
        }
        for (id, found) in gone {
            self.match_instance(key, &id, found, &[]).await;
        }
        if !matched.is_empty() {
            self.matched.insert(key.clone(), matched);
        }
    }

    async fn match_instance(
        &mut self,
        key: &ServiceKey,
        id: &InstanceId,
        found: Matched,
        wanted: &[(SocketAddr, Arc<Check>)],
    ) {
        let subject = Subject {
            key: key.clone(),
            id: id.clone(),
        };
        let wish = (Wish::Upstream, wanted);
        let judgement = self.roster.set(self.now(), &subject, found.home, wish);
        self.tell(judgement, found.is_foreign).await;
    }

    async fn deliver(&mut self, judgement: Option<Judgement>) {
        let Some(judgement) = judgement else { return };
        let subject = &judgement.subject;
        let of_service = self.matched.get(&subject.key);
        let found = of_service.and_then(|of_service| of_service.get(&subject.id));
        let is_foreign = found.is_some_and(|found| found.is_foreign);
        self.tell(Some(judgement), is_foreign).await;
    }

    async fn tell(&mut self, judgement: Option<Judgement>, is_foreign: bool) {
        let Some(Judgement {
            subject,
            home,
            verdict,
        }) = judgement
        else {
            return;
        };
        if is_foreign {
            self.bench.hear(&subject, home, verdict).await;
        } else {
            let input = Input::Judge(subject, home, verdict);
            self.registry.judge(input).await;
        }
    }

    fn now(&self) -> u64 {
        let uptime = self.env.instant().saturating_duration_since(self.began);
        u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The probes that the checks of a service ask for at an instance.
fn wanted(instance: &Instance, checks: &[ServiceCheck]) -> Vec<(SocketAddr, Arc<Check>)> {
    let mut wanted: Vec<(SocketAddr, Arc<Check>)> = Vec::new();
    for check in checks
        .iter()
        .filter(|check| instance.matches(&check.subset))
    {
        let Some(address) = instance.address(check.port.as_ref()) else {
            continue;
        };
        let is_known = wanted
            .iter()
            .any(|known| known.0 == address && *known.1 == check.check);
        if !is_known {
            wanted.push((address, Arc::new(check.check.clone())));
        }
    }
    wanted
}
