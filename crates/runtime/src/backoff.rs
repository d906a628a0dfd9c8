//! How long to wait before another try.

use std::time::Duration;

use crate::Dice;

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a server may ask for.
const ASKED_MAX: Duration = Duration::from_mins(5);

/// Pauses between tries: twice as long after each failure, half of each by chance, so
/// that many who lost the same server do not come back together.
#[derive(Debug)]
pub struct Backoff {
    dice: Dice,
    failures: u32,
}

impl Backoff {
    /// Before the first failure.
    #[must_use]
    pub const fn new(dice: Dice) -> Self {
        Self { dice, failures: 0 }
    }

    /// The pause after one more failure; at least as long as the server `asked` for.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let whole = FIRST.saturating_mul(factor).min(PAUSE_MAX);
        let pause = whole.mul_f64(0.5 + self.dice.unit_f64() / 2.0);
        asked.map_or(pause, |asked| asked.min(ASKED_MAX).max(pause))
    }

    /// It went well: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last went well.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Dice::new(7));
        let pauses: Vec<_> = (0..12).map(|_| backoff.next(None)).collect();
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert!(pauses[0] <= Duration::from_millis(250));
        assert!(pauses[11] >= PAUSE_MAX / 2);
        backoff.reset();
        assert!(backoff.next(None) <= Duration::from_millis(250));
        assert_eq!(
            backoff.next(Some(Duration::from_mins(1))),
            Duration::from_mins(1)
        );
        let asked_too_much = backoff.next(Some(Duration::from_hours(9)));
        assert_eq!(asked_too_much, Duration::from_mins(5));
    }
}
