//! The state of every single check, for whoever reads or reports it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use portolan_model::{Health, Timestamp, Verdict, route::Probe};
use tokio::sync::{mpsc, oneshot};

use crate::core::Subject;

/// Reports that may be lined up; one more waits before it is.
const REPORTS_MAX: usize = 1024;

/// One check of one instance, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckState {
    /// What is done, and its id.
    pub probe: Arc<Probe>,
    /// The configuration asks for it, not the instance.
    pub is_configured: bool,
    /// What it found; `Starting` until it has ended.
    pub health: Health,
    /// Why.
    pub note: Option<Arc<str>>,
    /// What the last probe was told.
    pub output: Arc<str>,
    /// Since when the health is what it is.
    pub since: Timestamp,
}

/// Why a report is not taken. The fault of whoever reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The instance has no such check.
    #[error("no such check")]
    Unknown,
    /// The check finds out itself.
    #[error("only a check by `ttl` takes reports")]
    NotReported,
    /// There is no prober.
    #[error("checks have stopped")]
    Stopped,
}

/// A handle on the checks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Checks {
    board: Arc<Board>,
    reports: mpsc::Sender<Spoken>,
}

/// What instances say of themselves, for the prober, and where it shows what it found.
#[derive(Debug)]
pub struct Reports {
    pub(super) spoken: mpsc::Receiver<Spoken>,
    pub(super) board: Arc<Board>,
}

/// A report of a check by `ttl`.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) subject: Subject,
    pub(super) id: Arc<str>,
    pub(super) verdict: Verdict,
    pub(super) reply: oneshot::Sender<Result<(), ReportError>>,
}

/// States by instance. Written by the prober only; the lock is held for a look-up.
#[derive(Debug, Default)]
pub(super) struct Board(RwLock<HashMap<Subject, Arc<[CheckState]>>>);

impl Checks {
    /// A handle, and the other end of it for the prober.
    #[must_use]
    pub fn new() -> (Self, Reports) {
        let (reports, spoken) = mpsc::channel(REPORTS_MAX);
        let board: Arc<Board> = Arc::default();
        let checks = Self {
            board: Arc::clone(&board),
            reports,
        };
        (checks, Reports { spoken, board })
    }

    /// The checks of an instance; empty if it has none.
    #[must_use]
    pub fn of(&self, subject: &Subject) -> Arc<[CheckState]> {
        let states = self.board.0.read().unwrap_or_else(PoisonError::into_inner);
        states.get(subject).cloned().unwrap_or_default()
    }

    /// All instances that have checks, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(Subject, Arc<[CheckState]>)> {
        let states = self.board.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = states.iter();
        all.map(|(subject, states)| (subject.clone(), Arc::clone(states)))
            .collect()
    }

    /// Takes in what an instance says by its check `id`, which must be one by `ttl`.
    /// When this resolves, the registry has heard of it: whoever acknowledges it waits until the
    /// registry has caught up on the instance, whether or not that was news.
    ///
    /// # Errors
    /// [`ReportError`].
    ///
    /// # Cancellation
    /// It may have been heard.
    pub async fn report(
        &self,
        subject: Subject,
        id: Arc<str>,
        verdict: Verdict,
    ) -> Result<(), ReportError> {
        let (reply, answer) = oneshot::channel();
        let spoken = Spoken {
            subject,
            id,
            verdict,
            reply,
        };
        let sent = self.reports.send(spoken).await;
        sent.map_err(|_| ReportError::Stopped)?;
        answer.await.map_err(|_| ReportError::Stopped)?
    }
}

impl Board {
    pub(super) fn put(&self, subject: Subject, states: Vec<CheckState>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if states.is_empty() {
            all.remove(&subject);
        } else {
            all.insert(subject, states.into());
        }
    }
}
