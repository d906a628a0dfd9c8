//! Many services, of which two blocking queries tell which ones changed.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    convert::Infallible,
    hash::{Hash, Hasher},
    ops::Bound,
    time::Duration,
};

use portolan_runtime::Task;
use tokio::sync::mpsc;

use super::{
    api::Cursor,
    crew::{Crew, Fetched},
    follow::{Datacenter, FOLLOWED_MAX, Names, Report, Word},
    shape::Check,
};
use crate::frame::Ended;

/// Signs that wait to be looked at.
const SIGNS_MAX: usize = 4;
/// The least rest between two looks at all checks.
const REST: Duration = Duration::from_millis(20);
/// How often all services are looked at, whether or not there was a sign: an instance that
/// is registered anew with another address, port or weight changes no check.
const SWEEP: Duration = Duration::from_mins(1);
/// The rest between two steps of a look at all services.
const STEP: Duration = Duration::from_secs(1);
/// A look at all services has this many steps at most, so that it takes a minute at most.
const STEPS_MAX: usize = 60;
/// The least services of a step.
const STEP_MIN: usize = 32;

/// A sign that something may have changed.
enum Sign {
    /// These services, and those on these nodes.
    Checks(BTreeSet<String>, BTreeSet<String>),
    /// All names as they are now, and those whose tags are others.
    Names(BTreeSet<String>, BTreeSet<String>),
    /// Nothing is new about any service.
    Alive,
    Lost(Ended),
}

/// What all checks look like: a fingerprint for each service and each node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Looks {
    services: BTreeMap<String, u64>,
    nodes: BTreeMap<String, u64>,
}

/// What is known of services besides what they are.
#[derive(Default)]
struct Known {
    on_nodes: BTreeMap<String, BTreeSet<String>>,
    unchecked: BTreeSet<String>,
    prints: BTreeMap<String, u64>,
}

/// A look at all services, some at a time.
#[derive(Debug, Default)]
struct Round {
    /// The one that was looked at last.
    last: String,
    left: usize,
}

impl Datacenter {
    /// Says everything, then follows the signs; returns when few services are left.
    pub(super) async fn follow_crowd(
        &self,
        crew: &mut Crew,
        names: &mut Names,
    ) -> Result<(), Ended> {
        // Looking at the checks begins before everything is fetched, so that no change
        // falls in between.
        let mut checks = self.api();
        let looked = look(&mut checks, Cursor::default(), self.settings.wait).await?;
        let mut wanted = names.first().await?;
        let mut known = Known::default();
        let fetched = self.tell_all(crew, &wanted).await?;
        known.take(&fetched);
        let _queries = self.start_queries();
        let (signs, mut seen) = mpsc::channel(SIGNS_MAX);
        let _names = self.start_names(names.go_on(self), signs.clone());
        let _looking = self.start_looking(looked, signs);
        let mut round = Round::default();
        let (sweep, step) = (self.env.sleep(SWEEP), self.env.sleep(STEP));
        tokio::pin!(sweep, step);
        loop {
            let mut changed = BTreeSet::new();
            tokio::select! {
                sign = seen.recv() => match sign {
                    Some(Sign::Checks(services, nodes)) => {
                        changed.extend(services);
                        changed.extend(known.on(&nodes));
                    }
                    Some(Sign::Names(next, retagged)) => {
                        let gone = wanted.difference(&next).cloned().collect();
                        self.tell_gone(gone).await?;
                        changed.extend(next.difference(&wanted).cloned());
                        changed.extend(known.unchecked.iter().cloned());
                        changed.extend(retagged);
                        wanted = next;
                        // It may be one of those that no check tells about.
                        if round.begin(&wanted) {
                            step.set(self.env.sleep(STEP));
                        }
                    }
                    Some(Sign::Alive) => self.tell(Report::Alive).await?,
                    Some(Sign::Lost(ended)) => return Err(ended),
                    None => return Err(Ended::lost("nobody looks at Consul's checks")),
                },
                () = &mut sweep => {
                    changed.extend(known.unchecked.iter().cloned());
                    round.begin(&wanted);
                    sweep.set(self.env.sleep(SWEEP));
                }
                () = &mut step, if round.left > 0 => {
                    changed.extend(round.step(&wanted));
                    step.set(self.env.sleep(STEP));
                }
            }
            if wanted.len() <= FOLLOWED_MAX {
                return Ok(());
            }
            changed.retain(|name| wanted.contains(name));
            known.forget_all_but(&wanted);
            self.tell_changed(crew, &changed, &mut known).await?;
        }
    }

