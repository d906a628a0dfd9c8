//! Who is checked, when, and what was found: pure.
//!
//! Times are milliseconds of the prober's uptime. A target that is due is handed out
//! and rests until its outcome comes back, so one instance is never probed twice at a
//! time for the same check.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use portolan_model::{Health, Verdict, route::Check};
use portolan_runtime::Dice;

use super::{Outcome, counter::Counter};
use crate::core::Subject;

/// The first probes of a service that is to be checked are spread over this.
const SPREAD_MAX: Duration = Duration::from_secs(1);
/// Share of an interval by which a probe may be early or late.
const JITTER: f64 = 0.1;

/// Whose checks an instance's target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The instance's own.
    Own,
    /// An upstream's.
    Upstream,
}

/// A probe to make.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) serial: u64,
    pub(super) address: SocketAddr,
    pub(super) check: Arc<Check>,
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) subject: Subject,
    /// The instance's first address.
    pub(super) home: SocketAddr,
    pub(super) verdict: Option<Verdict>,
}

#[derive(Debug)]
pub(super) struct Roster {
    entries: HashMap<Subject, Entry>,
    /// Whose target has which serial number.
    serials: HashMap<u64, Subject>,
    due: BTreeSet<(u64, u64)>,
    next_serial: u64,
    dice: Dice,
}

#[derive(Debug)]
struct Entry {
    home: SocketAddr,
    targets: Vec<Target>,
    told: Option<Verdict>,
}

#[derive(Debug)]
struct Target {
    serial: u64,
    wish: Wish,
    address: SocketAddr,
    check: Arc<Check>,
    counter: Counter,
    /// When it is due; while its probe is under way, when that began.
    at: u64,
}

impl Roster {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            entries: HashMap::new(),
            serials: HashMap::new(),
            due: BTreeSet::new(),
            next_serial: 0,
            dice,
        }
    }

    /// When somebody is due next.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Sets which checks an instance is to have by this wish; targets that stay keep
    /// their count.
    pub(super) fn set(
        &mut self,
        now: u64,
        subject: &Subject,
        home: SocketAddr,
        (wish, wanted): (Wish, &[(SocketAddr, Arc<Check>)]),
    ) -> Option<Judgement> {
        let mut entry = self.entries.remove(subject).unwrap_or_else(|| Entry {
            home,
            targets: Vec::new(),
            told: None,
        });
        entry.home = home;
        if wish == Wish::Own {
            // It registered anew: what was told before may have been forgotten.
            entry.told = None;
        }
        let (kept, gone): (Vec<_>, Vec<_>) = entry.targets.into_iter().partition(|target| {
            target.wish != wish
                || wanted
                    .iter()
                    .any(|wanted| wanted.0 == target.address && wanted.1 == target.check)
        });
        for target in gone {
            self.due.remove(&(target.at, target.serial));
            self.serials.remove(&target.serial);
        }
        entry.targets = kept;
        for (address, check) in wanted {
            let is_known = entry.targets.iter().any(|target| {
                target.wish == wish && target.address == *address && target.check == *check
            });
            if !is_known {
                let target = self.target(now, wish, *address, check);
                self.serials.insert(target.serial, subject.clone());
                entry.targets.push(target);
            }
        }
        let judgement = entry.judge(subject);
        if !entry.targets.is_empty() {
            self.entries.insert(subject.clone(), entry);
        }
        judgement
    }

    fn target(&mut self, now: u64, wish: Wish, address: SocketAddr, check: &Arc<Check>) -> Target {
        let spread = match wish {
            // Somebody waits for it.
            Wish::Own => 0,
            Wish::Upstream => {
                let span = millis(check.interval.min(SPREAD_MAX));
                u64::from(self.dice.u32_below(u32::try_from(span).unwrap_or(u32::MAX)))
            }
        };
        self.next_serial += 1;
        let at = now.saturating_add(spread);
        self.due.insert((at, self.next_serial));
        Target {
            serial: self.next_serial,
            wish,
            address,
            check: Arc::clone(check),
            counter: Counter::default(),
            at,
        }
    }

    /// The first address of an instance that is checked.
    pub(super) fn home(&self, subject: &Subject) -> Option<SocketAddr> {
        self.entries.get(subject).map(|entry| entry.home)
    }

    /// The next target that is due.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Job> {
        loop {
            let first = *self.due.first().filter(|(at, _)| *at <= now)?;
            self.due.remove(&first);
            let Some(target) = self.find(first.1) else {
                continue;
            };
            target.at = now;
            return Some(Job {
                serial: target.serial,
                address: target.address,
                check: Arc::clone(&target.check),
            });
        }
    }

    /// Takes in how a probe ended.
    pub(super) fn ended(&mut self, serial: u64, outcome: &Outcome) -> Option<Judgement> {
        let jitter = 1.0 - JITTER + 2.0 * JITTER * self.dice.unit_f64();
        let target = self.find(serial)?;
        target.counter.count(&target.check, outcome);
        let interval = target.check.interval.mul_f64(jitter);
        target.at = target.at.saturating_add(millis(interval));
        let due = (target.at, serial);
        self.due.insert(due);
        let subject = self.serials.get(&serial)?;
        self.entries.get_mut(subject)?.judge(subject)
    }

    fn find(&mut self, serial: u64) -> Option<&mut Target> {
        let subject = self.serials.get(&serial)?;
        let targets = &mut self.entries.get_mut(subject)?.targets;
        targets.iter_mut().find(|target| target.serial == serial)
    }
}

