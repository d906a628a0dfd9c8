//! One instance's lease: what it says of itself, what its checks found, how long it stays.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_dialects::native::{Described, Misfit, Patch};
use portolan_model::{Change, Health, Instance, State, Timestamp, Verdict, route::Check};
use serde::{Deserialize, Serialize};

use super::{CheckOrder, DrainId, Moment, Recheck, Subject};

/// What an instance is said to wait for until its first probe has ended.
const UNCHECKED: &str = "waiting for its first check";
/// Where an instance without a port is checked: its checks name places of their own.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What an instance says of its own health. What it leaves out stays as it was, but a
/// note explains one status only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

impl Report {
    /// What holds after this one was followed by another.
    fn followed_by(&self, next: Self) -> Self {
        let health = next.health.or(self.health);
        Self { health, ..next }
    }

    /// Whether the other one changes nothing.
    fn is_same_after(&self, next: &Self) -> bool {
        next.health.or(self.health) == self.health && next.note == self.note
    }
}

/// What the catalogue was told of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing yet.
    Nothing,
    /// Something else than what is shown; its state is that which is shown.
    Otherwise,
    /// What is shown.
    AsShown,
}

/// There is one for each instance, so its size counts: the instance itself is the one that
/// the catalogue has.
#[derive(Debug)]
pub(super) struct Lease {
    /// What the instance says of itself, in the state that the catalogue was told last.
    pub(super) shown: Arc<Instance>,
    pub(super) told: Told,
    pub(super) report: Report,
    pub(super) verdict: Option<Verdict>,
    pub(super) check: Option<Check>,
    /// The check or the address differs from what the prober was told.
    pub(super) is_check_new: bool,
    /// The prober may know of a check, or have told what it found to an earlier lease.
    pub(super) is_check_gone: bool,
    pub(super) ttl: Duration,
    /// A good check is a sign of life, because nobody promised another one.
    pub(super) lives_by_check: bool,
    /// When it ends, in milliseconds of uptime.
    pub(super) deadline: u64,
    pub(super) drain: Option<DrainId>,
}

impl Lease {
    pub(super) fn new(
        now: Moment,
        described: Described,
        ttl: Duration,
        known: Option<Self>,
    ) -> Self {
        let Described {
            instance,
            check,
            status,
            note,
            ttl: asked,
        } = described;
        let report = Report {
            health: status,
            note,
        };
        let mut lease = Self {
            told: Told::Nothing,
            is_check_new: check.is_some(),
            is_check_gone: check.is_none(),
            lives_by_check: asked.is_none() && check.is_some(),
            shown: Arc::new(instance),
            report,
            verdict: check.as_ref().and_then(begun),
            check,
            ttl,
            deadline: 0,
            drain: None,
        };
        if let Some(known) = known {
            if known.address() == lease.address() {
                lease.follow(known.check.as_ref(), known.verdict);
            }
            lease.is_check_gone &= known.check.is_some();
            lease.succeed(known.shown, known.told);
        }
        lease.renew(now);
        lease
    }

    /// Takes the place of what the catalogue was told of an earlier lease.
    fn succeed(&mut self, shown: Arc<Instance>, told: Told) {
        if told == Told::AsShown && shown.is_described_as(&self.shown) {
            (self.shown, self.told) = (shown, told);
        } else if told != Told::Nothing {
            self.told = Told::Otherwise;
            Arc::make_mut(&mut self.shown).state = shown.state.clone();
        }
    }

    /// What it says of itself has changed.
    fn is_otherwise(&mut self) {
        if self.told == Told::AsShown {
            self.told = Told::Otherwise;
        }
    }

    /// Its front has other checks for it.
    pub(super) fn recheck(&mut self, recheck: Recheck) {
        let Recheck {
            record: (key, record),
            check,
            report,
        } = recheck;
        if self.shown.metadata.get(&key) != Some(&record) {
            Arc::make_mut(&mut self.shown).metadata.insert(key, record);
            self.is_otherwise();
        }
        self.report = report;
        let before = std::mem::replace(&mut self.check, check);
        let found = std::mem::replace(&mut self.verdict, self.check.as_ref().and_then(begun));
        self.is_check_new = self.check.is_some();
        self.is_check_gone = self.check.is_none() && before.is_some();
        self.follow(before.as_ref(), found);
    }

    /// Takes over what other checks of the same address found. It holds until the prober
    /// has judged anew, unless there is a check that nobody can say anything of yet.
    fn follow(&mut self, before: Option<&Check>, found: Option<Verdict>) {
        let (Some(before), Some(check)) = (before, &self.check) else {
            return;
        };
        let is_known = |id: &str| before.probes().iter().any(|probe| &*probe.id == id);
        let begins_well = |word| matches!(word, Some(Health::Passing | Health::Warning));
        let mut probes = check.probes().iter();
        if probes.all(|probe| is_known(&probe.id) || begins_well(probe.initial)) {
            self.verdict = found;
        }
        if before == check {
            self.is_check_new = false;
        }
    }

    /// What the prober has to learn after a registration.
    pub(super) fn order(&self, subject: &Subject) -> Option<CheckOrder> {
        match &self.check {
            Some(check) if self.is_check_new => {
                let (subject, check) = (subject.clone(), check.clone());
                Some(CheckOrder::Set(subject, self.address(), check))
            }
            None if self.is_check_gone => Some(CheckOrder::Clear(subject.clone())),
            Some(_) | None => None,
        }
    }

