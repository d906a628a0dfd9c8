//! The guard: how much may go by inference at a time, and what speaks against it.
//!
//! What somebody said is gone, goes. What was merely not heard of goes only if nothing
//! speaks for it and few others of its scopes did so lately; otherwise it is held as a
//! suspect, with reduced traffic, until it is heard of again or its time is over. The
//! scopes of an instance are what its source says about its service, its zone, all that
//! its source says, and everything. Only instances that get traffic count: one that says
//! itself that it does not work needs no protection.
//!
//! Everything here is pure. The fold keeps the books and asks; `fold/holds.rs` acts.
//!
//! Invariant: by inference no service loses its last instance before a hold is over.
//! Source: the complaints about renewal thresholds that only rise (Netflix/eureka#1247).

mod damping;
mod evidence;
mod hold;
mod losses;
mod report;
mod wards;

use std::time::Duration;

pub(crate) use self::{
    damping::Damping,
    evidence::Reading,
    hold::{Fate, Hold, Look, Room},
    losses::{Excess, Floor, Losses},
    wards::Wards,
};
pub use self::{
    evidence::{Evidence, Sign, Traces},
    hold::{Absence, Cause, Keeping, Scope},
    report::{FlapStatus, GuardReport, HoldStatus, Selector, Totals},
};

/// Passes that a hold sees from its beginning to its end, if it is long enough.
const PASSES: u32 = 20;
/// The shortest time from one pass to the next.
const PASS_MIN: Duration = Duration::from_millis(100);
/// The longest time from one pass to the next.
const PASS_MAX: Duration = Duration::from_secs(5);

/// How careful the guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// The share of a scope that may go by inference within one hold time, in
    /// percent; one instance always may, unless it is the last.
    pub share_percent: u8,
    /// How long a suspect is held. Zero switches the guard off.
    pub hold: Duration,
    /// How long an answer through the gateway or a good probe speaks for an instance.
    pub evidence: Duration,
    /// The time in which half of an instance's penalty for flapping is forgiven. Zero
    /// switches damping off.
    pub half_life: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            share_percent: 15,
            hold: Duration::from_mins(5),
            evidence: Duration::from_secs(30),
            half_life: Duration::from_mins(5),
        }
    }
}

impl GuardSettings {
    /// Whether nothing is held.
    pub(crate) const fn is_off(&self) -> bool {
        self.hold.is_zero()
    }

    /// The time from one pass over the holds to the next.
    pub(crate) fn pass(&self) -> Duration {
        (self.hold / PASSES).clamp(PASS_MIN, PASS_MAX)
    }

    /// How many of so many may go at a time: at least one.
    pub(crate) fn share_of(&self, count: usize) -> usize {
        (count.saturating_mul(usize::from(self.share_percent)) / 100).max(1)
    }

    /// How many held instances of a service that has so many may go in one pass: never all
    /// of several.
    pub(crate) fn pace_of(&self, count: usize) -> usize {
        self.share_of(count).min(count.saturating_sub(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_takes_a_share_but_never_all_of_several() {
        let all = GuardSettings {
            share_percent: 100,
            ..GuardSettings::default()
        };
        assert_eq!([1, 2, 10].map(|count| all.pace_of(count)), [1, 1, 9]);
        let settings = GuardSettings::default();
        let pace = [1, 2, 13, 14, 100].map(|count| settings.pace_of(count));
        assert_eq!(pace, [1, 1, 1, 2, 15]);
    }

    #[test]
    fn passes_are_neither_too_often_nor_too_seldom() {
        let pass = |hold| {
            let hold = Duration::from_millis(hold);
            let settings = GuardSettings {
                hold,
                ..GuardSettings::default()
            };
            u64::try_from(settings.pass().as_millis()).unwrap()
        };
        assert_eq!([1, 1999, 2000].map(pass), [100, 100, 100]);
        assert_eq!([20_000, 100_000, 100_020].map(pass), [1000, 5000, 5000]);
    }
}
