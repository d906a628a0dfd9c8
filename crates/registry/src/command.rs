//! What the registry's handles say to its desk.

use std::sync::Arc;

use portolan_catalog::Ticket;
use portolan_model::Timestamp;
use portolan_store::Later;
use tokio::sync::oneshot;

use crate::{
    Stored,
    core::{Answer, Input, Subject},
    shared::Settled,
};

pub(crate) enum Command {
    Ask(Asked),
    /// Resolves with what to wait for until all that was said before, or all that was said of
    /// one instance, is visible and stored.
    CatchUp(Option<Subject>, oneshot::Sender<Reply>),
    /// When these instances last gave a sign of life.
    LastHeard(Vec<Subject>, oneshot::Sender<Vec<Option<Timestamp>>>),
    /// Another store, or none; resolves when it holds what is in memory.
    Attach(Option<Stored>, oneshot::Sender<()>),
}

pub(crate) struct Asked {
    pub(crate) input: Input,
    pub(crate) actor: Option<Arc<str>>,
    pub(crate) reply: oneshot::Sender<Reply>,
}

pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Resolves when what followed is visible; none if nothing did.
    pub(crate) ticket: Option<Ticket>,
    /// Resolves when what followed would survive a crash; none if there is no store or
    /// nothing to keep.
    pub(crate) stored: Option<Later<()>>,
    /// All that followed from the steps up to this one is settled once this is; none if that
    /// can't be told.
    pub(crate) settles: Option<Settled>,
}

impl Reply {
    pub(crate) const fn new(
        answer: Answer,
        ticket: Option<Ticket>,
        stored: Option<Later<()>>,
    ) -> Self {
        Self {
            answer,
            ticket,
            stored,
            settles: None,
        }
    }
}