impl Entry {
    /// The worst that its checks found, if that is news.
    fn judge(&mut self, subject: &Subject) -> Option<Judgement> {
        let verdicts = self.targets.iter().filter_map(|t| t.counter.verdict());
        let worst = verdicts.max_by_key(|verdict| verdict.health != Health::Passing);
        if self.told.as_ref() == worst {
            return None;
        }
        self.told = worst.cloned();
        Some(Judgement {
            subject: subject.clone(),
            home: self.home,
            verdict: self.told.clone(),
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use portolan_model::{InstanceId, ServiceKey, route::Probe};

    use super::*;

    const HOME: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn subject(id: &str) -> Subject {
        Subject {
            key: ServiceKey::parse("orders").unwrap(),
            id: InstanceId::parse(id).unwrap(),
        }
    }

    fn check(interval: u64) -> Arc<Check> {
        Arc::new(Check {
            probe: Probe::Tcp,
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        })
    }

    fn roster() -> Roster {
        Roster::new(Dice::new(1))
    }

    #[test]
    fn an_own_check_is_due_at_once_and_then_every_interval_give_or_take() {
        let mut roster = roster();
        roster.set(5, &subject("a"), HOME, (Wish::Own, &[(HOME, check(10))]));
        for begun in [5, 20_000, 40_000] {
            let job = roster.take_due(begun).unwrap();
            assert!(
                roster.take_due(begun + 60_000).is_none(),
                "one probe at a time"
            );
            roster.ended(job.serial, &Ok(()));
            let next = roster.next_due().unwrap();
            assert!((begun + 9000..=begun + 11_000).contains(&next), "{next}");
        }
    }

    #[test]
    fn the_checks_of_a_service_are_spread() {
        let mut roster = roster();
        for n in 0..100 {
            let wanted = [(HOME, check(10))];
            roster.set(0, &subject(&n.to_string()), HOME, (Wish::Upstream, &wanted));
        }
        let at_once = std::iter::from_fn(|| roster.take_due(10)).count();
        assert!(at_once < 10, "{at_once}");
        assert!(std::iter::from_fn(|| roster.take_due(1000)).count() > 80);
    }

    #[test]
    fn the_worst_of_several_checks_is_told_and_told_once() {
        let mut roster = roster();
        roster.set(0, &subject("a"), HOME, (Wish::Own, &[(HOME, check(10))]));
        let own = roster.take_due(0).unwrap().serial;
        roster.set(
            0,
            &subject("a"),
            HOME,
            (Wish::Upstream, &[(HOME, check(20))]),
        );
        let other = roster.take_due(1000).unwrap().serial;
        let health = |judgement: Option<Judgement>| {
            judgement.map(|judgement| judgement.verdict.map(|verdict| verdict.health))
        };
        assert_eq!(
            health(roster.ended(own, &Ok(()))),
            Some(Some(Health::Passing))
        );
        let failed = Err("connection refused".into());
        assert_eq!(
            health(roster.ended(other, &failed)),
            Some(Some(Health::Critical))
        );
        let gone = roster.set(0, &subject("a"), HOME, (Wish::Upstream, &[]));
        assert_eq!(health(gone), Some(Some(Health::Passing)));
        roster.set(0, &subject("a"), HOME, (Wish::Own, &[]));
        assert_eq!(roster.next_due(), None);
        assert!(roster.ended(own, &Ok(())).is_none());
    }

    #[test]
    fn whoever_registers_anew_is_told_again_what_the_upstream_s_check_found() {
        let mut roster = roster();
        roster.set(
            0,
            &subject("a"),
            HOME,
            (Wish::Upstream, &[(HOME, check(10))]),
        );
        let job = roster.take_due(1000).unwrap();
        let first = roster.ended(job.serial, &Ok(()));
        let again = roster.set(0, &subject("a"), HOME, (Wish::Own, &[]));
        assert_eq!(again, first);
    }

    #[test]
    fn another_address_is_counted_anew() {
        let mut roster = roster();
        let elsewhere = SocketAddr::new(HOME.ip(), 2);
        roster.set(0, &subject("a"), HOME, (Wish::Own, &[(HOME, check(10))]));
        let job = roster.take_due(0).unwrap();
        roster.ended(job.serial, &Ok(()));
        let moved = roster.set(
            1,
            &subject("a"),
            elsewhere,
            (Wish::Own, &[(elsewhere, check(10))]),
        );
        assert_eq!(moved, None, "the registry has forgotten the verdict, too");
        assert_eq!(roster.take_due(1).unwrap().address, elsewhere);
    }
}
