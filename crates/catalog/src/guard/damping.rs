//! Flap damping: who goes down again and again gets less until it has been steady.
//!
//! Each time that an instance goes down costs it a penalty, of which half is forgiven in
//! every half-life. Above [`LIMIT`] its traffic is reduced, and stays so until the penalty
//! has fallen to [`CALM`]: the gap keeps damping itself from flapping.
//!
//! Invariants: never more than [`FLAPS_MAX`] penalties; each stands once in `due`.
//! Source: Villamizar et al., "BGP Route Flap Damping", RFC 2439, section 4.2.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use portolan_model::{Guard, Instance, InstanceId, ServiceKey, State, Timestamp};

use super::FlapStatus;

/// Most instances whose penalties are remembered; those that are forgiven soonest go first.
pub(crate) const FLAPS_MAX: usize = 4096;
/// What going down once costs.
const PENALTY: f64 = 1.0;
/// From here on traffic is reduced: three times within a third of a half-life.
const LIMIT: f64 = 2.5;
/// The most that can be run up: three half-lives after the last time all is well.
const SCORE_MAX: f64 = 8.0;
/// From here on traffic is whole again.
const CALM: f64 = 1.0;
/// What is too little to be remembered.
const FORGIVEN: f64 = 0.25;

/// Penalties by instance.
#[derive(Debug, Default)]
pub(crate) struct Damping {
    scores: HashMap<ServiceKey, HashMap<InstanceId, Score>>,
    /// When which one is whole again or forgotten.
    due: BTreeSet<(Timestamp, ServiceKey, InstanceId)>,
}

#[derive(Debug)]
struct Score {
    value: f64,
    at: Timestamp,
    is_damped: bool,
    until: Timestamp,
    /// The instance that it was put over last, and what became of it: equal instances
    /// stay the same allocation, which is how a rebuild tells what changed.
    shown: Option<(Arc<Instance>, Arc<Instance>)>,
}

impl Damping {
    /// Takes note that an instance went down.
    pub(crate) fn fell(
        &mut self,
        half_life: Duration,
        now: Timestamp,
        key: &ServiceKey,
        id: &InstanceId,
    ) {
        if half_life.is_zero() {
            return;
        }
        let before = self.take(key, id);
        let left = before.as_ref().map_or(0.0, |score| {
            faded(score.value, now.since(score.at), half_life)
        });
        let value = (left + PENALTY).min(SCORE_MAX);
        let was_damped = before.is_some_and(|score| score.is_damped);
        let is_damped = was_damped || value >= LIMIT;
        let end = if is_damped { CALM } else { FORGIVEN };
        let score = Score {
            value,
            at: now,
            is_damped,
            until: now.after(time_to_fade(value, end, half_life)),
            shown: None,
        };
        self.put(key.clone(), id.clone(), score);
        if self.due.len() > FLAPS_MAX
            && let Some((_, key, id)) = self.due.first().cloned()
        {
            self.take(&key, &id);
        }
    }

