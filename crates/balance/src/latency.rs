//! Power of two choices on latency.
//!
//! Two endpoints are drawn by weight of chance alone; the one with the smaller
//! latency x (in flight + 1) / weight gets the request. Two looks are enough to
//! keep away from a slow or busy endpoint and cost the same for any pool size. Now and
//! then the idle loser gets it, the more rarely the slower it is: an endpoint that is
//! never asked could never show that it has recovered.
//!
//! Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
//! 2001; peak EWMA as in Finagle and linkerd2-proxy.

use std::sync::Arc;

use portolan_runtime::Dice;

use crate::{
    Balance, BalanceKind, BalanceSpec, Endpoint, Pool, Turn,
    kind::{no_settings, parse_no_settings},
};

pub(crate) const KIND: BalanceKind = BalanceKind {
    name: "latency",
    summary: "Of two endpoints drawn by chance, the one with the smaller latency x (requests in \
              flight + 1) / weight. The default.",
    schema: no_settings,
    example: "latency",
    bad_example: "{latency: {choices: two}}",
    parse: |settings| parse_no_settings(settings, Arc::new(Latency)),
};

/// One in so many requests goes to the idle loser of two that are equal.
const SECOND_CHANCE: f32 = 4.0;
/// Draws until an untried, unejected pair is found; then any will do.
const DRAWS: usize = 4;

#[derive(Debug)]
struct Latency;

impl BalanceSpec for Latency {
    fn build(&self, _pool: &Pool, _workers: usize, _dice: &mut Dice) -> Box<dyn Balance> {
        Box::new(Self)
    }
}

impl Balance for Latency {
    fn pick(&self, pool: &Pool, mut turn: Turn<'_>) -> Option<usize> {
        let count = u32::try_from(pool.endpoints.len()).unwrap_or(u32::MAX);
        match count {
            0 => None,
            1 => (!turn.is_tried(pool.endpoints[0].slot)).then_some(0),
            _ => {
                let first = draw(pool, count, &mut turn, None)?;
                let second = draw(pool, count, &mut turn, Some(first));
                Some(second.map_or(first, |second| better(pool, &mut turn, first, second)))
            }
        }
    }
}

/// An endpoint other than `not`, untried and if possible not ejected.
fn draw(pool: &Pool, count: u32, turn: &mut Turn<'_>, not: Option<usize>) -> Option<usize> {
    for _ in 0..DRAWS {
        let index = turn.dice.u32_below(count) as usize;
        let slot = pool.endpoints[index].slot;
        if Some(index) != not && !turn.is_tried(slot) && !turn.gauges.look(slot, turn.now).ejected {
            return Some(index);
        }
    }
    // Chance was unkind, or nearly all are ejected: walk once around.
    let start = turn.dice.u32_below(count) as usize;
    let around = (start..pool.endpoints.len()).chain(0..start);
    let mut fallback = None;
    for index in around {
        let slot = pool.endpoints[index].slot;
        if Some(index) == not || turn.is_tried(slot) {
            continue;
        }
        if !turn.gauges.look(slot, turn.now).ejected {
            return Some(index);
        }
        fallback = fallback.or(Some(index));
    }
    // A second choice that is ejected is no choice.
    if not.is_some() { None } else { fallback }
}

fn better(pool: &Pool, turn: &mut Turn<'_>, first: usize, second: usize) -> usize {
    let (a, b) = (&pool.endpoints[first], &pool.endpoints[second]);
    let look_a = turn.gauges.look(a.slot, turn.now);
    let look_b = turn.gauges.look(b.slot, turn.now);
    // Who has no sample is taken to be as fast as the other, so that it gets one.
    let latency_a = look_a.latency.or(look_b.latency).unwrap_or(1.0);
    let latency_b = look_b.latency.unwrap_or(latency_a);
    let cost_a = cost(a, latency_a, look_a.in_flight);
    let cost_b = cost(b, latency_b, look_b.in_flight);
    let (winner, loser) = if cost_b < cost_a {
        ((second, cost_b), (first, cost_a, look_a.in_flight))
    } else {
        ((first, cost_a), (second, cost_b, look_b.in_flight))
    };
    let is_idle = loser.2 == 0;
    let chance = f64::from(winner.1 / loser.1 / SECOND_CHANCE);
    if is_idle && turn.dice.unit_f64() < chance {
        loser.0
    } else {
        winner.0
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no more than 24 bits"
)]
fn cost(endpoint: &Endpoint, latency: f32, in_flight: u32) -> f32 {
    latency * (in_flight as f32 + 1.0) / f32::from(endpoint.weight.as_u16())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Board, WorkerGauges,
        pool::Slot,
        round_robin::tests::{pool, shares},
    };

    fn pick(pool: &Pool, gauges: &WorkerGauges, tried: &[Slot]) -> Option<usize> {
        let mut dice = Dice::new(3);
        Latency.pick(
            pool,
            Turn {
                gauges,
                dice: &mut dice,
                now: 0,
                tried,
            },
        )
    }

    #[test]
    fn a_slow_endpoint_gets_little() {
        let (pool, gauges) = (pool(&[100, 100, 100]), WorkerGauges::new(Board::new(1), 0));
        for endpoint in &pool.endpoints {
            let slow = endpoint.slot.index == 1;
            gauges.observe(
                endpoint.slot,
                Duration::from_millis(if slow { 50 } else { 1 }),
                0,
            );
        }
        let shares = shares(&Latency, &pool, &gauges, 3000);
        assert!(shares[1] < 100, "{shares:?}");
        assert!(shares[0] > 1000 && shares[2] > 1000, "{shares:?}");
    }

    #[test]
    fn an_ejected_endpoint_gets_nothing_unless_all_are() {
        let (pool, gauges) = (pool(&[100, 100]), WorkerGauges::new(Board::new(1), 0));
        gauges.eject(pool.endpoints[0].slot, Duration::from_secs(10), 0);
        assert_eq!(shares(&Latency, &pool, &gauges, 100), [0, 100]);
        gauges.eject(pool.endpoints[1].slot, Duration::from_secs(10), 0);
        assert_eq!(
            shares(&Latency, &pool, &gauges, 100).iter().sum::<usize>(),
            100
        );
    }

    #[test]
    fn a_tried_endpoint_is_not_picked_again() {
        let (pool, gauges) = (pool(&[100, 100]), WorkerGauges::new(Board::new(1), 0));
        let tried: Vec<_> = pool
            .endpoints
            .iter()
            .map(|endpoint| endpoint.slot)
            .collect();
        assert_eq!(pick(&pool, &gauges, &tried[..1]), Some(1));
        assert_eq!(pick(&pool, &gauges, &tried), None);
    }
}
