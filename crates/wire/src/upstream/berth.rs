//! A connection's place among those to instances: counted while it is open, and one of
//! those that an instance allows.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use portolan_telemetry::{Count, WorkerMeters};
use tokio::sync::Notify;

use super::PoolKey;

/// Gates that may lie unused before they are swept out.
const GATES_MAX: usize = 1024;

/// What an open connection holds; dropping it gives it back.
#[derive(Debug)]
pub struct Berth {
    meters: WorkerMeters,
    _permit: Option<Permit>,
}

impl Berth {
    /// Counts a connection that has just been opened.
    #[must_use]
    pub fn new(meters: WorkerMeters, permit: Option<Permit>) -> Self {
        meters.count(Count::UpstreamOpened);
        Self {
            meters,
            _permit: permit,
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.meters.count(Count::UpstreamClosed);
    }
}

/// The connections that instances allow, over all workers. Asked only for upstreams that
/// limit them.
#[derive(Debug, Default)]
pub struct Gates {
    /// Guards which gates there are, never what goes through one.
    gates: Mutex<HashMap<PoolKey, Arc<Gate>>>,
}

/// The connections that one instance allows.
#[derive(Debug, Default)]
pub struct Gate {
    open: AtomicU32,
    freed: Notify,
}

/// One connection that an instance allows; dropping it lets another through.
#[derive(Debug)]
pub struct Permit(Arc<Gate>);

impl Gates {
    /// The gate of an endpoint.
    #[must_use]
    pub fn gate(&self, key: PoolKey) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= GATES_MAX {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(gates.entry(key).or_default())
    }
}

impl Gate {
    /// Waits for room and goes through.
    ///
    /// # Cancellation
    /// Safe: nothing is taken unless it resolves.
    pub async fn enter(self: &Arc<Self>, most: NonZeroU32) -> Permit {
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.try_enter(most) {
                return permit;
            }
            freed.await;
        }
    }

    fn try_enter(self: &Arc<Self>, most: NonZeroU32) -> Option<Permit> {
        let more = |open: u32| (open < most.get()).then_some(open.saturating_add(1));
        let entered = self.open.fetch_update(Relaxed, Relaxed, more);
        entered.ok().map(|_| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use portolan_runtime::Env;

    use super::*;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn key(index: u32) -> PoolKey {
        let slot = portolan_balance::Slot { index, epoch: 1 };
        PoolKey { slot, transport: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_go_through_as_are_allowed_and_the_next_when_one_leaves() {
        let (env, gates) = (Env::virtual_time(1), Gates::default());
        let gate = gates.gate(key(1));
        let first = gate.enter(TWO).await;
        let _second = gate.enter(TWO).await;
        let soon = std::time::Duration::from_secs(1);
        assert!(env.timeout(soon, gate.enter(TWO)).await.is_err());
        drop(first);
        assert!(env.timeout(soon, gate.enter(TWO)).await.is_ok());
        assert!(
            env.timeout(soon, gates.gate(key(2)).enter(TWO))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn unused_gates_are_forgotten_and_used_ones_are_not() {
        let gates = Gates::default();
        let permit = gates.gate(key(0)).enter(TWO).await;
        for index in 1..=2 * u32::try_from(GATES_MAX).unwrap() {
            let _unused = gates.gate(key(index));
        }
        assert!(gates.gates.lock().unwrap().len() <= GATES_MAX);
        assert!(Arc::ptr_eq(&permit.0, &gates.gate(key(0))));
    }
}
