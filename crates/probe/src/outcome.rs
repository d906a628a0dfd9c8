//! How a probe ended.

use std::sync::Arc;

use portolan_model::{Health, Verdict};

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What that says.
    pub health: Health,
    /// Why, in plain words that stay the same while nothing changes.
    pub reason: Option<Arc<str>>,
    /// What is worth telling besides when the reason is news.
    pub detail: Option<Arc<str>>,
    /// What the other side said.
    pub output: Arc<str>,
}

impl Outcome {
    /// It works.
    #[must_use]
    pub fn good(output: impl Into<Arc<str>>) -> Self {
        Self {
            health: Health::Passing,
            reason: None,
            detail: None,
            output: output.into(),
        }
    }

    /// It works, with a complaint.
    #[must_use]
    pub fn warning(reason: impl Into<Arc<str>>) -> Self {
        Self {
            health: Health::Warning,
            ..Self::bad(reason)
        }
    }

    /// It does not work.
    #[must_use]
    pub fn bad(reason: impl Into<Arc<str>>) -> Self {
        Self {
            health: Health::Critical,
            reason: Some(reason.into()),
            detail: None,
            output: "".into(),
        }
    }

    /// The same, with what the other side said.
    #[must_use]
    pub fn with_output(self, output: impl Into<Arc<str>>) -> Self {
        Self {
            output: output.into(),
            ..self
        }
    }

    /// What an instance says of itself.
    #[must_use]
    pub fn said(verdict: Verdict) -> Self {
        let Verdict { health, note } = verdict;
        Self {
            health,
            output: note.clone().unwrap_or_default(),
            reason: note.filter(|_| health != Health::Passing),
            detail: None,
        }
    }

    /// Whether it counts as a success.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self.health, Health::Passing | Health::Warning)
    }

    /// What it says of the instance's health.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let note = match (&self.reason, &self.detail) {
            (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}").into()),
            (reason, _) => reason.clone(),
        };
        Verdict {
            health: self.health,
            note,
        }
    }
}
