//! What a balancing algorithm is, and the shelf of them.

use std::{fmt::Debug, sync::Arc};

use portolan_model::Problem;
use portolan_runtime::Dice;
use serde_json::Value;

use crate::{Millis, Pool, Slot, WorkerGauges, latency, random, round_robin};

/// What a pick may look at besides the pool.
#[derive(Debug)]
pub struct Turn<'a> {
    /// What is measured.
    pub gauges: &'a WorkerGauges,
    /// The worker's dice.
    pub dice: &'a mut Dice,
    /// The coarse time.
    pub now: Millis,
    /// Endpoints that this request has already tried.
    pub tried: &'a [Slot],
}

impl Turn<'_> {
    /// Whether the request has been there.
    #[must_use]
    pub fn is_tried(&self, slot: Slot) -> bool {
        self.tried.contains(&slot)
    }
}

/// A balancing algorithm over one pool. Shared by all workers.
pub trait Balance: Debug + Send + Sync {
    /// Index of the endpoint to use; `None` if all were tried or there is none. When every
    /// endpoint is ejected, one is picked all the same. Called once a try; must not block.
    fn pick(&self, pool: &Pool, turn: Turn<'_>) -> Option<usize>;
}

/// Parsed settings of an algorithm: proof that it can be built.
pub trait BalanceSpec: Debug + Send + Sync {
    /// Makes the algorithm for a pool. Called whenever the pool changes.
    fn build(&self, pool: &Pool, workers: usize, dice: &mut Dice) -> Box<dyn Balance>;
}

/// Parsed settings, or everything that is wrong with them.
pub type ParsedBalance = Result<Arc<dyn BalanceSpec>, Vec<Problem>>;

/// A row of the shelf of algorithms.
#[derive(Clone, Copy, Debug)]
pub struct BalanceKind {
    /// The word in the configuration.
    pub name: &'static str,
    /// One line on what it does, for the reference.
    pub summary: &'static str,
    /// JSON Schema of the settings.
    pub schema: fn() -> Value,
    /// Settings that are accepted, as YAML.
    pub example: &'static str,
    /// Settings that are refused, as YAML.
    pub bad_example: &'static str,
    /// Reads settings.
    pub parse: fn(&Value) -> ParsedBalance,
}

/// Every algorithm; the first is the default.
pub const KINDS: &[BalanceKind] = &[latency::KIND, round_robin::KIND, random::KIND];

/// Schema of an algorithm without settings.
pub(crate) fn no_settings() -> Value {
    serde_json::json!({ "type": ["object", "null"], "additionalProperties": false })
}

/// Accepts nothing or an empty object.
pub(crate) fn parse_no_settings(settings: &Value, spec: Arc<dyn BalanceSpec>) -> ParsedBalance {
    match settings {
        Value::Null => Ok(spec),
        Value::Object(map) if map.is_empty() => Ok(spec),
        Value::Object(map) => Err(map
            .keys()
            .map(|key| Problem::new(format!("/{key}"), "unknown setting"))
            .collect()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(vec![Problem::new("", "settings are not a map")])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_refuses_unknown_settings() {
        for kind in KINDS {
            assert!((kind.parse)(&Value::Null).is_ok(), "{}", kind.name);
            let problems = (kind.parse)(&serde_json::json!({ "colour": 1 })).unwrap_err();
            assert_eq!(problems[0].path, "/colour", "{}", kind.name);
        }
    }
}
