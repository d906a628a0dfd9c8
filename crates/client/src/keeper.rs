//! The handle of a registration that is being kept.

use std::{io, sync::Arc, time::Duration};

use portolan_dialects::native::Drained;
use portolan_model::Health;
use portolan_runtime::{Env, Task};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    Registered, Standing,
    api::{Registry, Report},
    keep::{Keep, Parts},
};

/// Keeps an instance registered until it is told to leave.
///
/// Dropping it makes the instance leave as well, as far as the runtime goes on for so long;
/// whoever wants to be sure calls [`Keeper::leave`].
#[derive(Debug)]
pub struct Keeper {
    orders: mpsc::Sender<Order>,
    reports: watch::Sender<Report>,
    standing: watch::Receiver<Standing>,
    task: Option<Task>,
}

/// An order to leave.
#[derive(Debug)]
pub(crate) struct Order {
    /// How long requests may run on.
    pub(crate) drain: Duration,
    /// Where to say how it ended.
    pub(crate) answer: oneshot::Sender<Result<Left, LeaveError>>,
}

/// How the instance left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It was drained, and this is how that ended.
    Drained(Drained),
    /// It was removed at once.
    Removed,
    /// The registry did not hold it.
    Unknown,
}

/// The instance could not be taken away; its TTL will do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaveError {
    /// No registry took the call.
    #[error("no registry could be told: {reason}")]
    Away {
        /// What the last of them did.
        reason: Arc<str>,
    },
    /// The system does not tell of signals.
    #[error("signals can't be waited for: {reason}")]
    Signals {
        /// What the system says.
        reason: Arc<str>,
    },
    /// A second signal came before the instance had left. The registry was told, and takes it
    /// away all the same.
    #[error("told to stop a second time")]
    Hurried,
    /// The runtime is ending.
    #[error("the keeper has ended")]
    Ended,
}

impl Keeper {
    pub(crate) fn start(
        registry: impl Registry,
        env: &Env,
        ttl: Option<Duration>,
        drain_on_drop: Duration,
    ) -> Self {
        let (orders, ordered) = mpsc::channel(1);
        let (reports, reported) = watch::channel(Report::default());
        let (told, standing) = watch::channel(Standing::New);
        let keep = Keep::new(Parts {
            registry,
            env: env.clone(),
            ttl,
            drain_on_drop,
            orders: ordered,
            reports: reported,
            standing: told,
        });
        let task = env.spawn("keep a registration", keep.run());
        Self {
            orders,
            reports,
            standing,
            task: Some(task),
        }
    }

    /// A watch of how the registration stands.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until the registry holds the instance. Cancel-safe.
    ///
    /// # Errors
    /// [`LeaveError::Ended`] if the runtime ends first.
    pub async fn registered(&self) -> Result<Registered, LeaveError> {
        let mut standing = self.standing.clone();
        let held = standing.wait_for(|now| matches!(now, Standing::Registered(_)));
        match held.await.as_deref() {
            Ok(Standing::Registered(registered)) => Ok(registered.clone()),
            Ok(_) | Err(_) => Err(LeaveError::Ended),
        }
    }

    /// Says how the instance is from now on; the registry hears it at once, or as soon as
    /// it can be reached.
    pub fn report(&self, health: Health, note: Option<Arc<str>>) {
        let fresh = Report {
            health: Some(health),
            note,
        };
        self.reports.send_if_modified(|known| {
            let is_new = *known != fresh;
            if is_new {
                *known = fresh;
            }
            is_new
        });
    }

    /// Takes the instance away: it gets no new requests, and this returns when its last
    /// one through a gateway has ended, or `drain`, an hour at most, is over; not before half a second, so that
    /// programs that follow the registry by themselves have heard of it. Nobody but the
    /// instance knows of the calls that it has from those: end its server gracefully when this
    /// returns. Zero takes it away at once.
    ///
    /// # Errors
    /// [`LeaveError`]: it may get requests until its TTL is over.
    ///
    /// # Cancellation
    /// The instance leaves all the same.
    pub async fn leave(self, drain: Duration) -> Result<Left, LeaveError> {
        let (answer, answered) = oneshot::channel();
        let order = Order { drain, answer };
        let sent = self.orders.send(order).await;
        sent.map_err(|_| LeaveError::Ended)?;
        answered.await.map_err(|_| LeaveError::Ended)?
    }

    /// Waits until the program is told to stop, by SIGTERM or by SIGINT (Ctrl-C), and takes
    /// the instance away as [`Keeper::leave`] does. The program should stop serving when
    /// this returns, and not before: until then it may still get requests. A second signal
    /// makes it return at once. From the first call on, these signals no longer end the
    /// program by themselves: that is up to whoever called.
    ///
    /// # Errors
    /// [`LeaveError`]: it may get requests until its TTL is over; [`LeaveError::Signals`] at
    /// once if the system does not hand out signals, and the instance leaves at once, too;
    /// [`LeaveError::Hurried`] after a second signal.
    ///
    /// # Cancellation
    /// The keeper is dropped, and so the instance leaves.
    pub async fn leave_on_signal(self, drain: Duration) -> Result<Left, LeaveError> {
        let signals = |error: io::Error| LeaveError::Signals {
            reason: error.kind().to_string().into(),
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
        let mut told = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        told().await;
        tokio::select! {
            left = self.leave(drain) => left,
            () = told() => Err(LeaveError::Hurried),
        }
    }
}

/// The task hears that nobody holds the handle any more, lets the instance leave and ends.
impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}
