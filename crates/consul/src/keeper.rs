//! Looks after what registered through Consul: its leases, and who reads nodes.

use std::time::Duration;

use portolan_dialects::consul::is_node;
use portolan_registry::{Published, core::Subject};
use portolan_runtime::{Env, Running};

use super::{clerk::Clerk, nodes, warden::Warden};

/// How often leases are renewed and the book is held against the catalogue.
const ROUND: Duration = Duration::from_secs(20);
/// Leases that are renewed by one call.
const RENEWED_MAX: usize = 1000;

/// The task behind a front.
pub struct Keeper {
    pub(super) clerk: Clerk,
    pub(super) env: Env,
    pub(super) warden: Warden,
}

impl Keeper {
    /// Runs until the registry, the ledger or the publisher has stopped.
    #[must_use]
    pub fn run(self) -> Running {
        Box::pin(self.work())
    }

    async fn work(self) {
        let (clerk, env) = (self.clerk.clone(), self.env.clone());
        tokio::select! {
            () = self.warden.run() => {}
            () = nodes::follow(&clerk, &env) => {}
            () = self.look_after() => {}
        }
    }

    async fn look_after(&self) {
        let mut follow = self.clerk.registry().reader().follow();
        let mut next_round = self.env.instant();
        loop {
            tokio::select! {
                () = self.env.sleep_until(next_round) => {
                    next_round = self.env.instant() + ROUND;
                    if !self.round().await {
                        return;
                    }
                }
                published = follow.next() => match published {
                    Some(Published::Changed(_, keys)) if !keys.iter().any(is_node) => {}
                    Some(Published::Changed(..) | Published::Missed) => {
                        let mut book = self.clerk.book();
                        self.clerk.touch_nodes(&mut book);
                    }
                    None => return,
                },
            }
        }
    }

    /// Whether the registry is still there.
    async fn round(&self) -> bool {
        self.clerk.adopt_missing();
        let subjects = {
            let mut book = self.clerk.book();
            book.forget(self.clerk.now());
            book.subjects()
        };
        for some in subjects.chunks(RENEWED_MAX) {
            match self.clerk.registry().renew_all(some.to_vec()).await {
                Ok(missing) => self.drop_missing(&missing),
                Err(portolan_registry::RegistryError::Stopped) => return false,
                // A successor has them; if it fails, the next round finds them here.
                Err(_) => {}
            }
        }
        true
    }

    /// Somebody else deregistered them, or the prober, because they were critical for too
    /// long.
    fn drop_missing(&self, missing: &[Subject]) {
        let mut book = self.clerk.book();
        for subject in missing {
            if let Some(holder) = book.holder(subject).cloned() {
                book.remove(&holder);
            }
        }
    }
}