    async fn tell_changed(
        &self,
        crew: &mut Crew,
        changed: &BTreeSet<String>,
        known: &mut Known,
    ) -> Result<(), Ended> {
        let mut fetched = crew.fetch(changed).await?;
        fetched.retain(|name, fetched| known.prints.get(name) != Some(&fetched.print));
        known.take(&fetched);
        for (name, fetched) in fetched {
            let word = Word::Service(name);
            self.tell(Report::Part(word, fetched.view)).await?;
        }
        Ok(())
    }

    /// Follows the names for as long as the task is kept.
    fn start_names(&self, mut names: Names, signs: mpsc::Sender<Sign>) -> Task {
        self.env.spawn("consul names", async move {
            loop {
                let sign = match names.next().await {
                    Ok(Some(wanted)) => Sign::Names(wanted, names.take_retagged()),
                    Ok(None) => Sign::Alive,
                    Err(ended) => Sign::Lost(ended),
                };
                let is_over = matches!(sign, Sign::Lost(_));
                if signs.send(sign).await.is_err() || is_over {
                    return;
                }
            }
        })
    }

    /// Looks at all checks for as long as the task is kept.
    fn start_looking(&self, looked: (Looks, Cursor), signs: mpsc::Sender<Sign>) -> Task {
        let this = self.clone();
        self.env.spawn("consul checks", async move {
            let Err(ended) = this.look_on(looked, &signs).await;
            // Whoever does not listen any more ends this task.
            let _unheard = signs.send(Sign::Lost(ended)).await;
        })
    }

    async fn look_on(
        &self,
        (mut looks, mut cursor): (Looks, Cursor),
        signs: &mpsc::Sender<Sign>,
    ) -> Result<Infallible, Ended> {
        let mut api = self.api();
        loop {
            let asked = api.blocking(STATES, cursor, self.settings.wait).await?;
            cursor = asked.cursor;
            if !asked.is_new {
                continue;
            }
            let begun = self.env.instant();
            let checks: Vec<Check> = api.read(&asked.answer)?;
            let next = Looks::of(&checks);
            let sign = Sign::Checks(
                differing(&looks.services, &next.services),
                differing(&looks.nodes, &next.nodes),
            );
            looks = next;
            signs.send(sign).await.map_err(|_| Ended::Closed)?;
            // As much rest as work: a Consul that changes all the time is read half of it.
            let work = self.env.instant().saturating_duration_since(begun);
            self.env.sleep(REST.max(work)).await;
        }
    }
}

/// Where all checks are.
const STATES: &str = "/v1/health/state/any";

async fn look(
    api: &mut super::api::Api,
    cursor: Cursor,
    wait: Duration,
) -> Result<(Looks, Cursor), Ended> {
    let asked = api.blocking(STATES, cursor, wait).await?;
    let checks: Vec<Check> = api.read(&asked.answer)?;
    Ok((Looks::of(&checks), asked.cursor))
}

impl Looks {
    fn of(checks: &[Check]) -> Self {
        let mut looks = Self::default();
        for check in checks {
            let mut hasher = DefaultHasher::new();
            let facts = (&check.node, &check.id, &check.status, check.modify_index);
            facts.hash(&mut hasher);
            let print = if check.service_name.is_empty() {
                looks.nodes.entry(check.node.clone()).or_default()
            } else {
                looks
                    .services
                    .entry(check.service_name.clone())
                    .or_default()
            };
            // Checks come in any order.
            *print = print.wrapping_add(hasher.finish());
        }
        looks
    }
}

