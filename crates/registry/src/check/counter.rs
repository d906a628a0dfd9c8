//! Counts probes until they make a verdict.

use std::sync::Arc;

use portolan_model::{Health, Verdict, route::Probe};

use super::Outcome;

/// One probe's outcomes at one instance.
#[derive(Debug, Default)]
pub(super) struct Counter {
    good_in_a_row: u32,
    bad_in_a_row: u32,
    verdict: Option<Verdict>,
    /// The reason that the verdict was made of.
    reason: Option<Arc<str>>,
    stands_by: StandsBy,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StandsBy {
    /// What was asked for to begin with.
    #[default]
    Word,
    Good,
    Bad,
}

impl Counter {
    /// A counter with what holds to begin with.
    pub(super) fn new(word: Option<Verdict>) -> Self {
        Self {
            verdict: word,
            ..Self::default()
        }
    }

    pub(super) const fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Whether the verdict was found rather than asked for.
    pub(super) fn is_found(&self) -> bool {
        self.stands_by != StandsBy::Word
    }

    pub(super) fn count(&mut self, probe: &Probe, outcome: &Outcome) {
        if outcome.is_good() {
            self.bad_in_a_row = 0;
            self.good_in_a_row = self.good_in_a_row.saturating_add(1);
            if self.stands_by == StandsBy::Good || self.good_in_a_row >= probe.rise.get() {
                self.settle(outcome, outcome.health);
            }
            return;
        }
        self.good_in_a_row = 0;
        self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
        let is_critical = self.stands_by == StandsBy::Bad
            && self
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.health == Health::Critical);
        let warns = probe
            .fall_warning
            .is_some_and(|needed| self.bad_in_a_row >= needed.get());
        if is_critical || self.bad_in_a_row >= probe.fall.get() {
            self.settle(outcome, Health::Critical);
        } else if warns {
            self.settle(outcome, Health::Warning);
        }
    }

    /// Takes an outcome at its word.
    pub(super) fn take(&mut self, outcome: &Outcome) {
        (self.good_in_a_row, self.bad_in_a_row) = (0, 0);
        self.settle(outcome, outcome.health);
    }

    /// The verdict stays the same text while the reason does: a detail that differs each
    /// time is no news.
    fn settle(&mut self, outcome: &Outcome, health: Health) {
        self.stands_by = if outcome.is_good() {
            StandsBy::Good
        } else {
            StandsBy::Bad
        };
        let is_known = self.reason == outcome.reason
            && self
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.health == health);
        if !is_known {
            self.reason.clone_from(&outcome.reason);
            self.verdict = Some(Verdict {
                health,
                ..outcome.verdict()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use portolan_model::route::Means;

    use super::*;

    fn probe(rise: u32, warning: u32, fall: u32) -> Probe {
        Probe {
            rise: NonZeroU32::new(rise).unwrap(),
            fall: NonZeroU32::new(fall).unwrap(),
            fall_warning: NonZeroU32::new(warning),
            ..Probe::new("a", Means::Ttl(Duration::from_secs(1)))
        }
    }

    /// The healths after each outcome: `+` good, `!` a complaint, `-` bad; `p` passing,
    /// `w` warning, `c` critical.
    fn healths(probe: &Probe, initial: Option<Health>, outcomes: &str) -> String {
        let word = initial.map(|health| Verdict { health, note: None });
        let mut counter = Counter::new(word);
        let after = outcomes.chars().map(|outcome| {
            let outcome = match outcome {
                '+' => Outcome::good(""),
                '!' => Outcome::warning("status 429"),
                _ => Outcome::bad("refused"),
            };
            counter.count(probe, &outcome);
            match counter.verdict().map(|verdict| verdict.health) {
                None => '?',
                Some(Health::Passing) => 'p',
                Some(Health::Warning) => 'w',
                Some(Health::Starting) => 's',
                Some(Health::Critical) => 'c',
            }
        });
        after.collect()
    }

    #[test]
    fn it_takes_as_many_in_a_row_as_asked_for() {
        assert_eq!(healths(&probe(1, 0, 3), None, "+--+---+"), "ppppppcp");
        assert_eq!(healths(&probe(2, 0, 1), None, "+++-+-++"), "?ppccccp");
        assert_eq!(healths(&probe(1, 0, 1), None, "-+-"), "cpc");
        assert_eq!(healths(&probe(2, 0, 2), None, "+-+-++"), "?????p");
    }

    #[test]
    fn a_warning_comes_before_it_is_critical_and_no_critical_becomes_a_warning() {
        assert_eq!(healths(&probe(2, 2, 3), None, "++----+-++"), "?ppwcccccp");
        assert_eq!(healths(&probe(2, 1, 3), None, "++-+++"), "?pwwpp");
    }

    #[test]
    fn a_complaint_is_good_and_told() {
        assert_eq!(healths(&probe(1, 0, 2), None, "+!+!-"), "pwpww");
    }

    #[test]
    fn what_was_asked_for_holds_until_enough_was_found() {
        let initial = Some(Health::Passing);
        assert_eq!(healths(&probe(1, 0, 3), initial, "---"), "ppc");
        let initial = Some(Health::Critical);
        assert_eq!(healths(&probe(2, 0, 3), initial, "-++"), "ccp");
    }

    #[test]
    fn a_new_reason_is_told_while_it_stays_critical_but_no_new_detail() {
        let mut counter = Counter::default();
        let bad = |reason: &str, detail: &str| Outcome {
            detail: Some(detail.into()),
            ..Outcome::bad(reason)
        };
        for (reason, detail, note) in [
            ("exit code 2", "at 12:00", "exit code 2: at 12:00"),
            ("exit code 2", "at 12:01", "exit code 2: at 12:00"),
            ("exit code 3", "at 12:02", "exit code 3: at 12:02"),
        ] {
            counter.count(&probe(1, 0, 1), &bad(reason, detail));
            assert_eq!(counter.verdict().unwrap().note.as_deref(), Some(note));
        }
    }
}
