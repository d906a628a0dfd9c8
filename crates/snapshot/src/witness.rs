//! Sees when everybody has let go of an instance.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use portolan_balance::Board;
use portolan_catalog::{Settled, Settling, Witness};
use portolan_model::{InstanceId, Revision, ServiceKey};
use portolan_runtime::Env;

use crate::{Publisher, View, publisher::SharedSlots};

/// How often the requests in flight are counted while a drain waits.
const LOOK: Duration = Duration::from_millis(5);

/// The witness of all workers of this process.
#[derive(Debug)]
pub struct WorkersWitness {
    view: View,
    board: Arc<Board>,
    slots: SharedSlots,
    env: Env,
}

impl WorkersWitness {
    /// A witness of what that publisher publishes.
    #[must_use]
    pub fn new(publisher: &Publisher, view: View, board: Arc<Board>, env: Env) -> Self {
        Self {
            view,
            board,
            slots: publisher.slots(),
            env,
        }
    }

    fn in_flight(&self, service: &ServiceKey, instance: &InstanceId) -> usize {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.of_instance(service, instance);
        slots.map(|slot| self.board.in_flight(slot) as usize).sum()
    }
}

impl Witness for WorkersWitness {
    fn settled<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceId,
        after: Revision,
        within: Duration,
    ) -> Settling<'a> {
        Box::pin(async move {
            let idle = async {
                self.view.passed(after).await;
                while self.in_flight(service, instance) > 0 {
                    self.env.sleep(LOOK).await;
                }
            };
            match self.env.timeout(within, idle).await {
                Ok(()) => Settled::Idle,
                Err(_) => Settled::Deadline {
                    in_flight: self.in_flight(service, instance),
                },
            }
        })
    }
}
