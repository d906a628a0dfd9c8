//! A route ready to run.

use std::sync::Arc;

use portolan_model::Name;
use portolan_policy::Chain;
use portolan_runtime::Dice;

/// A route ready to run: its policies in order for each listener, and where requests go.
#[derive(Debug)]
pub struct Lane {
    /// The route's name; `automatic` for the built-in lane.
    pub route: Name,
    /// The frozen chain for each listener, by the listener's place in the plan.
    pub chains: Box<[Chain]>,
    /// Where requests go.
    pub way: Way,
}

/// Where the requests of a lane go.
#[derive(Debug)]
pub enum Way {
    /// To one of these clusters by weight; none if a policy always answers.
    Goals {
        /// The clusters and their running sums of weights.
        goals: Box<[Goal]>,
    },
    /// To the service that the request names: the built-in lane.
    Automatic,
    /// Nowhere: the route is in quarantine, for this reason.
    Quarantine(Arc<str>),
}

/// A share of a lane's requests.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Place of the cluster in the snapshot.
    pub cluster: usize,
    /// Sum of the weights up to and with this one.
    pub weight_sum: u32,
}

/// Draws a goal by weight; `None` if there is none with a weight.
#[must_use]
pub fn choose(goals: &[Goal], dice: &mut Dice) -> Option<usize> {
    let total = goals.last()?.weight_sum;
    if total == 0 {
        return None;
    }
    if goals.len() == 1 {
        return goals.first().map(|goal| goal.cluster);
    }
    let drawn = dice.u32_below(total);
    goals
        .iter()
        .find(|goal| drawn < goal.weight_sum)
        .map(|goal| goal.cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_drawn_by_weight() {
        let goal = |cluster, weight_sum| Goal {
            cluster,
            weight_sum,
        };
        let mut dice = Dice::new(7);
        let goals = [goal(0, 90), goal(1, 100), goal(2, 100)];
        let mut counts = [0; 3];
        for _ in 0..1000 {
            counts[choose(&goals, &mut dice).unwrap()] += 1;
        }
        assert!((70..130).contains(&counts[1]), "{counts:?}");
        assert_eq!(counts[2], 0);
        assert_eq!(choose(&[], &mut dice), None);
        assert_eq!(choose(&[goal(4, 0)], &mut dice), None);
    }
}
