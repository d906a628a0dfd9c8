//! The task that probes.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_model::{
    Health, Instance, InstanceId, ServiceKey, Timestamp,
    route::{Check, Means, Probe},
};
use portolan_runtime::{Env, Running, Task};
use tokio::sync::{mpsc, watch};

use super::{
    Bench, CheckState, Errands, Outcome, PROBES_MAX, Reports, ServiceCheck,
    board::Spoken,
    roster::{Due, Judgement, Roster, Wish},
    turns::Turns,
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
    /// Makes the probes.
    pub errands: Arc<dyn Errands>,
    /// What instances say, and where is shown what was found.
    pub reports: Reports,
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
    began_at: Timestamp,
    registry: Registry,
    orders: Orders,
    checks: watch::Receiver<Arc<[ServiceCheck]>>,
    bench: Arc<dyn Bench>,
    errands: Arc<dyn Errands>,
    follow: Box<dyn Follow>,
    roster: Roster,
    turns: Turns,
    reports: Reports,
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
            began_at: parts.env.now(),
            roster: Roster::new(parts.env.dice()),
            turns: Turns::default(),
            follow: parts.registry.reader().follow(),
            env: parts.env,
            registry: parts.registry,
            orders: parts.orders,
            checks: parts.checks,
            bench: parts.bench,
            errands: parts.errands,
            reports: parts.reports,
            by_service: HashMap::new(),
            matched: HashMap::new(),
            under_way: HashMap::new(),
            done,
            report,
        }
    }

    /// Probes until the registry or the publisher has ended.
    #[must_use]
    pub fn run(self) -> Running {
        Box::pin(self.keep_probing())
    }

    async fn keep_probing(mut self) {
        self.take_checks().await;
        loop {
            self.work().await;
            let idle = self.env.instant() + Duration::from_hours(1);
            let wakes = [self.roster.next_due(), self.turns.next_look()];
            let wake = wakes.into_iter().flatten().min();
            let wake = wake.map_or(idle, |due| self.began + Duration::from_millis(due));
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take_order(order).await,
                    None => return,
                },
                published = self.follow.next() => match published {
                    Some(Published::Changed(_, keys)) => self.take_changes(&keys).await,
                    Some(Published::Missed) => self.match_all().await,
                    None => return,
                },
                changed = self.checks.changed() => match changed {
                    Ok(()) => self.take_checks().await,
                    Err(_) => return,
                },
                Some((serial, outcome)) = self.done.recv() => {
                    self.end(serial);
                    let judgement = self.roster.ended(self.now(), serial, &outcome);
                    self.deliver(judgement).await;
                }
                Some(spoken) = self.reports.spoken.recv() => self.hear(spoken).await,
                () = self.env.sleep_until(wake) => {}
            }
        }
    }

    /// Does what is due, and shows what changed.
    async fn work(&mut self) {
        let now = self.now();
        while let Some(due) = self.roster.take_due(now) {
            match due {
                Due::Probe(serial, host, pace) => self.turns.line_up(serial, host, pace),
                Due::Look(serial) => self.look(serial).await,
                Due::Found(judgement) => self.deliver(judgement).await,
            }
        }
        while let Some(subject) = self.roster.take_doomed(now) {
            tracing::info!(
                service = %subject.key,
                instance = %subject.id,
                "instance was critical for longer than it asked to be; deregistering it"
            );
            self.registry.judge(Input::Deregister(subject)).await;
        }
        self.begin(now);
        for serial in self.roster.take_gone() {
            if self.under_way.contains_key(&serial) {
                self.end(serial);
            }
        }
        self.show();
    }

    /// Begins the probes that have their turn.
    fn begin(&mut self, now: u64) {
        while let Some(serial) = self.turns.begin(now) {
            let Some(errand) = self.roster.begin(now, serial) else {
                self.turns.end(serial);
                continue;
            };
            let (errands, report) = (Arc::clone(&self.errands), self.report.clone());
            let probing = async move {
                let outcome = errands.run(errand).await;
                // A prober that has ended needs no outcome.
                let _ended = report.send((serial, outcome)).await;
            };
            let task = self.env.spawn("probe", probing);
            self.under_way.insert(serial, task);
        }
    }

    fn end(&mut self, serial: u64) {
        self.under_way.remove(&serial);
        self.turns.end(serial);
    }

    async fn take_order(&mut self, order: CheckOrder) {
        let now = self.now();
        let judgement = match order {
            CheckOrder::Set(subject, address, check) => {
                let wanted = (Wish::Own, &*at(address, check));
                self.roster.set(now, &subject, address, wanted)
            }
            CheckOrder::Resume(subject, address, check, found) => {
                let wanted = (&*at(address, check), found);
                self.roster.resume(now, &subject, address, wanted)
            }
            CheckOrder::Clear(subject) => {
                let home = self.roster.home(&subject);
                home.and_then(|home| self.roster.set(now, &subject, home, (Wish::Own, &[])))
            }
        };
        self.deliver(judgement).await;
    }

    /// Hears a report. An instance that has registered before it reports is known by then.
    async fn hear(&mut self, spoken: Spoken) {
        while let Ok(order) = self.orders.try_recv() {
            self.take_order(order).await;
        }
        let Spoken {
            subject,
            id,
            verdict,
            reply,
        } = spoken;
        let outcome = Outcome::said(verdict);
        let heard = self.roster.report(self.now(), (&subject, &id), &outcome);
        let answer = heard.as_ref().map(drop).map_err(|error| *error);
        self.deliver(heard.ok().flatten()).await;
        self.show();
        // Whoever reported may have gone away.
        let _reporter = reply.send(answer);
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
        for key in self.roster.watched() {
            self.look_at(&key).await;
        }
    }

    async fn take_changes(&mut self, keys: &[ServiceKey]) {
        for key in keys {
            if self.by_service.contains_key(key) || self.matched.contains_key(key) {
                self.match_service(key).await;
            }
            self.look_at(key).await;
        }
    }

    /// Lets everybody look who has an alias for a service.
    async fn look_at(&mut self, key: &ServiceKey) {
        for serial in self.roster.watchers(key) {
            self.look(serial).await;
        }
    }

    async fn look(&mut self, serial: u64) {
        let catalog = self.registry.reader().catalog();
        let judgement = self.roster.look(self.now(), serial, &catalog);
        self.deliver(judgement).await;
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
        wanted: &[(SocketAddr, Arc<Probe>)],
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
        // Whoever is woken by the change looks at the board, and comes again only with the next.
        self.show();
        if is_foreign {
            self.bench.hear(&subject, home, verdict).await;
        } else {
            let input = Input::Judge(subject, home, verdict);
            self.registry.judge(input).await;
        }
    }

    /// Puts on the board what changed.
    fn show(&mut self) {
        for subject in self.roster.take_touched() {
            let targets = self.roster.targets(&subject).iter();
            let states = targets.map(|target| {
                let verdict = target.counter.verdict();
                CheckState {
                    probe: Arc::clone(&target.probe),
                    is_configured: target.wish == Wish::Upstream,
                    health: verdict.map_or(Health::Starting, |verdict| verdict.health),
                    note: verdict.and_then(|verdict| verdict.note.clone()),
                    output: Arc::clone(&target.output),
                    since: self.began_at.after(Duration::from_millis(target.since)),
                }
            });
            let states = states.collect();
            self.reports.board.put(subject, states);
        }
    }

    fn now(&self) -> u64 {
        let uptime = self.env.instant().saturating_duration_since(self.began);
        u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The probes of an instance's own check.
fn at(address: SocketAddr, check: Check) -> Vec<(SocketAddr, Arc<Probe>)> {
    let probes = Vec::from(check).into_iter();
    probes.map(|probe| (address, Arc::new(probe))).collect()
}

/// The probes that the checks of a service ask for at an instance. Reports are for the
/// instance's own checks only.
fn wanted(instance: &Instance, checks: &[ServiceCheck]) -> Vec<(SocketAddr, Arc<Probe>)> {
    let mut wanted: Vec<(SocketAddr, Arc<Probe>)> = Vec::new();
    for check in checks
        .iter()
        .filter(|check| instance.matches(&check.subset))
    {
        let Some(address) = instance.address(check.port.as_ref()) else {
            continue;
        };
        for probe in check.check.probes() {
            let is_known = wanted
                .iter()
                .any(|known| known.0 == address && *known.1 == *probe);
            if !is_known && !matches!(probe.means, Means::Ttl(_)) {
                wanted.push((address, Arc::new(probe.clone())));
            }
        }
    }
    wanted
}
