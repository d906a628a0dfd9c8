//! Which recursor is asked next. Pure.
//!
//! The quickest is asked first; now and then another one, so that a slow one that became
//! quick is found out. One that does not answer is left alone for a while that grows, and
//! then tried beside a good one, at no client's cost.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_runtime::{Backoff, Dice};

/// How long a recursor may take before the next one is asked as well: three times what it
/// usually takes, within these.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// The same for one that was never asked.
const PATIENCE_FIRST: Duration = Duration::from_millis(400);
/// How many late answers in a row count as being away.
const LATE_MAX: u32 = 3;
/// One of so many questions goes to another than the quickest first.
const EXPLORED: u32 = 32;
/// Weight of the newest time in the mean: one eighth, as in RFC 6298.
const NEWEST: u32 = 8;

/// All recursors.
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    dice: Dice,
}

struct Upstream {
    address: SocketAddr,
    /// What an answer usually takes.
    usual: Option<Duration>,
    late: u32,
    backoff: Backoff,
    /// It is left alone until then.
    away_until: Option<Instant>,
}

/// Whom to ask, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) places: Vec<usize>,
    /// One that was away, to be tried beside the first.
    pub(super) trial: Option<usize>,
}

impl Upstreams {
    pub(super) fn new(addresses: &[SocketAddr], mut dice: Dice) -> Self {
        let all = addresses.iter().map(|address| Upstream {
            address: *address,
            usual: None,
            late: 0,
            backoff: Backoff::new(dice.fork()),
            away_until: None,
        });
        Self {
            all: all.collect(),
            dice,
        }
    }

    /// Whom to ask: the quickest first, those that are away last.
    pub(super) fn order(&mut self, now: Instant) -> Order {
        let mut places: Vec<usize> = (0..self.all.len()).collect();
        places.sort_by_key(|place| {
            let upstream = self.all.get(*place);
            upstream.map(|one| (one.away_until, one.usual))
        });
        let is_here = |place: &usize| {
            self.all
                .get(*place)
                .is_some_and(|one| one.away_until.is_none())
        };
        let here = places.iter().filter(|place| is_here(place)).count();
        let others = u32::try_from(here.saturating_sub(1)).unwrap_or_default();
        if others > 0 && self.dice.u32_below(EXPLORED) == 0 {
            let place = usize::try_from(self.dice.u32_below(others)).unwrap_or_default();
            places.swap(0, place.saturating_add(1));
        }
        let trial = if here == 0 { None } else { self.trial(now) };
        Order { places, trial }
    }

    /// One that has been left alone for long enough. It is given out once a pause.
    fn trial(&mut self, now: Instant) -> Option<usize> {
        let is_due = |one: &Upstream| one.away_until.is_some_and(|until| until <= now);
        let place = self.all.iter().position(is_due)?;
        self.leave(place, now);
        Some(place)
    }

    pub(super) fn address(&self, place: usize) -> Option<SocketAddr> {
        self.all.get(place).map(|one| one.address)
    }

    /// How long to wait for this one alone.
    pub(super) fn patience(&self, place: usize) -> Duration {
        let usual = self.all.get(place).and_then(|one| one.usual);
        usual.map_or(PATIENCE_FIRST, |usual| {
            usual.saturating_mul(3).clamp(PATIENCE_MIN, PATIENCE_MAX)
        })
    }

    /// It answered, after so long. Says whether it had been away.
    pub(super) fn answered(&mut self, place: usize, after: Duration) -> bool {
        let Some(one) = self.all.get_mut(place) else {
            return false;
        };
        let mean = one.usual.map_or(after, |usual| {
            let rest = usual.saturating_mul(NEWEST.saturating_sub(1));
            rest.saturating_add(after)
                .checked_div(NEWEST)
                .unwrap_or(after)
        });
        one.usual = Some(mean);
        one.late = 0;
        one.backoff.reset();
        one.away_until.take().is_some()
    }

    /// It has not answered in time. Says whether it counts as away from now on.
    pub(super) fn was_late(&mut self, place: usize, now: Instant) -> bool {
        let Some(one) = self.all.get_mut(place) else {
            return false;
        };
        one.late = one.late.saturating_add(1);
        if one.late < LATE_MAX {
            return false;
        }
        self.failed(place, now)
    }

    /// It can't be reached. Says whether that is news.
    pub(super) fn failed(&mut self, place: usize, now: Instant) -> bool {
        let is_news = self
            .all
            .get(place)
            .is_some_and(|one| one.away_until.is_none());
        if is_news {
            self.leave(place, now);
        }
        is_news
    }

    fn leave(&mut self, place: usize, now: Instant) {
        if let Some(one) = self.all.get_mut(place) {
            let pause = one.backoff.next(None);
            one.away_until = Some(now.checked_add(pause).unwrap_or(now));
        }
    }

    /// Those that are not away.
    pub(super) fn here(&self) -> usize {
        self.all
            .iter()
            .filter(|one| one.away_until.is_none())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(count: u8) -> Upstreams {
        let addresses: Vec<SocketAddr> = (1..=count)
            .map(|last| SocketAddr::from(([192, 0, 2, last], 53)))
            .collect();
        Upstreams::new(&addresses, Dice::new(1))
    }

    #[expect(clippy::disallowed_methods, reason = "any point will do")]
    fn begin() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_quickest_is_mostly_asked_first() {
        let (mut all, now) = (upstreams(3), begin());
        for (place, millis) in [(0, 30), (1, 2), (2, 9)] {
            all.answered(place, Duration::from_millis(millis));
        }
        let firsts: Vec<_> = (0..320).map(|_| all.order(now).places[0]).collect();
        let quickest = firsts.iter().filter(|place| **place == 1).count();
        assert!((280..320).contains(&quickest), "{quickest}");
        assert!(firsts.contains(&0) && firsts.contains(&2));
    }

    #[test]
    fn one_that_failed_is_left_alone_and_then_tried_beside_a_good_one() {
        let (mut all, now) = (upstreams(2), begin());
        assert!(all.failed(0, now), "it is news once");
        assert!(!all.failed(0, now));
        let order = all.order(now);
        assert_eq!((order.places, order.trial), (vec![1, 0], None));
        let later = now + Duration::from_millis(250);
        assert_eq!(all.order(later).trial, Some(0));
        assert_eq!(all.order(later).trial, None, "once a pause");
        assert!(all.answered(0, Duration::from_millis(1)));
        assert_eq!(all.here(), 2);
    }

    #[test]
    fn three_late_answers_in_a_row_count_as_away_and_two_do_not() {
        let (mut all, now) = (upstreams(2), begin());
        for _ in 0..2 {
            assert!(!all.was_late(0, now));
        }
        all.answered(0, Duration::from_millis(1));
        assert!(!all.was_late(0, now) && !all.was_late(0, now));
        assert!(all.was_late(0, now));
    }

    #[test]
    fn all_away_are_all_asked_the_one_that_is_due_first_first() {
        let (mut all, now) = (upstreams(2), begin());
        all.failed(1, now);
        all.failed(0, now + Duration::from_secs(9));
        assert_eq!(all.order(now).places, [1, 0]);
    }

    #[test]
    fn patience_follows_what_is_usual_within_bounds() {
        let mut all = upstreams(1);
        assert_eq!(all.patience(0), PATIENCE_FIRST);
        all.answered(0, Duration::from_millis(1));
        assert_eq!(all.patience(0), PATIENCE_MIN);
        all.answered(0, Duration::from_secs(9));
        assert_eq!(all.patience(0), PATIENCE_MAX);
    }
}
