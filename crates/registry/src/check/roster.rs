//! Who is checked, when, and what was found: pure.
//!
//! Times are milliseconds of the prober's uptime. A target that is due is handed out
//! and rests until its outcome comes back, so one instance is never probed twice at a
//! time for the same check. The first probe of an instance's own check is due at once,
//! because somebody waits for it; the second at a random point of the interval, so that
//! instances which came together do not stay together; then every interval, give or take.
//!
//! A check by `ttl` is due when its time is over, unless a report came before. A check
//! by an alias is due whenever the service that it looks at changed.

mod alias;
mod entry;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_dialects::native::Span;
use portolan_model::{
    ServiceKey, Verdict,
    route::{Means, Probe},
};
use portolan_runtime::Dice;

use super::{
    Errand, Outcome, ReportError,
    turns::{PATIENCE, Pace},
};
use crate::core::Subject;
pub(super) use entry::Judgement;
use entry::{Entry, Known, Target};

/// The first probes of a service that is to be checked are spread over this.
const SPREAD_MAX: Duration = Duration::from_secs(1);
/// Share of an interval by which a probe may be early or late.
const JITTER: f64 = 0.1;
/// A deregistration that came to nothing is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Whose checks an instance's target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The instance's own.
    Own,
    /// An upstream's.
    Upstream,
}

/// What is to be done now.
#[derive(Debug)]
pub(super) enum Due {
    /// A probe is to line up.
    Probe(u64, IpAddr, Pace),
    /// Somebody else's health is to be looked up.
    Look(u64),
    /// Something was found without looking.
    Found(Option<Judgement>),
}

#[derive(Debug)]
pub(super) struct Roster {
    entries: HashMap<Subject, Entry>,
    /// Whose target has which serial number.
    serials: HashMap<u64, Subject>,
    due: BTreeSet<(u64, u64)>,
    /// When whose instance is to be deregistered.
    doomed: BTreeSet<(u64, u64)>,
    /// Who looks at which service.
    aliases: HashMap<ServiceKey, HashSet<u64>>,
    /// Whose states changed.
    touched: HashSet<Subject>,
    /// Targets that are gone.
    gone: Vec<u64>,
    next_serial: u64,
    dice: Dice,
}

