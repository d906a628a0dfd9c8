//! Smooth weighted round robin, as a schedule worked out beforehand.
//!
//! The schedule is what nginx's algorithm would pick in one whole round: weights
//! 5, 1, 1 give a a b a c a a, not five times a in a row. Each worker walks it with
//! a cursor of its own, which starts anywhere, so that workers don't march in step.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use portolan_runtime::Dice;

use crate::{
    Balance, BalanceKind, BalanceSpec, Pool, Turn,
    kind::{no_settings, parse_no_settings},
};

pub(crate) const KIND: BalanceKind = BalanceKind {
    name: "round_robin",
    summary: "One after the other, smoothly in proportion to the weights.",
    schema: no_settings,
    example: "round_robin",
    bad_example: "{round_robin: {start: 0}}",
    parse: |settings| parse_no_settings(settings, Arc::new(RoundRobinSpec)),
};

/// Longest schedule for pools whose weights have no common measure.
const SCHEDULE_MAX: u32 = 4096;

#[derive(Debug)]
struct RoundRobinSpec;

#[derive(Debug)]
struct RoundRobin {
    schedule: Box<[u32]>,
    /// One a worker, written by it alone.
    cursors: Box<[Cursor]>,
}

/// A cursor on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Cursor(AtomicU32);

impl BalanceSpec for RoundRobinSpec {
    fn build(&self, pool: &Pool, workers: usize, dice: &mut Dice) -> Box<dyn Balance> {
        let weights: Vec<u32> = pool
            .endpoints
            .iter()
            .map(|e| e.weight.as_u16().into())
            .collect();
        let schedule = schedule(&weights);
        let length = u32::try_from(schedule.len()).unwrap_or(u32::MAX);
        let mut start = || Cursor(AtomicU32::new(dice.u32_below(length)));
        Box::new(RoundRobin {
            schedule,
            cursors: (0..workers).map(|_| start()).collect(),
        })
    }
}

impl Balance for RoundRobin {
    fn pick(&self, pool: &Pool, turn: Turn<'_>) -> Option<usize> {
        let length = u32::try_from(self.schedule.len()).unwrap_or(u32::MAX);
        if length == 0 {
            return None;
        }
        let cursor = &self.cursors.get(turn.gauges.worker())?.0;
        let at = cursor.load(Relaxed) % length;
        cursor.store((at + 1) % length, Relaxed);
        usable_from(pool, &turn, self.schedule[at as usize] as usize)
    }
}

/// The endpoint at `index`, or the next one around that is untried and not ejected; failing
/// that, the next untried one.
pub(crate) fn usable_from(pool: &Pool, turn: &Turn<'_>, index: usize) -> Option<usize> {
    let around = || (index..pool.endpoints.len()).chain(0..index);
    let untried = |index: &usize| !turn.is_tried(pool.endpoints[*index].slot);
    let open = |index: &usize| {
        !turn
            .gauges
            .look(pool.endpoints[*index].slot, turn.now)
            .ejected
    };
    around()
        .find(|index| untried(index) && open(index))
        .or_else(|| around().find(untried))
}

/// One round of nginx's smooth weighted round robin.
fn schedule(weights: &[u32]) -> Box<[u32]> {
    let measure = weights
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let mut weights: Vec<u32> = weights.iter().map(|weight| weight / measure).collect();
    let total: u32 = weights.iter().sum();
    if total > SCHEDULE_MAX {
        // No weight is over the total, so no share is over the largest round.
        let scale = |weight: &u32| {
            let share = u64::from(*weight) * u64::from(SCHEDULE_MAX) / u64::from(total);
            u32::try_from(share).unwrap_or(SCHEDULE_MAX).max(1)
        };
        weights = weights.iter().map(scale).collect();
    }
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut current = vec![0i64; weights.len()];
    let mut round = Vec::new();
    for _ in 0..total {
        for (current, weight) in current.iter_mut().zip(&weights) {
            *current += i64::from(*weight);
        }
        let most =
            (0..current.len()).max_by_key(|index| (current[*index], std::cmp::Reverse(*index)));
        let Some(index) = most else { break };
        current[index] -= total;
        round.push(u32::try_from(index).unwrap_or(u32::MAX));
    }
    round.into()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use portolan_model::{Instance, InstanceId, ServiceKey, SourceId, State, Weight};

    use super::*;
    use crate::{Board, Endpoint, Slot, WorkerGauges};

    /// A pool of endpoints with those weights, in slots 0, 1, 2, …
    pub(crate) fn pool(weights: &[u16]) -> Pool {
        let endpoint = |(index, weight): (usize, &u16)| {
            let index = u32::try_from(index).unwrap();
            let instance = Instance {
                key: ServiceKey::parse("s").unwrap(),
                id: InstanceId::parse(&index.to_string()).unwrap(),
                endpoints: Box::default(),
                zone: None,
                version: None,
                weight: Weight::NORMAL,
                tags: Box::default(),
                metadata: [].into(),
                source: SourceId::new("test"),
                state: State::default(),
            };
            Endpoint {
                instance: Arc::new(instance),
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
                slot: Slot { index, epoch: 1 },
                weight: Weight::new(*weight).unwrap(),
            }
        };
        Pool {
            endpoints: weights.iter().enumerate().map(endpoint).collect(),
            excluded: [].into(),
        }
    }

    /// How often each endpoint is picked in that many turns.
    pub(crate) fn shares(
        balance: &dyn Balance,
        pool: &Pool,
        gauges: &WorkerGauges,
        turns: usize,
    ) -> Vec<usize> {
        let mut dice = Dice::new(5);
        let mut shares = vec![0; pool.endpoints.len()];
        for _ in 0..turns {
            let turn = Turn {
                gauges,
                dice: &mut dice,
                now: 0,
                tried: &[],
            };
            shares[balance.pick(pool, turn).expect("the pool is not empty")] += 1;
        }
        shares
    }

    #[test]
    fn schedule_is_smooth() {
        assert_eq!(*schedule(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*schedule(&[100, 100, 100]), [0, 1, 2]);
        assert!(schedule(&[]).is_empty());
        assert!(schedule(&[65_535, 1, 65_521]).len() <= SCHEDULE_MAX as usize + 3);
    }

    #[test]
    fn shares_are_exact_over_a_round() {
        let pool = pool(&[500, 100, 100]);
        let balance = RoundRobinSpec.build(&pool, 1, &mut Dice::new(1));
        let gauges = WorkerGauges::new(Board::new(1), 0);
        assert_eq!(shares(&*balance, &pool, &gauges, 70), [50, 10, 10]);
    }
}
