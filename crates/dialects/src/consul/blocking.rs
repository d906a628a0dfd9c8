//! Blocking queries: a client names the index that it has seen, and the answer waits until
//! there is a newer one or its time is over.
//!
//! Invariant: an index on the wire is at least 1: clients take 0 for "none", and some spin
//! on it. A client that comes from elsewhere with an index that we have not reached is
//! answered at once rather than left waiting.

use std::time::Duration;

use super::{Refusal, parse_duration};

/// How long a client waits that does not say.
pub const WAIT: Duration = Duration::from_mins(5);
/// The longest wait; who asks for more waits so long.
pub const WAIT_MAX: Duration = Duration::from_mins(10);
/// The share of the wait by which it may be longer, so that clients do not come together.
const JITTER_SHARE: u32 = 16;

/// What a blocking query waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// The index that the client has seen; none if it does not wait.
    pub index: Option<u64>,
    /// How long it waits, before the jitter.
    pub wait: Duration,
}

impl Blocking {
    /// Reads the parameters `index` and `wait`.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(index: Option<&str>, wait: Option<&str>) -> Result<Self, Refusal> {
        let wait = match wait {
            None | Some("") => WAIT,
            Some(text) => {
                let wait = parse_duration(text).ok_or_else(|| Refusal::bad("Invalid wait time"))?;
                if wait.is_zero() { WAIT } else { wait }
            }
        };
        let index = match index {
            None | Some("") => None,
            Some(text) => {
                let index: u64 = text.parse().map_err(|_| Refusal::bad("Invalid index"))?;
                (index > 0).then_some(index)
            }
        };
        Ok(Self {
            index,
            wait: wait.min(WAIT_MAX),
        })
    }

    /// How long to wait, with a share of the jitter from 0 to 1.
    #[must_use]
    pub fn patience(&self, dice: f64) -> Duration {
        let most = self.wait.checked_div(JITTER_SHARE).unwrap_or_default();
        self.wait.saturating_add(most.mul_f64(dice.clamp(0.0, 1.0)))
    }

    /// What to do about an answer of this index.
    #[must_use]
    pub const fn verdict(&self, current: u64) -> Verdict {
        match self.index {
            // A smaller one is another history: the client must start over.
            Some(seen) if seen == current => Verdict::Wait,
            Some(_) | None => Verdict::Answer,
        }
    }
}

/// Whether an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At once.
    Answer,
    /// When the index has changed, or time is over.
    Wait,
}

/// The index as it goes out.
#[must_use]
pub const fn shown(index: u64) -> u64 {
    if index == 0 { 1 } else { index }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_jittered() {
        let read = |wait| Blocking::read(Some("7"), wait).unwrap();
        assert_eq!(read(None).wait, WAIT);
        assert_eq!(read(Some("0")).wait, WAIT);
        assert_eq!(read(Some("10m")).wait, WAIT_MAX);
        assert_eq!(read(Some("10m1s")).wait, WAIT_MAX);
        let two = read(Some("16s"));
        assert_eq!(two.patience(0.0), Duration::from_secs(16));
        assert_eq!(two.patience(1.0), Duration::from_secs(17));
        assert_eq!(two.patience(9.0), Duration::from_secs(17));
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let text = |index, wait| Blocking::read(index, wait).unwrap_err().text;
        assert_eq!(text(Some("x"), None), "Invalid index");
        assert_eq!(text(Some("-1"), None), "Invalid index");
        assert_eq!(text(None, Some("5")), "Invalid wait time");
    }

    #[test]
    fn only_who_has_seen_the_newest_waits() {
        let seen = |index| Blocking::read(index, None).unwrap();
        assert_eq!(seen(Some("7")).verdict(7), Verdict::Wait);
        assert_eq!(seen(Some("7")).verdict(8), Verdict::Answer);
        assert_eq!(seen(Some("7")).verdict(6), Verdict::Answer);
        assert_eq!(seen(Some("0")).verdict(6), Verdict::Answer);
        assert_eq!(seen(None).verdict(6), Verdict::Answer);
        assert_eq!((shown(0), shown(5)), (1, 5));
    }
}
