//! Graceful stop: one says when, many let go.
//!
//! The owner keeps a [`Drain`]; everybody who works keeps a [`DrainWatch`] and, while
//! work is under way, a [`Hold`]. The owner starts the drain and waits until no
//! hold is left or the deadline has passed.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{Elapsed, Env};

/// The owner's end.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    holds: Arc<watch::Sender<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
}

/// The workers' end; cheap to clone.
#[derive(Clone, Debug)]
pub struct DrainWatch {
    phase: watch::Receiver<Phase>,
    holds: Arc<watch::Sender<usize>>,
}

/// Work under way; dropping it lets go.
#[derive(Debug)]
pub struct Hold(Arc<watch::Sender<usize>>);

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            holds: Arc::new(watch::Sender::new(0)),
        }
    }

    /// A watch for somebody who works.
    #[must_use]
    pub fn watch(&self) -> DrainWatch {
        DrainWatch {
            phase: self.phase.subscribe(),
            holds: Arc::clone(&self.holds),
        }
    }

    /// Tells everybody to come to an end.
    pub fn start(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Pieces of work under way.
    #[must_use]
    pub fn holds(&self) -> usize {
        *self.holds.borrow()
    }

    /// Waits until no work is under way, at most for `deadline`.
    ///
    /// # Errors
    /// [`Elapsed`] if work was still under way at the deadline.
    pub async fn wait(&self, env: &Env, deadline: Duration) -> Result<(), Elapsed> {
        let mut holds = self.holds.subscribe();
        let idle = env
            .timeout(deadline, holds.wait_for(|count| *count == 0))
            .await?;
        // The sender is ours, so the channel can't be closed.
        idle.map(|_| ()).map_err(|_| Elapsed)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl DrainWatch {
    /// Whether the drain has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    /// Resolves when the drain starts, at once if it has. Cancel-safe.
    pub async fn draining(&mut self) {
        // An owner that is gone can't wait for us any more: that is a drain, too.
        let _ended = self.phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Says that a piece of work is under way until the hold is dropped.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.holds.send_modify(|count| *count += 1);
        Hold(Arc::clone(&self.holds))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_the_last_hold() {
        let (env, drain) = (Env::virtual_time(1), Drain::new());
        let mut watch = drain.watch();
        let hold = watch.hold();
        drain.start();
        watch.draining().await;
        assert_eq!(drain.wait(&env, Duration::from_secs(1)).await, Err(Elapsed));
        drop(hold);
        assert_eq!(drain.wait(&env, Duration::from_secs(1)).await, Ok(()));
    }
}
