//! When to call the registry next: pure, from what happened and the dice.
//!
//! All of it has jitter, so that instances that began together, or lost the same registry,
//! do not call together ever after.

use std::time::Duration;

use portolan_runtime::Dice;

/// The TTL as long as the registry has not said.
pub(crate) const TTL: Duration = Duration::from_secs(30);
/// Calls within a TTL, so that two may be lost.
const CALLS_A_TTL: u32 = 3;
/// The first wait after a failure; it doubles from there.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// The shortest time between two calls.
pub(crate) const CALL_GAP: Duration = Duration::from_millis(50);
/// The shortest time between two calls that a closed line gives rise to.
const HINT_GAP: Duration = Duration::from_secs(1);
/// How far such calls are spread.
const HINT_SPREAD: Duration = Duration::from_millis(250);
/// The longest time for one call.
const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// The shortest time for one call, however short the TTL.
const CALL_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The wait until the next renewal: a third of the TTL, or up to a tenth less.
pub(crate) fn renew_in(ttl: Duration, dice: &mut Dice) -> Duration {
    let third = ttl / CALLS_A_TTL;
    third.mul_f64(1.0 - 0.1 * dice.unit_f64()).max(CALL_GAP)
}

/// The wait after `failures` in a row, if there are so many registries. The others are
/// tried at once, and only when all of them failed it is waited: half of a span that
/// doubles, and chance for the other half.
pub(crate) fn retry_in(
    failures: u32,
    registries: usize,
    ttl: Duration,
    dice: &mut Dice,
) -> Duration {
    let registries = u32::try_from(registries).unwrap_or(u32::MAX).max(1);
    if !failures.is_multiple_of(registries) {
        return Duration::ZERO;
    }
    let rounds = failures / registries;
    let doubled = 1_u32 << rounds.saturating_sub(1).min(16);
    let max = RETRY_MAX.min(ttl / CALLS_A_TTL).max(CALL_GAP);
    let span = RETRY_FIRST.saturating_mul(doubled).min(max);
    span.mul_f64(0.5 + 0.5 * dice.unit_f64())
}

/// The wait after the line was closed, `since` the last call.
pub(crate) fn hint_in(since: Duration, dice: &mut Dice) -> Duration {
    HINT_SPREAD
        .mul_f64(dice.unit_f64())
        .max(HINT_GAP.saturating_sub(since))
}

/// How long one call may take.
pub(crate) fn call_within(ttl: Duration) -> Duration {
    (ttl / CALLS_A_TTL).clamp(CALL_TIMEOUT_MIN, CALL_TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn three_renewals_fit_in_a_ttl() {
        let mut dice = Dice::new(1);
        for _ in 0..100 {
            let wait = renew_in(millis(30_000), &mut dice);
            assert!(wait <= millis(10_000) && wait >= millis(9_000), "{wait:?}");
        }
        assert_eq!(renew_in(Duration::ZERO, &mut dice), CALL_GAP);
    }

    #[test]
    fn waits_double_up_to_their_limit() {
        let mut dice = Dice::new(1);
        for (failures, whole) in [
            (1, 250),
            (2, 500),
            (3, 1000),
            (5, 4000),
            (6, 5000),
            (u32::MAX, 5000),
        ] {
            let wait = retry_in(failures, 1, TTL, &mut dice);
            let whole = millis(whole);
            assert!(wait >= whole / 2 && wait <= whole, "{failures}: {wait:?}");
        }
        let wait = retry_in(9, 1, millis(900), &mut dice);
        assert!(wait <= millis(300), "{wait:?}");
    }

    #[test]
    fn other_registries_are_tried_at_once() {
        let mut dice = Dice::new(1);
        let mut wait = |failures| retry_in(failures, 3, TTL, &mut dice);
        assert_eq!([wait(1), wait(2)], [Duration::ZERO; 2]);
        assert!(wait(3) >= RETRY_FIRST / 2);
        assert_eq!([wait(4), wait(5)], [Duration::ZERO; 2]);
        assert!(wait(6) >= RETRY_FIRST);
    }

    #[test]
    fn a_closed_line_is_looked_after_soon_but_not_forever() {
        let mut dice = Dice::new(1);
        assert!(hint_in(millis(5000), &mut dice) <= HINT_SPREAD);
        assert_eq!(hint_in(Duration::ZERO, &mut dice), HINT_GAP);
    }

    #[test]
    fn a_call_has_a_third_of_the_ttl_within_bounds() {
        assert_eq!(call_within(millis(6000)), millis(2000));
        assert_eq!(call_within(millis(100)), CALL_TIMEOUT_MIN);
        assert_eq!(call_within(Duration::from_hours(1)), CALL_TIMEOUT_MAX);
    }
}
