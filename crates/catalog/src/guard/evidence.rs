//! What speaks for an instance that its source does not speak of, and what against it.
//!
//! Real traffic is the best witness there is: who answered a request is there, who refuses
//! connections is not. A prober's verdict counts likewise. The latest word counts, and
//! only for a while.

use std::{fmt::Debug, time::Duration};

use portolan_model::{Instance, Timestamp};

/// What the data plane saw of an instance last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// When it answered a request well.
    pub answered: Option<Timestamp>,
    /// When it refused a connection.
    pub refused: Option<Timestamp>,
}

/// Sees what requests through the gateway met. The fold asks it before it takes an
/// instance for gone, and about each instance that it holds with every pass: some times a
/// minute, never on the request path. It must not block.
pub trait Evidence: Debug + Send + Sync {
    /// What was seen of any address of that instance, up to `now`; nothing if no request
    /// went there.
    fn traces(&self, now: Timestamp, instance: &Instance) -> Traces;
}

/// What a witness says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is there.
    Alive,
    /// It is not there.
    Dead,
}

/// All that is known about an instance at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) traces: Traces,
    /// The last word of a check or of the instance itself, and when it was said.
    pub(crate) told: Option<(Timestamp, Sign)>,
}

impl Reading {
    /// What it says now: the latest word, if that is not too old.
    pub(crate) fn sign(&self, now: Timestamp, valid: Duration) -> Option<Sign> {
        let Traces { answered, refused } = self.traces;
        let answered = answered.map(|at| (at, Sign::Alive));
        let refused = refused.map(|at| (at, Sign::Dead));
        let words = [self.told, refused, answered];
        // Of two at the same time the last one in the list counts: it is the kinder one.
        let latest = words.into_iter().flatten().max_by_key(|(at, _)| *at);
        let latest = latest.filter(|(at, _)| now.since(*at) < valid);
        latest.map(|(_, sign)| sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn reading(answered: Option<u64>, refused: Option<u64>) -> Reading {
        Reading {
            traces: Traces {
                answered: answered.map(at),
                refused: refused.map(at),
            },
            told: None,
        }
    }

    #[test]
    fn the_latest_word_counts_while_it_is_fresh() {
        let now = at(100);
        let cases = [
            (reading(None, None), None),
            (reading(Some(71), None), Some(Sign::Alive)),
            (reading(Some(70), None), None),
            (reading(Some(90), Some(91)), Some(Sign::Dead)),
            (reading(Some(91), Some(90)), Some(Sign::Alive)),
            (reading(Some(90), Some(90)), Some(Sign::Alive)),
            (reading(Some(60), Some(70)), None),
        ];
        for (reading, sign) in cases {
            assert_eq!(reading.sign(now, VALID), sign, "{reading:?}");
        }
    }

    #[test]
    fn what_was_told_counts_like_what_was_seen() {
        let told = Reading {
            told: Some((at(95), Sign::Dead)),
            ..reading(Some(90), None)
        };
        assert_eq!(told.sign(at(100), VALID), Some(Sign::Dead));
        let seen = Reading {
            told: Some((at(95), Sign::Dead)),
            ..reading(Some(96), None)
        };
        assert_eq!(seen.sign(at(100), VALID), Some(Sign::Alive));
    }
}