/// Names whose fingerprint is another one, or that only one side has.
fn differing(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeSet<String> {
    let changed = after
        .iter()
        .filter(|(name, print)| before.get(*name) != Some(print));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changed.map(|(name, _)| name).chain(gone).cloned().collect()
}

impl Known {
    fn take(&mut self, fetched: &BTreeMap<String, Fetched>) {
        for (name, fetched) in fetched {
            self.on_nodes.insert(name.clone(), fetched.nodes.clone());
            self.prints.insert(name.clone(), fetched.print);
            if fetched.is_unchecked {
                self.unchecked.insert(name.clone());
            } else {
                self.unchecked.remove(name);
            }
        }
    }

    fn forget_all_but(&mut self, wanted: &BTreeSet<String>) {
        self.on_nodes.retain(|name, _| wanted.contains(name));
        self.unchecked.retain(|name| wanted.contains(name));
        self.prints.retain(|name, _| wanted.contains(name));
    }

    /// Services on those nodes.
    fn on(&self, nodes: &BTreeSet<String>) -> Vec<String> {
        let services = self.on_nodes.iter();
        let on = services.filter(|(_, of)| !nodes.is_empty() && !of.is_disjoint(nodes));
        on.map(|(name, _)| name.clone()).collect()
    }
}

impl Round {
    /// All are looked at from now on. Says whether nothing was under way.
    fn begin(&mut self, wanted: &BTreeSet<String>) -> bool {
        let was_over = self.left == 0;
        self.left = wanted.len();
        was_over
    }

    /// The next ones, those after the last one first.
    fn step(&mut self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        let count = wanted.len().div_ceil(STEPS_MAX).max(STEP_MIN);
        let count = count.min(self.left).min(wanted.len());
        self.left = self.left.saturating_sub(count);
        let after = (Bound::Excluded(self.last.as_str()), Bound::Unbounded);
        let next = wanted.range::<str, _>(after).chain(wanted).take(count);
        let next: Vec<_> = next.cloned().collect();
        if next.is_empty() {
            self.left = 0;
        }
        self.last = next.last().cloned().unwrap_or_default();
        next.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(node: &str, service: &str, index: u64) -> Check {
        Check {
            node: node.to_owned(),
            id: "c".to_owned(),
            service_name: service.to_owned(),
            status: "passing".to_owned(),
            modify_index: index,
            ..Check::default()
        }
    }

    #[test]
    fn a_round_comes_to_all_of_them_once() {
        let names = |count: usize| (0..count).map(|number| format!("s{number}"));
        for count in [0, 1, 31, 33, 5000] {
            let wanted: BTreeSet<_> = names(count).collect();
            let mut round = Round {
                last: "s3".to_owned(),
                left: 0,
            };
            assert!(round.begin(&wanted));
            let mut seen = BTreeSet::new();
            let mut steps = 0;
            while round.left > 0 {
                for name in round.step(&wanted) {
                    assert!(seen.insert(name), "twice");
                }
                steps += 1;
            }
            assert_eq!(seen, wanted);
            assert!(steps <= STEPS_MAX, "{steps} steps");
        }
    }

    #[test]
    fn a_change_of_a_check_tells_its_service_or_node() {
        let before = [check("n1", "a", 1), check("n1", "b", 1), check("n1", "", 1)];
        let mut after = before.clone();
        after.reverse();
        assert_eq!(Looks::of(&before), Looks::of(&after), "order means nothing");
        after[1].modify_index = 2;
        let (before, after) = (Looks::of(&before), Looks::of(&after));
        let changed = differing(&before.services, &after.services);
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b"]);
        assert!(differing(&before.nodes, &after.nodes).is_empty());
        let none = Looks::default();
        assert_eq!(differing(&before.services, &none.services).len(), 2);
        assert_eq!(differing(&before.nodes, &none.nodes).len(), 1);
    }
}
