//! Clock, dice and tasks in one handle.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use portolan_model::Timestamp;

use crate::{Dice, Task};

/// A time limit that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time ran out")]
pub struct Elapsed;

/// The outside world of a piece of code: what time it is, how the dice fall, where tasks run.
///
/// Cloning is cheap; all clones share one clock and one sequence of seeds.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    clock: Clock,
    seed: AtomicU64,
}

enum Clock {
    /// The machine's clocks.
    System,
    /// Tokio's clock, which a test can pause; the wall clock begins at a fixed point.
    Virtual {
        wall: AtomicU64,
        start: tokio::time::Instant,
    },
}

impl Env {
    /// The real world.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where chance comes from")]
    pub fn system() -> Self {
        Self(Arc::new(Inner {
            clock: Clock::System,
            seed: AtomicU64::new(fastrand::u64(..)),
        }))
    }

    /// A world whose clock is tokio's, to be paused by a test, and whose dice have that seed.
    /// Must be called within a runtime. The wall clock begins at 2026-06-01T00:00:00Z.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn virtual_time(seed: u64) -> Self {
        let clock = Clock::Virtual {
            wall: AtomicU64::new(1_780_272_000_000),
            start: tokio::time::Instant::now(),
        };
        Self(Arc::new(Inner {
            clock,
            seed: AtomicU64::new(seed),
        }))
    }

    /// The time on the wall.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn now(&self) -> Timestamp {
        match &self.0.clock {
            Clock::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            Clock::Virtual { wall, start } => {
                let wall = Timestamp::from_millis(wall.load(Ordering::Relaxed));
                wall.after(tokio::time::Instant::now() - *start)
            }
        }
    }

    /// Sets the wall clock of a virtual world, as an operator or a time server does; the
    /// monotonic clock goes on. The machine's clock is left alone.
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn set_wall_clock(&self, to: Timestamp) {
        if let Clock::Virtual { wall, start } = &self.0.clock {
            let passed = tokio::time::Instant::now() - *start;
            let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            wall.store(to.as_millis().saturating_sub(passed), Ordering::Relaxed);
        }
    }

    /// A point of the monotonic clock, for spans and deadlines.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn instant(&self) -> Instant {
        match &self.0.clock {
            Clock::System => Instant::now(),
            Clock::Virtual { .. } => tokio::time::Instant::now().into_std(),
        }
    }

    /// Waits for a span. Cancel-safe.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where waiting comes from"
    )]
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Waits until a point of the monotonic clock. Cancel-safe.
    pub async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline.into()).await;
    }

    /// Waits for `future`, but no longer than `span`.
    ///
    /// # Errors
    /// [`Elapsed`] when time ran out; `future` is dropped then.
    pub async fn timeout<F: Future>(
        &self,
        span: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(span, future)
            .await
            .map_err(|_| Elapsed)
    }

    /// Dice of their own seed, drawn from this world's.
    #[must_use]
    pub fn dice(&self) -> Dice {
        // An odd step visits every seed before it repeats one.
        Dice::new(
            self.0
                .seed
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
        )
    }

    /// Runs `future` on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks come from")]
    pub fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        Task::new(name, tokio::spawn(future))
    }

    /// Runs `future` on the current thread.
    ///
    /// # Panics
    /// Outside a local runtime.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks come from")]
    pub fn spawn_local(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + 'static,
    ) -> Task {
        Task::new(name, tokio::task::spawn_local(future))
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.clock {
            Clock::System => "Env(system)",
            Clock::Virtual { .. } => "Env(virtual)",
        })
    }
}
