//! Weighted chance: one draw and a search in the running sums of the weights.

use std::sync::Arc;

use portolan_runtime::Dice;

use crate::{
    Balance, BalanceKind, BalanceSpec, Pool, Turn,
    kind::{no_settings, parse_no_settings},
    round_robin::usable_from,
};

pub(crate) const KIND: BalanceKind = BalanceKind {
    name: "random",
    summary: "By chance, in proportion to the weights.",
    schema: no_settings,
    example: "random",
    bad_example: "{random: {seed: 1}}",
    parse: |settings| parse_no_settings(settings, Arc::new(RandomSpec)),
};

#[derive(Debug)]
struct RandomSpec;

#[derive(Debug)]
struct Random {
    /// Running sums of the weights.
    sums: Box<[u32]>,
}

impl BalanceSpec for RandomSpec {
    fn build(&self, pool: &Pool, _workers: usize, _dice: &mut Dice) -> Box<dyn Balance> {
        let running = pool.endpoints.iter().scan(0u32, |sum, endpoint| {
            *sum = sum.saturating_add(endpoint.weight.as_u16().into());
            Some(*sum)
        });
        Box::new(Random {
            sums: running.collect(),
        })
    }
}

impl Balance for Random {
    fn pick(&self, pool: &Pool, turn: Turn<'_>) -> Option<usize> {
        let drawn = turn.dice.u32_below(*self.sums.last()?);
        let index = self.sums.partition_point(|sum| *sum <= drawn);
        usable_from(pool, &turn, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Board, WorkerGauges,
        round_robin::tests::{pool, shares},
    };

    #[test]
    fn shares_follow_weights() {
        let pool = pool(&[100, 300]);
        let random = RandomSpec.build(&pool, 1, &mut Dice::new(1));
        let gauges = WorkerGauges::new(Board::new(1), 0);
        let shares = shares(&*random, &pool, &gauges, 4000);
        assert!((900..1100).contains(&shares[0]), "{shares:?}");
    }
}
