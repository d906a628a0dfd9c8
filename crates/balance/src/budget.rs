//! How many retries a worker may make to an upstream.
//!
//! Retries are a share of the requests that were made, plus a few a second so that
//! a quiet service can retry at all. A retry storm thus never multiplies load.

use crate::Millis;

/// Most that can be saved up, in seconds of the fixed rate.
const SAVED_SECONDS: f32 = 10.0;

/// A token bucket filled by requests and by time. Belongs to one worker.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    tokens: f32,
    filled_at: Millis,
}

impl Budget {
    /// A budget with one second's worth in it.
    #[must_use]
    pub const fn new(per_second: f32, now: Millis) -> Self {
        Self {
            tokens: per_second,
            filled_at: now,
        }
    }

    /// Counts a first try.
    pub fn deposit(&mut self, percent: u32, per_second: f32) {
        let share = f32::from(u16::try_from(percent).unwrap_or(u16::MAX)) / 100.0;
        self.tokens = (self.tokens + share).min(most(per_second));
    }

    /// Takes one retry out. Says whether there was one.
    #[must_use]
    pub fn withdraw(&mut self, per_second: f32, now: Millis) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an estimate needs no more than 24 bits"
        )]
        let elapsed = now.saturating_sub(self.filled_at) as f32 / 1000.0;
        self.filled_at = now;
        self.tokens = (self.tokens + elapsed * per_second).min(most(per_second));
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

fn most(per_second: f32) -> f32 {
    (per_second * SAVED_SECONDS).max(SAVED_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests() {
        let mut budget = Budget::new(0.0, 0);
        assert!(!budget.withdraw(0.0, 1000));
        (0..10).for_each(|_| budget.deposit(20, 0.0));
        assert!(budget.withdraw(0.0, 1000));
        assert!(budget.withdraw(0.0, 1000));
        assert!(!budget.withdraw(0.0, 1000));
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