    /// When [`Self::calm`] has something to do next.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|due| due.0)
    }

    /// Ends what is over; the answer is services in which traffic is whole again.
    pub(crate) fn calm(&mut self, half_life: Duration, now: Timestamp) -> Vec<ServiceKey> {
        let mut changed = Vec::new();
        while let Some((at, key, id)) = self.due.first().filter(|due| due.0 <= now).cloned() {
            let Some(score) = self.take(&key, &id) else {
                break;
            };
            if !score.is_damped {
                continue;
            }
            changed.push(key.clone());
            if half_life.is_zero() {
                continue;
            }
            let score = Score {
                value: CALM,
                at,
                is_damped: false,
                until: at.after(time_to_fade(CALM, FORGIVEN, half_life)),
                shown: None,
            };
            self.put(key, id, score);
        }
        changed
    }

    /// Forgets everything; the answer is services in which traffic is whole again.
    pub(crate) fn clear(&mut self) -> Vec<ServiceKey> {
        self.due.clear();
        let all = std::mem::take(&mut self.scores);
        let damped = all
            .into_iter()
            .filter(|(_, of_service)| of_service.values().any(|score| score.is_damped));
        damped.map(|(key, _)| key).collect()
    }

    /// Marks the instances of a service whose traffic is to be reduced.
    pub(crate) fn cover(&mut self, key: &ServiceKey, instances: &mut [Arc<Instance>]) {
        let Some(of_service) = self.scores.get_mut(key) else {
            return;
        };
        for (id, score) in of_service.iter_mut().filter(|(_, score)| score.is_damped) {
            let place = instances.binary_search_by(|instance| instance.id.cmp(id));
            if let Some(instance) = place.ok().and_then(|place| instances.get_mut(place)) {
                score.cover(instance);
            }
        }
    }

    /// All penalties, by service and id.
    pub(crate) fn statuses(&self, half_life: Duration) -> Vec<FlapStatus> {
        let all = self.scores.iter().flat_map(|(key, of_service)| {
            of_service.iter().map(move |(id, score)| FlapStatus {
                key: key.clone(),
                id: id.clone(),
                score: score.value,
                at: score.at,
                half_life,
                is_damped: score.is_damped,
                until: score.until,
            })
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        all
    }

    fn put(&mut self, key: ServiceKey, id: InstanceId, score: Score) {
        self.due.insert((score.until, key.clone(), id.clone()));
        self.scores.entry(key).or_default().insert(id, score);
    }

    fn take(&mut self, key: &ServiceKey, id: &InstanceId) -> Option<Score> {
        let of_service = self.scores.get_mut(key)?;
        let score = of_service.remove(id)?;
        if of_service.is_empty() {
            self.scores.remove(key);
        }
        self.due.remove(&(score.until, key.clone(), id.clone()));
        Some(score)
    }
}

impl Score {
    fn cover(&mut self, instance: &mut Arc<Instance>) {
        if instance.state.guard != Guard::None {
            return;
        }
        if let Some((under, over)) = &self.shown
            && Arc::ptr_eq(under, instance)
        {
            *instance = Arc::clone(over);
            return;
        }
        let over = Arc::new(Instance {
            state: State {
                guard: Guard::Flapping,
                ..instance.state.clone()
            },
            ..Instance::clone(instance)
        });
        let under = std::mem::replace(instance, Arc::clone(&over));
        self.shown = Some((under, over));
    }
}

/// What is left of a penalty after a while.
pub(super) fn faded(score: f64, after: Duration, half_life: Duration) -> f64 {
    if half_life.is_zero() {
        return 0.0;
    }
    score * (-after.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

/// How long it takes until no more than `end` is left of a penalty.
fn time_to_fade(score: f64, end: f64, half_life: Duration) -> Duration {
    // Rounded up to the millisecond that timestamps have.
    half_life.mul_f64((score / end).log2().max(0.0)) + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_LIFE: Duration = Duration::from_mins(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn key() -> ServiceKey {
        ServiceKey::parse("orders").unwrap()
    }

    fn id(name: &str) -> InstanceId {
        InstanceId::parse(name).unwrap()
    }

    impl Damping {
        fn falls(&mut self, seconds: u64, name: &str) {
            self.fell(HALF_LIFE, at(seconds), &key(), &id(name));
        }

        fn status(&self) -> FlapStatus {
            self.statuses(HALF_LIFE).remove(0)
        }
    }

    #[test]
    fn three_falls_in_short_order_are_damped_and_two_are_not() {
        let mut damping = Damping::default();
        damping.falls(0, "a");
        damping.falls(10, "a");
        assert!(!damping.status().is_damped);
        damping.falls(20, "a");
        assert!(damping.status().is_damped);
    }

    #[test]
    fn falls_far_apart_are_forgiven() {
        let mut damping = Damping::default();
        for n in 0..100 {
            damping.falls(n * 600, "a");
        }
        assert!(!damping.status().is_damped);
    }

    #[test]
    fn half_of_a_penalty_is_forgiven_in_a_half_life() {
        let mut damping = Damping::default();
        damping.falls(0, "a");
        let status = damping.status();
        assert!((status.score_at(at(300)) - 0.5).abs() < 1e-9);
        assert!((status.score_at(at(600)) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn whoever_is_steady_is_whole_again_and_then_forgotten() {
        let mut damping = Damping::default();
        (0..100).for_each(|n| damping.falls(n, "a"));
        // From 8 to 1 are three half-lives.
        assert_eq!(damping.status().until.since(at(99)).as_secs(), 900);
        assert_eq!(damping.calm(HALF_LIFE, at(998)), []);
        assert_eq!(damping.calm(HALF_LIFE, at(1000)), [key()]);
        assert!(!damping.status().is_damped);
        // And from 1 to a quarter two more.
        assert_eq!(damping.calm(HALF_LIFE, at(1598)), []);
        assert_eq!(damping.statuses(HALF_LIFE).len(), 1);
        assert_eq!(damping.calm(HALF_LIFE, at(1601)), []);
        assert_eq!(damping.statuses(HALF_LIFE).len(), 0);
        assert_eq!(damping.next(), None);
    }

    #[test]
    fn penalties_are_bounded() {
        let mut damping = Damping::default();
        for n in 0..FLAPS_MAX {
            damping.falls(u64::try_from(n).unwrap(), &format!("i{n}"));
        }
        assert_eq!(damping.statuses(HALF_LIFE).len(), FLAPS_MAX);
        damping.falls(5000, "new");
        let statuses = damping.statuses(HALF_LIFE);
        assert_eq!(statuses.len(), FLAPS_MAX);
        assert!(!statuses.iter().any(|status| status.id == id("i0")));
        assert!(statuses.iter().any(|status| status.id == id("new")));
    }

    #[test]
    fn a_half_life_of_zero_switches_damping_off() {
        let mut damping = Damping::default();
        (0..9).for_each(|n| damping.fell(Duration::ZERO, at(n), &key(), &id("a")));
        assert_eq!(damping.statuses(HALF_LIFE).len(), 0);
    }
}
