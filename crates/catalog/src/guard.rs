//! The guard: how much may go by inference at a time.
//!
//! What somebody said is gone, goes. What was merely not heard of goes only if few
//! others of its scope did so lately; otherwise it is held as a suspect, with reduced
//! traffic, until it is heard of again or its time is over. A scope is what one source
//! says about one service, and all that one source says. Only instances that get
//! traffic count: one that says itself that it does not work needs no protection.
//!
//! Invariant: by inference no service loses its last instance before a hold is over.

use std::{collections::VecDeque, time::Duration};

use portolan_model::Timestamp;

/// How careful the guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// The share of a scope that may go by inference within one hold time, in
    /// percent; one instance always may, unless it is the last.
    pub share_percent: u8,
    /// How long a suspect is held. Zero switches the guard off.
    pub hold: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            share_percent: 15,
            hold: Duration::from_mins(5),
        }
    }
}

/// What a scope lost by inference lately and has not got back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses(VecDeque<Timestamp>);

impl Losses {
    /// Whether `loss` of the `sure` instances of this scope may go now.
    pub(crate) fn admit(
        &mut self,
        settings: &GuardSettings,
        now: Timestamp,
        sure: usize,
        loss: usize,
    ) -> bool {
        if loss == 0 || settings.hold.is_zero() {
            return true;
        }
        while self
            .0
            .front()
            .is_some_and(|at| now.since(*at) >= settings.hold)
        {
            self.0.pop_front();
        }
        let base = sure.saturating_add(self.0.len());
        let allowed = (base.saturating_mul(usize::from(settings.share_percent)) / 100).max(1);
        loss < sure && self.0.len().saturating_add(loss) <= allowed
    }

    /// Takes note of instances that went by inference.
    pub(crate) fn lost(&mut self, now: Timestamp, count: usize) {
        self.0.extend(std::iter::repeat_n(now, count));
    }

    /// Takes note of an instance that came: it makes up for one that went.
    pub(crate) fn gained(&mut self) {
        self.0.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: GuardSettings = GuardSettings {
        share_percent: 15,
        hold: Duration::from_mins(5),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn fifteen_percent_may_go_and_no_more() {
        let mut losses = Losses::default();
        assert!(losses.admit(&SETTINGS, at(0), 100, 15));
        assert!(!losses.admit(&SETTINGS, at(0), 100, 16));
        losses.lost(at(0), 15);
        assert!(!losses.admit(&SETTINGS, at(299), 85, 1));
        assert!(losses.admit(&SETTINGS, at(300), 85, 1));
    }

    #[test]
    fn one_of_a_few_may_go_but_never_the_last() {
        let mut losses = Losses::default();
        assert!(losses.admit(&SETTINGS, at(0), 2, 1));
        assert!(!losses.admit(&SETTINGS, at(0), 1, 1));
        assert!(!losses.admit(&SETTINGS, at(0), 2, 2));
    }

    #[test]
    fn what_comes_makes_up_for_what_went() {
        let mut losses = Losses::default();
        losses.lost(at(0), 1);
        assert!(!losses.admit(&SETTINGS, at(1), 3, 1));
        losses.gained();
        assert!(losses.admit(&SETTINGS, at(1), 4, 1));
    }

    #[test]
    fn a_hold_of_zero_switches_the_guard_off() {
        let off = GuardSettings {
            hold: Duration::ZERO,
            ..SETTINGS
        };
        assert!(Losses::default().admit(&off, at(0), 5, 5));
    }
}
