//! Counts probes until they make a verdict.

use std::sync::Arc;

use portolan_model::{Health, Verdict, route::Check};

use super::Outcome;

/// One check's probes of one instance.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// Outcomes in a row that speak against the verdict.
    against: u32,
    verdict: Option<Verdict>,
    /// Whether the last outcome was good.
    was_good: Option<bool>,
}

impl Counter {
    pub(super) const fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    pub(super) fn count(&mut self, check: &Check, outcome: &Outcome) {
        let is_good = outcome.is_ok();
        let stands = self
            .verdict
            .as_ref()
            .map(|verdict| verdict.health == Health::Passing);
        if stands == Some(is_good) {
            self.against = 0;
            // The reason may be another one by now.
            self.verdict = Some(verdict(outcome));
        } else {
            let goes_on = self.was_good == Some(is_good);
            self.against = if goes_on {
                self.against.saturating_add(1)
            } else {
                1
            };
            let needed = if is_good { check.rise } else { check.fall };
            if self.against >= needed.get() {
                self.against = 0;
                self.verdict = Some(verdict(outcome));
            }
        }
        self.was_good = Some(is_good);
    }
}

fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Ok(()) => Verdict {
            health: Health::Passing,
            note: None,
        },
        Err(why) => Verdict {
            health: Health::Critical,
            note: Some(Arc::clone(why)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use portolan_model::route::Probe;

    use super::*;

    /// The healths after each outcome: `+` good, `-` bad; `p` passing, `c` critical.
    fn healths(rise: u32, fall: u32, outcomes: &str) -> String {
        let check = Check {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::new(rise).unwrap(),
            fall: NonZeroU32::new(fall).unwrap(),
        };
        let mut counter = Counter::default();
        let after = outcomes.chars().map(|outcome| {
            let outcome = if outcome == '+' {
                Ok(())
            } else {
                Err("refused".into())
            };
            counter.count(&check, &outcome);
            match counter.verdict() {
                None => '?',
                Some(verdict) if verdict.health == Health::Passing => 'p',
                Some(_) => 'c',
            }
        });
        after.collect()
    }

    #[test]
    fn it_takes_as_many_in_a_row_as_asked_for() {
        assert_eq!(healths(1, 3, "+--+---+"), "ppppppcp");
        assert_eq!(healths(2, 1, "+++-+-++"), "?ppccccp");
        assert_eq!(healths(1, 1, "-+-"), "cpc");
        assert_eq!(healths(2, 2, "+-+-++"), "?????p");
    }

    #[test]
    fn a_new_reason_is_told_while_it_stays_critical() {
        let check = Check {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        };
        let mut counter = Counter::default();
        for why in ["connection refused", "status 503"] {
            counter.count(&check, &Err(why.into()));
            let note = counter.verdict().unwrap().note.as_deref();
            assert_eq!(note, Some(why));
        }
    }
}
