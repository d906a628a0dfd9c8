//! Follows the services of a datacenter, however many they are.
//!
//! Those that have a blocking query of their own tell what they are. For the others there are
//! signs that they may have changed, upon which they are fetched, those first that people
//! would wait for. Whether there are such others changes while services come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    ops::Bound,
    time::Duration,
};

use portolan_runtime::Task;
use portolan_sources::frame::Ended;
use tokio::sync::mpsc;

use super::{
    api::Cursor,
    crew::{Crew, Fetched},
    follow::{Datacenter, Report, Word},
    looks::{Looks, Sign},
    names::Names,
    query::{Heard, Told},
    roll::Changes,
    watches::Watches,
};

/// Signs that wait to be looked at.
const SIGNS_MAX: usize = 4;
/// How often all services are looked at, whether or not there was a sign: an instance that
/// is registered anew with another address, port or weight changes no check.
const SWEEP: Duration = Duration::from_mins(1);
/// The rest between two steps of a look at all services.
const STEP: Duration = Duration::from_secs(1);
/// A look at all services has this many steps at most, so that it takes a minute at most.
const STEPS_MAX: usize = 60;
/// The least services of a step.
const STEP_MIN: usize = 32;

/// Services at work.
pub(super) struct Following {
    datacenter: Datacenter,
    crew: Crew,
    watches: Watches,
    wanted: BTreeSet<String>,
    known: Known,
    due: Due,
    round: Round,
}

/// What is known of services besides what they are.
#[derive(Default)]
struct Known {
    on_nodes: BTreeMap<String, BTreeSet<String>>,
    unchecked: BTreeSet<String>,
    prints: BTreeMap<String, u64>,
    cursors: BTreeMap<String, Cursor>,
}

/// Services that are to be fetched.
#[derive(Default)]
struct Due {
    /// There was a sign of a change.
    soon: BTreeSet<String>,
    /// They may have changed.
    later: BTreeSet<String>,
}

/// A look at all services, some at a time.
#[derive(Debug, Default)]
struct Round {
    /// The one that was looked at last.
    last: String,
    left: usize,
}

impl Following {
    pub(super) fn new(
        datacenter: Datacenter,
        (crew, watches): (Crew, Watches),
        wanted: BTreeSet<String>,
        fetched: &BTreeMap<String, Fetched>,
    ) -> Self {
        let mut known = Known::default();
        for (name, fetched) in fetched {
            known.take(name, fetched);
        }
        Self {
            datacenter,
            crew,
            watches,
            wanted,
            known,
            due: Due::default(),
            round: Round::default(),
        }
    }

    /// Says what changes since the names were read, and the checks were looked at.
    pub(super) async fn run(
        mut self,
        names: Names,
        mut looks: Option<Looks>,
    ) -> Result<Infallible, Ended> {
        let (signs, mut seen) = mpsc::channel(SIGNS_MAX);
        let _names = names.start(&self.datacenter, signs.clone());
        let mut looking: Option<Vec<Task>> = None;
        let env = self.datacenter.env.clone();
        let (sweep, step) = (env.sleep(SWEEP), env.sleep(STEP));
        tokio::pin!(sweep, step);
        loop {
            if self.has_others() {
                let known = &self.known;
                self.watches.fill(&self.wanted, |name| known.cursor(name));
            }
            if !self.has_others() {
                looking = None;
            } else if looking.is_none() {
                looking = Some(self.datacenter.start_looking(looks.take(), &signs));
            }
            self.hand_out().await?;
            let was_over = self.round.left == 0;
            tokio::select! {
                sign = seen.recv() => {
                    let sign = sign.ok_or_else(|| Ended::lost("nobody looks at Consul"))?;
                    self.heed(sign).await?;
                }
                heard = self.watches.next() => self.hear(heard).await?,
                back = self.crew.next() => self.take(back?).await?,
                () = &mut sweep => {
                    self.watches.relieve();
                    if self.has_others() {
                        self.due.later.extend(self.known.unchecked.iter().cloned());
                        self.sweep();
                    }
                    sweep.set(env.sleep(SWEEP));
                }
                () = &mut step, if self.round.left > 0 => {
                    self.due.later.extend(self.round.step(&self.wanted));
                    step.set(env.sleep(STEP));
                }
            }
            if was_over && self.round.left > 0 {
                step.set(env.sleep(STEP));
            }
        }
    }

    /// Whether there are services without a query of their own.
    fn has_others(&self) -> bool {
        self.watches.len() < self.wanted.len()
    }

    /// All others are looked at from now on.
    fn sweep(&mut self) {
        self.round.left = self.wanted.len();
    }

    /// Has those fetched that are due, as far as somebody has nothing to do.
    async fn hand_out(&mut self) -> Result<(), Ended> {
        while self.crew.has_room() {
            let (crew, watches, wanted) = (&self.crew, &self.watches, &self.wanted);
            let is_needed = |name: &str| wanted.contains(name) && !watches.has(name);
            let Some(name) = self.due.next(is_needed, |name| crew.is_out(name)) else {
                return Ok(());
            };
            self.crew.send(name).await?;
        }
        Ok(())
    }

