//! What a scope lost lately, and whether it may lose more.
//!
//! The number that is expected is what is there plus what went within one hold time. It
//! falls as losses grow old, so a service that shrank for good is soon judged by its new
//! size.
//!
//! Invariant: without a floor of one instance, losses within one hold time never exceed
//! the larger of one and the share of what was expected.

use std::{collections::VecDeque, time::Duration};

use portolan_model::Timestamp;

use super::GuardSettings;

/// What a scope lost by inference lately and has not got back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses(VecDeque<Timestamp>);

/// Whether a scope may lose its last instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// It keeps one.
    One,
    /// It may be empty.
    Zero,
}

/// More would go than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// How many would have gone within one hold time.
    pub(crate) gone: usize,
    /// How many were expected to be there.
    pub(crate) expected: usize,
}

impl Losses {
    /// Whether `loss` of the `sure` instances of this scope may go now; if not, by how much
    /// that would be too many.
    pub(crate) fn weigh(
        &mut self,
        settings: &GuardSettings,
        now: Timestamp,
        (sure, loss): (usize, usize),
        floor: Floor,
    ) -> Result<(), Excess> {
        if loss == 0 || settings.is_off() {
            return Ok(());
        }
        self.forget(now, settings.hold);
        let expected = sure.saturating_add(self.0.len());
        let gone = self.0.len().saturating_add(loss);
        let leaves_enough = floor == Floor::Zero || loss < sure;
        if leaves_enough && gone <= settings.share_of(expected) {
            return Ok(());
        }
        Err(Excess { gone, expected })
    }

    /// Takes note of instances that went by inference.
    pub(crate) fn lost(&mut self, now: Timestamp, count: usize) {
        self.0.extend(std::iter::repeat_n(now, count));
    }

    /// Takes note of an instance that came: it makes up for one that went.
    pub(crate) fn gained(&mut self) {
        self.0.pop_front();
    }

    /// Forgets what went longer ago than the window.
    pub(crate) fn forget(&mut self, now: Timestamp, window: Duration) {
        while self.0.front().is_some_and(|at| now.since(*at) >= window) {
            self.0.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> GuardSettings {
        GuardSettings::default()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    impl Losses {
        fn admits(&mut self, now: Timestamp, sure: usize, loss: usize) -> bool {
            let asked = (sure, loss);
            self.weigh(&settings(), now, asked, Floor::One).is_ok()
        }
    }

    #[test]
    fn fifteen_percent_may_go_and_no_more() {
        let mut losses = Losses::default();
        assert!(losses.admits(at(0), 100, 15));
        assert!(!losses.admits(at(0), 100, 16));
        losses.lost(at(0), 15);
        assert!(!losses.admits(at(299), 85, 1));
        assert!(losses.admits(at(300), 85, 1));
    }

    #[test]
    fn an_excess_says_how_much_would_have_gone() {
        let mut losses = Losses::default();
        losses.lost(at(0), 15);
        let excess = losses.weigh(&settings(), at(1), (85, 2), Floor::One);
        let told = Excess {
            gone: 17,
            expected: 100,
        };
        assert_eq!(excess, Err(told));
    }

    #[test]
    fn what_went_long_ago_is_expected_no_more() {
        let mut losses = Losses::default();
        losses.lost(at(0), 93);
        assert!(!losses.admits(at(10), 7, 1));
        // The seven that are left are all that is expected now.
        assert!(losses.admits(at(300), 7, 1));
        assert!(!losses.admits(at(300), 7, 2));
    }

    #[test]
    fn one_of_a_few_may_go_but_never_the_last() {
        let mut losses = Losses::default();
        assert!(losses.admits(at(0), 2, 1));
        assert!(!losses.admits(at(0), 1, 1));
        assert!(!losses.admits(at(0), 2, 2));
        let last = losses.weigh(&settings(), at(0), (1, 1), Floor::Zero);
        assert_eq!(last, Ok(()));
    }

    #[test]
    fn what_comes_makes_up_for_what_went() {
        let mut losses = Losses::default();
        losses.lost(at(0), 1);
        assert!(!losses.admits(at(1), 3, 1));
        losses.gained();
        assert!(losses.admits(at(1), 4, 1));
    }

    #[test]
    fn a_hold_of_zero_switches_the_guard_off() {
        let off = GuardSettings {
            hold: Duration::ZERO,
            ..settings()
        };
        let all = Losses::default().weigh(&off, at(0), (5, 5), Floor::One);
        assert_eq!(all, Ok(()));
    }
}
