//! How many retries a worker may make to an upstream.
//!
//! Retries are a share of the requests that were made, plus a few a second so that
//! a quiet service can retry at all. A retry storm thus never multiplies load. What is not
//! used is saved up for some seconds, of both parts: when an endpoint goes, all the requests
//! that it had fail at one moment.

use crate::Millis;

/// Most that can be saved up, in seconds of the fixed rate and of the requests' share.
const SAVED_SECONDS: f32 = 10.0;

/// A token bucket filled by requests and by time. Belongs to one worker.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    tokens: f32,
    /// What requests paid in the last seconds that can be saved up.
    recent: f32,
    filled_at: Millis,
}

impl Budget {
    /// A budget with one second's worth in it.
    #[must_use]
    pub const fn new(per_second: f32, now: Millis) -> Self {
        Self {
            tokens: per_second,
            recent: 0.0,
            filled_at: now,
        }
    }

    /// Counts a first try.
    pub fn deposit(&mut self, percent: u32, per_second: f32, now: Millis) {
        let share = f32::from(u16::try_from(percent).unwrap_or(u16::MAX)) / 100.0;
        self.fill(per_second, now, share);
    }

    /// Takes one retry out. Says whether there was one.
    #[must_use]
    pub fn withdraw(&mut self, per_second: f32, now: Millis) -> bool {
        self.fill(per_second, now, 0.0);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Adds what is due for the time since it was filled last, and what a request pays.
    fn fill(&mut self, per_second: f32, now: Millis, share: f32) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an estimate needs no more than 24 bits"
        )]
        let elapsed = now.saturating_sub(self.filled_at) as f32 / 1000.0;
        self.filled_at = now;
        let kept = (1.0 - elapsed / SAVED_SECONDS).max(0.0);
        self.recent = self.recent * kept + share;
        let most = (per_second * SAVED_SECONDS).max(SAVED_SECONDS) + self.recent;
        self.tokens = (self.tokens + elapsed * per_second + share).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests() {
        let mut budget = Budget::new(0.0, 0);
        assert!(!budget.withdraw(0.0, 1000));
        (0..10).for_each(|_| budget.deposit(20, 0.0, 1000));
        assert!(budget.withdraw(0.0, 1000));
        assert!(budget.withdraw(0.0, 1000));
        assert!(!budget.withdraw(0.0, 1000));
    }

    #[test]
    fn seconds_of_the_share_are_saved_up_and_no_more() {
        let mut budget = Budget::new(10.0, 0);
        // 5,000 requests a second for a minute: of those 1,000 a second may be retries.
        for millis in 0..60_000 {
            (0..5).for_each(|_| budget.deposit(20, 10.0, millis));
        }
        let mut later = budget;
        let granted =
            |budget: &mut Budget, now| (0..20_000).filter(|_| budget.withdraw(10.0, now)).count();
        let at_once = granted(&mut budget, 60_000);
        assert!((10_000..=10_200).contains(&at_once), "{at_once}");
        // What was saved goes when no more requests come.
        assert_eq!(granted(&mut later, 80_000), 100);
    }

    #[test]
    fn a_quiet_upstream_may_retry() {
        let mut budget = Budget::new(10.0, 0);
        let granted = (0..100).filter(|_| budget.withdraw(10.0, 0)).count();
        assert_eq!(granted, 10);
        assert!(budget.withdraw(10.0, 100));
        assert!(!budget.withdraw(10.0, 100));
    }
}