    /// The same after it was taken over from another process.
    pub(super) fn resumption(&self, subject: &Subject) -> Option<CheckOrder> {
        match (self.order(subject)?, &self.verdict) {
            (CheckOrder::Set(subject, address, check), Some(found)) => {
                Some(CheckOrder::Resume(subject, address, check, found.clone()))
            }
            (order, _) => Some(order),
        }
    }

    /// As the catalogue knows it.
    pub(super) fn shown(&self) -> &Instance {
        &self.shown
    }

    /// Where its checks look for it.
    pub(super) fn address(&self) -> SocketAddr {
        self.shown.address(None).unwrap_or(NOWHERE)
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) const fn drain(&self) -> Option<DrainId> {
        self.drain
    }

    pub(super) const fn has_check(&self) -> bool {
        self.check.is_some()
    }

    pub(super) const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// A sign of life. A drain has its own deadline, which nothing moves.
    pub(super) fn renew(&mut self, now: Moment) {
        if self.drain.is_none() {
            self.deadline = millis_after(now, self.ttl);
        }
    }

    /// When the last sign of life was; a drain has its own deadline, which says nothing of it.
    pub(super) fn last_heard(&self, now: Moment) -> Option<Timestamp> {
        if self.drain.is_some() {
            return None;
        }
        let heard = Duration::from_millis(self.deadline).saturating_sub(self.ttl);
        let ago = now.uptime.saturating_sub(heard).as_millis();
        let ago = u64::try_from(ago).unwrap_or(u64::MAX);
        Some(Timestamp::from_millis(
            now.at.as_millis().saturating_sub(ago),
        ))
    }

    /// Whether the lease goes on at its deadline, because its checks are good.
    pub(super) fn is_kept_by_check(&self) -> bool {
        let is_good =
            |verdict: &Verdict| matches!(verdict.health, Health::Passing | Health::Warning);
        self.lives_by_check && self.drain.is_none() && self.verdict.as_ref().is_some_and(is_good)
    }

    pub(super) fn report(&mut self, report: Report) {
        self.report = self.report.followed_by(report);
    }

    /// Whether nobody learns anything by a report.
    pub(super) fn is_known(&self, report: &Report) -> bool {
        self.told == Told::AsShown && self.report.is_same_after(report)
    }

    /// Changes what the instance said of itself.
    ///
    /// # Errors
    /// [`Misfit`] names the field that would have no place; nothing is changed.
    pub(super) fn patch(&mut self, patch: &Patch) -> Result<(), Misfit> {
        let patched = patch.apply(&self.shown)?;
        if patched != *self.shown {
            self.shown = Arc::new(patched);
            self.is_otherwise();
        }
        Ok(())
    }

    pub(super) fn judge(&mut self, now: Moment, verdict: Option<Verdict>) {
        let was_kept = self.is_kept_by_check();
        self.verdict = verdict;
        if was_kept && !self.is_kept_by_check() {
            // Up to now it was alive.
            self.renew(now);
        }
    }

    pub(super) fn leave(&mut self, now: Moment, drain: DrainId, within: Duration) {
        self.drain = Some(drain);
        self.deadline = millis_after(now, within);
    }

    /// What the catalogue has to learn, if anything.
    pub(super) fn tell(&mut self, now: Moment) -> Option<Change> {
        let (health, note) = self.health();
        let before = (self.told != Told::Nothing).then_some(&self.shown.state);
        let since = match before {
            Some(before) if before.health == health => before.since,
            Some(_) | None => now.at,
        };
        let state = State {
            health,
            since,
            first_seen: before.map_or(now.at, |before| before.first_seen),
            note,
            leaving: self.drain.is_some(),
            ..State::default()
        };
        if self.told == Told::AsShown && self.shown.state == state {
            return None;
        }
        // Readers keep what they were shown; one that they know nothing of is not copied.
        Arc::make_mut(&mut self.shown).state = state;
        self.told = Told::AsShown;
        let instance = Arc::clone(&self.shown);
        Some(Change::Put { instance })
    }

    /// The worse of what it says of itself and what its checks found.
    fn health(&self) -> (Health, Option<Arc<str>>) {
        let Report { health, note } = &self.report;
        let found = self.verdict.as_ref();
        match (*health, found) {
            (Some(own), Some(found)) if own.severity() > found.health.severity() => {
                (own, note.clone())
            }
            (Some(_), Some(found)) => (found.health, found.note.clone()),
            (Some(own), None) => (own, note.clone()),
            // A note alone says nothing against what the checks found.
            (None, Some(found)) => (found.health, found.note.clone().or_else(|| note.clone())),
            (None, None) if self.check.is_some() => (Health::Starting, Some(UNCHECKED.into())),
            (None, None) => (Health::Passing, note.clone()),
        }
    }
}

/// What a check says before it has found anything.
fn begun(check: &Check) -> Option<Verdict> {
    let word = check.initial();
    word.map(|health| Verdict { health, note: None })
}

/// Rounded up, so that nothing ends early.
pub(super) fn millis_after(now: Moment, span: Duration) -> u64 {
    let nanos = now.uptime.saturating_add(span).as_nanos();
    u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