impl Roster {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            entries: HashMap::new(),
            serials: HashMap::new(),
            due: BTreeSet::new(),
            doomed: BTreeSet::new(),
            aliases: HashMap::new(),
            touched: HashSet::new(),
            gone: Vec::new(),
            next_serial: 0,
            dice,
        }
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self) -> Option<u64> {
        let firsts = [self.due.first(), self.doomed.first()];
        firsts.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Sets which checks an instance is to have by this wish; targets that stay keep
    /// their count, and one of the same id and address begins with what was found before.
    pub(super) fn set(
        &mut self,
        now: u64,
        subject: &Subject,
        home: SocketAddr,
        wishes: (Wish, &[(SocketAddr, Arc<Probe>)]),
    ) -> Option<Judgement> {
        self.replace((now, None), subject, home, wishes)
    }

    /// Sets which checks an instance is to have itself, and what they found before this
    /// process began.
    pub(super) fn resume(
        &mut self,
        now: u64,
        subject: &Subject,
        home: SocketAddr,
        (wanted, found): (&[(SocketAddr, Arc<Probe>)], Verdict),
    ) -> Option<Judgement> {
        let known = Known::from(found);
        self.replace((now, Some(&known)), subject, home, (Wish::Own, wanted))
    }

    fn replace(
        &mut self,
        (now, before): (u64, Option<&Known>),
        subject: &Subject,
        home: SocketAddr,
        (wish, wanted): (Wish, &[(SocketAddr, Arc<Probe>)]),
    ) -> Option<Judgement> {
        let mut entry = self
            .entries
            .remove(subject)
            .unwrap_or_else(|| Entry::new(home));
        entry.home = home;
        if wish == Wish::Own {
            // It registered anew: what was told before may have been forgotten.
            entry.told = None;
        }
        let (kept, gone): (Vec<_>, Vec<_>) = entry
            .targets
            .into_iter()
            .partition(|target| target.wish != wish || wanted.iter().any(|w| target.is(w)));
        for target in &gone {
            self.forget(target);
        }
        entry.targets = kept;
        for (address, probe) in wanted {
            let is_known = entry
                .targets
                .iter()
                .any(|target| target.wish == wish && target.is(&(*address, Arc::clone(probe))));
            if !is_known {
                let mut target = Target::new(0, wish, (*address, Arc::clone(probe)), now);
                let same = gone
                    .iter()
                    .find(|gone| gone.address == *address && gone.probe.id == probe.id);
                if let Some(known) = same.map(Target::known).as_ref().or(before) {
                    target.recall(known);
                }
                self.arm(now, subject, &mut target);
                entry.targets.push(target);
            }
        }
        let judgement = entry.judge(subject);
        self.touched.insert(subject.clone());
        entry.targets.shrink_to_fit();
        if !entry.targets.is_empty() {
            self.entries.insert(subject.clone(), entry);
        }
        judgement
    }

    fn forget(&mut self, target: &Target) {
        let serial = target.serial;
        self.due.remove(&(target.at, serial));
        if let Some(doom) = target.doom {
            self.doomed.remove(&(doom, serial));
        }
        if let Means::Alias { service, .. } = &target.probe.means
            && let Some(watchers) = self.aliases.get_mut(service)
        {
            watchers.remove(&serial);
            if watchers.is_empty() {
                self.aliases.remove(service);
            }
        }
        self.serials.remove(&serial);
        self.gone.push(serial);
    }

    /// Gives a target its number, its time and its alarms.
    fn arm(&mut self, now: u64, subject: &Subject, target: &mut Target) {
        self.next_serial += 1;
        let serial = self.next_serial;
        target.serial = serial;
        let probe = &target.probe;
        let wait = match (&probe.means, target.wish) {
            (Means::Ttl(ttl), _) => millis(*ttl),
            // Somebody waits for it.
            (_, Wish::Own) => 0,
            (_, Wish::Upstream) => {
                let span = millis(probe.interval.min(SPREAD_MAX));
                u64::from(self.dice.u32_below(u32::try_from(span).unwrap_or(u32::MAX)))
            }
        };
        if let Means::Alias { service, .. } = &probe.means {
            let watchers = self.aliases.entry(service.clone()).or_default();
            watchers.insert(serial);
        }
        let at = now.saturating_add(wait);
        self.due.insert((at, serial));
        self.serials.insert(serial, subject.clone());
        target.at = at;
        target.doom = target.doom_at(now);
        if let Some(doom) = target.doom {
            self.doomed.insert((doom, serial));
        }
    }

    /// The first address of an instance that is checked.
    pub(super) fn home(&self, subject: &Subject) -> Option<SocketAddr> {
        self.entries.get(subject).map(|entry| entry.home)
    }

    /// What is due next.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Due> {
        loop {
            let first = *self.due.first().filter(|(at, _)| *at <= now)?;
            self.due.remove(&first);
            let serial = first.1;
            let Some(target) = self.find(serial) else {
                continue;
            };
            target.at = now;
            return Some(match &target.probe.means {
                Means::Ttl(ttl) => {
                    let why = format!("no report within {}", Span(*ttl));
                    let outcome = Outcome::bad(why).with_output(Arc::clone(&target.output));
                    Due::Found(self.take(now, serial, &outcome))
                }
                Means::Alias { .. } => Due::Look(serial),
                Means::Script { .. } | Means::Docker { .. } => {
                    Due::Probe(serial, target.host(), Pace::Program)
                }
                Means::Http(_)
                | Means::Tcp { .. }
                | Means::Udp { .. }
                | Means::Grpc { .. }
                | Means::H2Ping { .. } => Due::Probe(serial, target.host(), target.pace),
            });
        }
    }

    /// The probe that now begins; none if nobody wants it any more.
    pub(super) fn begin(&mut self, now: u64, serial: u64) -> Option<Errand> {
        let subject = self.serials.get(&serial)?.clone();
        let target = self.find(serial)?;
        target.at = now;
        Some(Errand {
            subject,
            address: target.address,
            probe: Arc::clone(&target.probe),
        })
    }

    /// Takes in how a probe ended.
    pub(super) fn ended(&mut self, now: u64, serial: u64, outcome: &Outcome) -> Option<Judgement> {
        let chance = self.dice.unit_f64();
        let target = self.find(serial)?;
        let share = if target.pace == Pace::New {
            chance
        } else {
            1.0 - JITTER + 2.0 * JITTER * chance
        };
        let took = now.saturating_sub(target.at);
        target.pace = if took > millis(PATIENCE) {
            Pace::Slow
        } else {
            Pace::Quick
        };
        let next = target.probe.interval.mul_f64(share);
        target.at = target.at.saturating_add(millis(next));
        let due = (target.at, serial);
        self.due.insert(due);
        self.count(now, serial, |target| {
            target.counter.count(&target.probe, outcome);
            target.set_output(&outcome.output)
        })
    }

    /// Takes an outcome at its word: a report, a report that did not come, or somebody
    /// else's health.
    fn take(&mut self, now: u64, serial: u64, outcome: &Outcome) -> Option<Judgement> {
        self.count(now, serial, |target| {
            target.counter.take(outcome);
            target.set_output(&outcome.output)
        })
    }

    fn count(
        &mut self,
        now: u64,
        serial: u64,
        count: impl FnOnce(&mut Target) -> bool,
    ) -> Option<Judgement> {
        let subject = self.serials.get(&serial)?.clone();
        let entry = self.entries.get_mut(&subject)?;
        let target = entry.targets.iter_mut().find(|t| t.serial == serial)?;
        let before = target.counter.verdict().cloned();
        let is_heard = count(target);
        let after = target.counter.verdict();
        let health = |verdict: Option<&Verdict>| verdict.map(|verdict| verdict.health);
        if health(before.as_ref()) != health(after) {
            target.since = now;
        }
        if is_heard || before.as_ref() != after {
            self.touched.insert(subject.clone());
        }
        let doom = target.doom;
        target.doom = target.doom_at(now);
        for (set, doom) in [(false, doom), (true, target.doom)] {
            match (set, doom) {
                (true, Some(doom)) => drop(self.doomed.insert((doom, serial))),
                (false, Some(doom)) => drop(self.doomed.remove(&(doom, serial))),
                (_, None) => {}
            }
        }
        self.entries.get_mut(&subject)?.judge(&subject)
    }

    /// The next instance that has been critical for longer than it asked to be.
    pub(super) fn take_doomed(&mut self, now: u64) -> Option<Subject> {
        loop {
            let first = *self.doomed.first().filter(|(at, _)| *at <= now)?;
            self.doomed.remove(&first);
            let serial = first.1;
            let again = now.saturating_add(millis(AGAIN));
            let Some(target) = self.find(serial) else {
                continue;
            };
            target.doom = Some(again);
            self.doomed.insert((again, serial));
            return self.serials.get(&serial).cloned();
        }
    }

    /// Takes in what an instance says by its check of that id.
    pub(super) fn report(
        &mut self,
        now: u64,
        (subject, id): (&Subject, &str),
        outcome: &Outcome,
    ) -> Result<Option<Judgement>, ReportError> {
        let entry = self.entries.get_mut(subject).ok_or(ReportError::Unknown)?;
        let mut own = entry.targets.iter_mut();
        let target = own
            .find(|target| target.wish == Wish::Own && &*target.probe.id == id)
            .ok_or(ReportError::Unknown)?;
        let Means::Ttl(ttl) = target.probe.means else {
            return Err(ReportError::NotReported);
        };
        let serial = target.serial;
        self.due.remove(&(target.at, serial));
        target.at = now.saturating_add(millis(ttl));
        self.due.insert((target.at, serial));
        Ok(self.take(now, serial, outcome))
    }

    /// Whose states changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> HashSet<Subject> {
        std::mem::take(&mut self.touched)
    }

    /// Which probes nobody wants any more, since this was asked last.
    pub(super) fn take_gone(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone)
    }

    pub(super) fn targets(&self, subject: &Subject) -> &[Target] {
        let entry = self.entries.get(subject);
        entry.map_or(&[], |entry| entry.targets.as_slice())
    }

    fn find(&mut self, serial: u64) -> Option<&mut Target> {
        let subject = self.serials.get(&serial)?;
        let targets = &mut self.entries.get_mut(subject)?.targets;
        targets.iter_mut().find(|target| target.serial == serial)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
