//! Rendezvous hashing: a key always goes to the same endpoint, whoever asks.
//!
//! Each endpoint draws a lot for the key, and the longest wins: no table, no state, and
//! everybody who sees the same endpoints agrees. When an endpoint goes, only its own keys
//! move, and they spread over all the others; while it is ejected or was tried, its keys go
//! to their second choice. Costs one hash of an id for each endpoint of the pool.
//!
//! The lots know the weight of an instance but not reductions of it, so that keys do not
//! move when an instance is in doubt.
//!
//! Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998;
//! weights as in Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005.

use crate::{Endpoint, Pool, Turn};

/// FNV-1a's first value and its prime.
const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

/// Index of the endpoint that `key` belongs to, of those that were not tried; those that
/// are ejected only if no other is left. `None` if all were tried or there is none.
#[must_use]
pub fn stick(pool: &Pool, key: &[u8], turn: &Turn<'_>) -> Option<usize> {
    let key = hash(FNV.0, key);
    let untried = || {
        let endpoints = pool.endpoints.iter().enumerate();
        endpoints.filter(|(_, endpoint)| !turn.is_tried(endpoint.slot))
    };
    let open = untried().filter(|(_, endpoint)| !turn.gauges.look(endpoint.slot, turn.now).ejected);
    longest(open, key).or_else(|| longest(untried(), key))
}

fn longest<'a>(endpoints: impl Iterator<Item = (usize, &'a Endpoint)>, key: u64) -> Option<usize> {
    let lots = endpoints.map(|(index, endpoint)| (index, lot(key, endpoint)));
    let longest = lots.max_by(|(_, a), (_, b)| a.total_cmp(b));
    longest.map(|(index, _)| index)
}

/// The lot that an endpoint draws for a key.
#[expect(
    clippy::cast_precision_loss,
    reason = "the 53 bits that are left are all that is drawn"
)]
fn lot(key: u64, endpoint: &Endpoint) -> f64 {
    let id = hash(key, endpoint.instance.id.as_str().as_bytes());
    let drawn = mixed(hash(id, &endpoint.address.port().to_be_bytes()));
    // Above 0 and up to 1.
    let unit = ((drawn >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    f64::from(endpoint.instance.weight.as_u16()) / -unit.ln()
}

fn hash(start: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV.1);
    bytes.iter().fold(start, step)
}

/// The finish of splitmix64: every bit of the result depends on every bit given.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use portolan_model::Weight;
    use portolan_runtime::Dice;

    use super::*;
    use crate::{Board, Slot, WorkerGauges, round_robin::tests::pool};

    const KEYS: u32 = 3000;

    fn choice(pool: &Pool, gauges: &WorkerGauges, key: u32, tried: &[Slot]) -> Option<usize> {
        let turn = Turn {
            gauges,
            dice: &mut Dice::new(1),
            now: 0,
            tried,
        };
        stick(pool, &key.to_be_bytes(), &turn)
    }

    fn choices(pool: &Pool, gauges: &WorkerGauges) -> Vec<usize> {
        let of = |key| choice(pool, gauges, key, &[]).expect("there are endpoints");
        (0..KEYS).map(of).collect()
    }

    #[test]
    fn only_keys_of_an_endpoint_that_is_out_move_and_they_spread() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let pool = pool(&[100, 100, 100]);
        let before = choices(&pool, &gauges);
        gauges.eject(pool.endpoints[1].slot, Duration::from_secs(1), 0);
        let after = choices(&pool, &gauges);
        let mut moved = [0; 3];
        for (before, after) in before.iter().zip(&after) {
            if *before == 1 {
                moved[*after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(
            moved[1] == 0 && moved[0] > 400 && moved[2] > 400,
            "{moved:?}"
        );
    }

    #[test]
    fn keys_are_shared_out_by_weight_whatever_the_doubts() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let mut pool = pool(&[100, 10]);
        let instance = Arc::make_mut(&mut pool.endpoints[0].instance);
        instance.weight = Weight::new(300).unwrap();
        let chosen = choices(&pool, &gauges);
        let first = chosen.iter().filter(|index| **index == 0).count();
        assert!((2150..2350).contains(&first), "{first}");
    }

    #[test]
    fn a_key_whose_endpoint_was_tried_goes_to_another() {
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let pool = pool(&[100, 100]);
        let slots: Vec<Slot> = pool.endpoints.iter().map(|one| one.slot).collect();
        let first = choice(&pool, &gauges, 7, &[]).unwrap();
        assert_eq!(choice(&pool, &gauges, 7, &[slots[first]]), Some(1 - first));
        assert_eq!(choice(&pool, &gauges, 7, &slots), None);
        for slot in &slots {
            gauges.eject(*slot, Duration::from_secs(1), 0);
        }
        assert_eq!(choice(&pool, &gauges, 7, &[]), Some(first));
    }
}