    async fn heed(&mut self, sign: Sign) -> Result<(), Ended> {
        match sign {
            Sign::Checks(services, nodes) => {
                self.due.soon.extend(services);
                self.due.soon.extend(self.known.on(&nodes));
            }
            Sign::Names(changes) => self.call_the_roll(changes).await?,
            Sign::Moved(seats) => self.watches = Watches::new(&self.datacenter, *seats),
            Sign::Begun => {
                let watches = &self.watches;
                let others = self.wanted.iter().filter(|name| !watches.has(name));
                self.due.later.extend(others.cloned());
            }
            Sign::Alive => self.datacenter.tell(Report::Alive).await?,
            Sign::Lost(ended) => return Err(ended),
        }
        Ok(())
    }

    /// Something registered or left.
    async fn call_the_roll(&mut self, changes: Changes) -> Result<(), Ended> {
        let Changes {
            came,
            gone,
            retagged,
        } = changes;
        if self.has_others() {
            // It may be one of those that no check tells about.
            self.due.later.extend(self.known.unchecked.iter().cloned());
            self.sweep();
        }
        for name in &gone {
            self.wanted.remove(name);
        }
        self.watches.end(&gone);
        self.known.forget(&gone);
        let known = &self.known;
        self.watches.fill(&came, |name| known.cursor(name));
        self.wanted.extend(came.iter().cloned());
        self.due.soon.extend(came);
        self.due.soon.extend(retagged);
        self.datacenter.tell_gone(gone).await
    }

    /// A query was answered.
    async fn hear(&mut self, heard: Option<Heard>) -> Result<(), Ended> {
        let Some(Heard { name, told, .. }) = heard else {
            return Err(Ended::lost("nobody asks Consul"));
        };
        match told {
            Told::Service(fetched) => {
                if self.known.is_new(&name, &fetched) {
                    self.watches.touch(&name);
                }
                return self.tell(name, fetched).await;
            }
            Told::TurnedAway => self.watches.turn_away(&name),
            Told::Failed(failed) => self.watches.falter(&name, failed)?,
        }
        // Whether that is the service's fault is known when it is fetched.
        self.due.soon.insert(name);
        Ok(())
    }

    /// A service was fetched.
    async fn take(&mut self, (name, fetched): (String, Fetched)) -> Result<(), Ended> {
        self.due.later.extend(self.watches.reckon(&name));
        if !self.wanted.contains(&name) || self.watches.has(&name) {
            return Ok(());
        }
        self.watches.resume(&name, fetched.cursor);
        if self.known.is_new(&name, &fetched) {
            self.due
                .later
                .extend(self.watches.admit(&name, fetched.cursor));
        }
        self.tell(name, fetched).await
    }

    async fn tell(&mut self, name: String, fetched: Fetched) -> Result<(), Ended> {
        let is_new = self.known.is_new(&name, &fetched);
        self.known.take(&name, &fetched);
        if is_new {
            let part = Report::Part(Word::Service(name), fetched.view);
            self.datacenter.tell(part).await?;
        }
        Ok(())
    }
}

impl Known {
    fn take(&mut self, name: &str, fetched: &Fetched) {
        self.on_nodes.insert(name.to_owned(), fetched.nodes.clone());
        self.prints.insert(name.to_owned(), fetched.print);
        self.cursors.insert(name.to_owned(), fetched.cursor);
        if fetched.is_unchecked {
            self.unchecked.insert(name.to_owned());
        } else {
            self.unchecked.remove(name);
        }
    }

    fn is_new(&self, name: &str, fetched: &Fetched) -> bool {
        self.prints.get(name) != Some(&fetched.print)
    }

    /// Where following it goes on.
    fn cursor(&self, name: &str) -> Cursor {
        self.cursors.get(name).copied().unwrap_or_default()
    }

    fn forget(&mut self, gone: &BTreeSet<String>) {
        for name in gone {
            self.on_nodes.remove(name);
            self.unchecked.remove(name);
            self.prints.remove(name);
            self.cursors.remove(name);
        }
    }

    /// Services on those nodes.
    fn on(&self, nodes: &BTreeSet<String>) -> Vec<String> {
        let services = self.on_nodes.iter();
        let on = services.filter(|(_, of)| !nodes.is_empty() && !of.is_disjoint(nodes));
        on.map(|(name, _)| name.clone()).collect()
    }
}

impl Due {
    /// The next one of those that are needed and not being fetched already. What is being
    /// fetched may have changed since it was asked for, so it stays due.
    fn next(
        &mut self,
        is_needed: impl Fn(&str) -> bool,
        is_out: impl Fn(&str) -> bool,
    ) -> Option<String> {
        loop {
            let mut all = self.soon.iter().chain(&self.later);
            let next = all.find(|name| !is_out(name))?.clone();
            self.soon.remove(&next);
            self.later.remove(&next);
            if is_needed(&next) {
                return Some(next);
            }
        }
    }
}

impl Round {
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

    #[test]
    fn a_round_comes_to_all_of_them_once() {
        let names = |count: usize| (0..count).map(|number| format!("s{number}"));
        for count in [0, 1, 31, 33, 5000] {
            let wanted: BTreeSet<_> = names(count).collect();
            let mut round = Round {
                last: "s3".to_owned(),
                left: 0,
            };
            round.left = wanted.len();
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
    fn what_there_was_a_sign_of_is_due_first_and_what_is_out_stays_due() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut due = Due {
            soon: names(&["m", "out", "over"]),
            later: names(&["a", "m", "out"]),
        };
        let mut next = || due.next(|name| name != "over", |name| name == "out");
        assert_eq!(next().as_deref(), Some("m"));
        assert_eq!(next().as_deref(), Some("a"));
        assert_eq!(next(), None);
        assert_eq!(due.soon, names(&["out"]), "it is fetched once more");
    }
}
