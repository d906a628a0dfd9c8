//! Tells the guard what requests met at an instance.
//!
//! The workers' marks count from the start of the gateway; the guard thinks in times of the
//! wall. What is handed over is an age, so it does not matter where either began.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use portolan_balance::{Board, Millis};
use portolan_catalog::{Evidence, Traces};
use portolan_model::{Instance, Timestamp};
use portolan_runtime::Env;

use crate::publisher::SharedSlots;

/// The evidence of all workers of this process.
#[derive(Debug)]
pub(crate) struct WorkersEvidence {
    board: Arc<Board>,
    slots: SharedSlots,
    env: Env,
    /// About when the workers' clocks began: they are started right after the publisher.
    began: Instant,
}

impl WorkersEvidence {
    pub(crate) fn new(board: Arc<Board>, slots: SharedSlots, env: Env) -> Self {
        Self {
            began: env.instant(),
            board,
            slots,
            env,
        }
    }
}

impl Evidence for WorkersEvidence {
    fn traces(&self, now: Timestamp, instance: &Instance) -> Traces {
        let uptime = self.env.instant().saturating_duration_since(self.began);
        let at = |millis: Millis| {
            let age = uptime.saturating_sub(Duration::from_millis(millis));
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            Timestamp::from_millis(now.as_millis().saturating_sub(age))
        };
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traces = Traces::default();
        for port in &instance.endpoints {
            let Some(slot) = slots.find(&instance.key, &instance.id, port.address) else {
                continue;
            };
            let trace = self.board.trace(slot);
            traces.answered = traces.answered.max(trace.answered.map(at));
            traces.refused = traces.refused.max(trace.refused.map(at));
        }
        traces
    }
}
