//! What the control plane gives to a successor, takes from a predecessor, and keeps in the
//! store meanwhile.

use std::time::Duration;

use portolan_config::Plan;
use portolan_runtime::sockets::Sockets;

use super::Control;
use crate::store;

/// How long a hand-over waits for answers that have begun: longer than whoever connected just
/// before has to ask.
const SETTLING: Duration = Duration::from_millis(800);
/// How long the journal's last lines may take to be stored.
const WRITING: Duration = Duration::from_secs(2);

impl Control {
    /// Reads tokens from the store, if there is one: without, those of the configuration count.
    pub(super) async fn read_tokens(&self) {
        let read = self.gates.access().attach(self.store.ledger()).await;
        if let Err(error) = read {
            tracing::error!(
                error = crate::load::chain(&error),
                "stored tokens can't be read"
            );
        }
    }

    /// Takes no more connections, and lets those that are there have their answers while the
    /// registry and the ledger still take writes. Whoever watches is not waited for long.
    pub(crate) async fn stop_accepting(&mut self) {
        self.names.stop_accepting();
        for listener in self.listeners() {
            listener.stop_accepting();
        }
        let _watched = self.env.clone().timeout(SETTLING, self.ended()).await;
    }

    /// Gives away what is only in memory: from now on, the registry takes no writes, so that
    /// none is lost that was answered.
    pub(crate) async fn export(&mut self) -> Vec<u8> {
        let handed = self.registry.export().await.unwrap_or_default();
        // The successor opens the store: two processes can't.
        let _ended = self.registry.attach(None).await;
        let _never = self.gates.access().attach(None).await;
        self.close_store().await;
        serde_json::to_vec(&handed).unwrap_or_else(|error| {
            tracing::error!(%error, "registrations can't be handed over");
            Vec::new()
        })
    }

    /// Takes in what a predecessor gave away.
    pub(crate) async fn take_in(&mut self, state: &[u8]) {
        let handed = match serde_json::from_slice(state) {
            Ok(handed) => handed,
            Err(error) => {
                tracing::error!(%error, "the predecessor's registrations can't be read");
                return;
            }
        };
        // A registry that has ended ends with the program.
        let _ended = self.registry.adopt(handed).await;
        self.attach_store().await;
    }

    /// Opens the store, which from then on holds what is in memory.
    async fn attach_store(&mut self) {
        match self.store.open().await {
            Ok(stored) => {
                // A registry that has ended ends with the program.
                let _ended = self.registry.attach(Some(stored)).await;
                self.ledger.attach(self.store.ledger()).await;
            }
            Err(error) => store::without(&error),
        }
        self.read_tokens().await;
    }

    /// Closes the store, with everything in it that anybody was told.
    pub(super) async fn close_store(&mut self) {
        self.memory.flush().await;
        let published = self.view.snapshot().revision();
        let journal = self.history.caught_up(published);
        if self.env.timeout(WRITING, journal).await.is_err() {
            tracing::warn!("the journal's last lines are not stored: the store is slow");
        }
        self.ledger.attach(None).await;
        self.store.close().await;
    }

    /// Goes on after a hand-over that came to nothing.
    pub(crate) async fn resume(&mut self, plan: &Plan, sockets: &mut Sockets) {
        // A registry that has ended ends with the program.
        let _ended = self.registry.resume().await;
        self.attach_store().await;
        self.apply(plan, sockets).await;
    }
}
