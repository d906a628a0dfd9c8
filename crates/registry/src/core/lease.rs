//! One instance's lease: what it says of itself, what its checks found, how long it stays.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_dialects::native::{Described, Misfit, Patch};
use portolan_model::{Change, Health, Instance, State, Timestamp, Verdict, route::Check};
use serde::{Deserialize, Serialize};

mod extras;

pub(super) use self::extras::{Extras, Parts};
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
/// the catalogue has, and what most do without stands elsewhere.
#[derive(Debug)]
pub(super) struct Lease {
    /// What the instance says of itself, in the state that the catalogue was told last.
    pub(super) shown: Arc<Instance>,
    pub(super) extras: Extras,
    pub(super) ttl: Span,
    /// When it ends, in milliseconds of uptime.
    pub(super) deadline: u64,
    pub(super) told: Told,
    /// What it last said of its own health.
    pub(super) health: Option<Health>,
    /// The check or the address differs from what the prober was told.
    pub(super) is_check_new: bool,
    /// The prober may know of a check, or have told what it found to an earlier lease.
    pub(super) is_check_gone: bool,
    /// A good check is a sign of life, because nobody promised another one.
    pub(super) lives_by_check: bool,
    /// The last step that left a fact of it.
    pub(super) written: u64,
}

/// A time span in nanoseconds, which takes half the room of a [`Duration`]; the longest is
/// five centuries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(u64);

impl Span {
    pub(super) fn new(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
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
        let mut lease = Self {
            told: Told::Nothing,
            is_check_new: check.is_some(),
            is_check_gone: check.is_none(),
            lives_by_check: asked.is_none() && check.is_some(),
            shown: Arc::new(instance),
            health: status,
            extras: Extras::new(Parts {
                note,
                verdict: check.as_ref().and_then(begun),
                check,
                drain: None,
            }),
            ttl: Span::new(ttl),
            deadline: 0,
            written: 0,
        };
        if let Some(known) = known {
            let is_there = known.address() == lease.address();
            let before = known.extras.into_parts();
            lease.is_check_gone &= before.check.is_some();
            if is_there {
                lease.follow(before.check.as_ref(), before.verdict);
            }
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
        self.health = report.health;
        let (before, found) = self.extras.change(|parts| {
            parts.note = report.note;
            let found = std::mem::replace(&mut parts.verdict, check.as_ref().and_then(begun));
            (std::mem::replace(&mut parts.check, check), found)
        });
        self.is_check_new = self.has_check();
        self.is_check_gone = !self.has_check() && before.is_some();
        self.follow(before.as_ref(), found);
    }

    /// Takes over what other checks of the same address found. It holds until the prober
    /// has judged anew, unless there is a check that nobody can say anything of yet.
    fn follow(&mut self, before: Option<&Check>, found: Option<Verdict>) {
        let (Some(before), Some(check)) = (before, &self.extras.check) else {
            return;
        };
        let is_known = |id: &str| before.probes().iter().any(|probe| &*probe.id == id);
        let begins_well = |word| matches!(word, Some(Health::Passing | Health::Warning));
        let mut probes = check.probes().iter();
        if before == check {
            self.is_check_new = false;
        }
        if probes.all(|probe| is_known(&probe.id) || begins_well(probe.initial)) {
            self.extras.change(|parts| parts.verdict = found);
        }
    }

    /// What the prober has to learn after a registration.
    pub(super) fn order(&self, subject: &Subject) -> Option<CheckOrder> {
        match &self.extras.check {
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
        match (self.order(subject)?, &self.extras.verdict) {
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
        Duration::from_nanos(self.ttl.0)
    }

    pub(super) fn drain(&self) -> Option<DrainId> {
        self.extras.drain
    }

    pub(super) fn has_check(&self) -> bool {
        self.extras.check.is_some()
    }

    pub(super) const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// A sign of life. A drain has its own deadline, which nothing moves.
    pub(super) fn renew(&mut self, now: Moment) {
        if self.drain().is_none() {
            self.deadline = millis_after(now, self.ttl());
        }
    }

    /// When the last sign of life was; a drain has its own deadline, which says nothing of it.
    pub(super) fn last_heard(&self, now: Moment) -> Option<Timestamp> {
        if self.drain().is_some() {
            return None;
        }
        let heard = Duration::from_millis(self.deadline).saturating_sub(self.ttl());
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
        let found = self.extras.verdict.as_ref();
        self.lives_by_check && self.drain().is_none() && found.is_some_and(is_good)
    }

    /// Takes in what the instance says of its health.
    pub(super) fn report(&mut self, Report { health, note }: Report) {
        self.health = health.or(self.health);
        if self.extras.note != note {
            self.extras.change(|parts| parts.note = note);
        }
    }

    /// What it said of its health, all in all.
    pub(super) fn reported(&self) -> Report {
        Report {
            health: self.health,
            note: self.extras.note.clone(),
        }
    }

    /// Whether nobody learns anything by a report.
    pub(super) fn is_known(&self, report: &Report) -> bool {
        let is_same = report.health.or(self.health) == self.health;
        self.told == Told::AsShown && is_same && report.note == self.extras.note
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
        self.extras.change(|parts| parts.verdict = verdict);
        if was_kept && !self.is_kept_by_check() {
            // Up to now it was alive.
            self.renew(now);
        }
    }

    pub(super) fn leave(&mut self, now: Moment, drain: DrainId, within: Duration) {
        self.extras.change(|parts| parts.drain = Some(drain));
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
            leaving: self.drain().is_some(),
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
        let Parts { note, verdict, .. } = &*self.extras;
        match (self.health, verdict) {
            (Some(own), Some(found)) if own.severity() > found.health.severity() => {
                (own, note.clone())
            }
            (Some(_), Some(found)) => (found.health, found.note.clone()),
            (Some(own), None) => (own, note.clone()),
            // A note alone says nothing against what the checks found.
            (None, Some(found)) => (found.health, found.note.clone().or_else(|| note.clone())),
            (None, None) if self.has_check() => (Health::Starting, Some(UNCHECKED.into())),
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
