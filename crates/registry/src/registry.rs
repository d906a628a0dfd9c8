//! The handle of callers on the registry.
//!
//! What they want is lined up at the [`Desk`], taken in one at a time, and answered once
//! the publisher has made it visible: whoever has the answer to a write finds it routable.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use portolan_catalog::{Inbox, Resolution, Settled, Witness};
use portolan_dialects::native::{Described, Drained, Patch};
use portolan_model::{Revision, Ruling, SourceId};
use portolan_runtime::Env;
use portolan_store::StoreError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Archive, Desk, Reader, Stored,
    command::{Asked, Command, Reply},
    core::{Answer, Bounds, CheckOrder, Input, Recheck, Refusal, Report, RulingRecord, Subject},
    shared::Shared,
};

/// Callers that may be lined up; one more waits before it is.
const COMMANDS_MAX: usize = 1024;
/// Who did what followed from a check, as the journal has it.
const CHECK: &str = "check";

/// A handle on the registry; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(crate) commands: mpsc::Sender<Command>,
    source: SourceId,
    witness: Arc<dyn Witness>,
    pub(crate) reader: Arc<dyn Reader>,
    inbox: Weak<Inbox>,
    pub(crate) shared: Arc<Shared>,
    /// Until which revision the journal is stored, if it is.
    pub(crate) journal: Option<watch::Receiver<Revision>>,
    pub(crate) archive: Option<Arc<dyn Archive>>,
}

/// What a registry is made of.
pub struct Parts {
    /// Clock and tasks.
    pub env: Env,
    /// Where it speaks to the catalogue.
    pub inbox: Inbox,
    /// What it allows.
    pub bounds: Bounds,
    /// Sees when an instance has fallen idle.
    pub witness: Arc<dyn Witness>,
    /// The merged catalogue.
    pub reader: Arc<dyn Reader>,
    /// Where registrations outlive the process; without it they don't.
    pub stored: Option<Stored>,
}

/// What the prober gets from the registry. The prober takes orders in at once, and there
/// is at most one for each registration that is under way.
pub type Orders = mpsc::UnboundedReceiver<CheckOrder>;

/// Why the registry did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The instance is not here; it should register.
    #[error("no such instance; it never registered, left or was silent for longer than its ttl")]
    Unknown,
    /// There is nothing to take back.
    #[error("no override of that instance")]
    NoRuling,
    /// The registration is not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is done and visible, but would not survive a crash yet; it is written as soon as
    /// the store can be written again.
    #[error("done, but not stored")]
    NotStored(#[from] StoreError),
    /// The program is coming to its end.
    #[error("the registry has stopped")]
    Stopped,
}

/// A registration or heartbeat that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// A revision that holds it.
    pub revision: Revision,
    /// Whether the instance is new.
    pub is_new: bool,
    /// How long it may be silent.
    pub ttl: Duration,
}

/// A deregistration that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The revision that no longer holds it.
    pub revision: Revision,
    /// How the drain ended, if one was asked for.
    pub drain: Option<Drained>,
}

impl Registry {
    /// A registry without instances, the task that runs it and what its prober gets.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Desk, Orders) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (orders, orders_out) = mpsc::unbounded_channel();
        let (source, witness) = (parts.inbox.source().clone(), Arc::clone(&parts.witness));
        let reader = Arc::clone(&parts.reader);
        let desk = Desk::new(parts, commands, orders);
        let registry = Self {
            commands: sender,
            source,
            witness,
            reader,
            inbox: desk.inbox(),
            shared: desk.shared(),
            journal: None,
            archive: None,
        };
        (registry, desk, orders_out)
    }

    /// The source that its instances are of.
    #[must_use]
    pub const fn source(&self) -> &SourceId {
        &self.source
    }

    /// The merged catalogue.
    #[must_use]
    pub fn reader(&self) -> &Arc<dyn Reader> {
        &self.reader
    }

    /// Registers an instance, or takes in what it says about itself now.
    ///
    /// # Errors
    /// [`RegistryError::Refused`]: the instance's or the operator's to mend.
    ///
    /// # Cancellation
    /// It may have been registered.
    pub async fn register(
        &self,
        actor: Option<Arc<str>>,
        mut described: Described,
    ) -> Result<Kept, RegistryError> {
        let catalog = self.reader.catalog();
        let service = catalog.service(&described.instance.key);
        if let Some(like) = service.and_then(|service| service.instances.first()) {
            described.instance.share_texts(like);
        }
        drop(catalog);
        self.write(actor, Input::Register(Box::new(described)))
            .await
    }

    /// A sign of life, with a report of the instance's health if it gives one.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]: the instance should register.
    ///
    /// # Cancellation
    /// It may have been heard.
    pub async fn renew(
        &self,
        actor: Option<Arc<str>>,
        subject: Subject,
        report: Option<Report>,
    ) -> Result<Kept, RegistryError> {
        if let Some(kept) = self.hear(&subject, report.as_ref()) {
            return Ok(kept);
        }
        self.write(actor, Input::Renew(subject, report)).await
    }

    /// A sign of life of many instances; gives back those that should register.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`], or a refusal while a successor takes over.
    ///
    /// # Cancellation
    /// It may have been heard.
    pub async fn renew_all(&self, subjects: Vec<Subject>) -> Result<Vec<Subject>, RegistryError> {
        let subjects = self.hear_all(subjects);
        if subjects.is_empty() {
            return Ok(subjects);
        }
        let reply = self.ask(None, Input::RenewAll(subjects)).await?;
        let Answer::Missing(subjects) = reply.answer else {
            return Err(RegistryError::Stopped);
        };
        Ok(subjects)
    }

    /// Changes what an instance said of itself, until it registers again.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`], or a refusal of what it would become.
    ///
    /// # Cancellation
    /// It may have been changed.
    pub async fn patch(
        &self,
        actor: Option<Arc<str>>,
        subject: Subject,
        patch: Patch,
    ) -> Result<Kept, RegistryError> {
        self.write(actor, Input::Patch(subject, Box::new(patch)))
            .await
    }

    /// Gives an instance other checks; what else it said of itself stays as it is.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`].
    ///
    /// # Cancellation
    /// It may have been done.
    pub async fn recheck(
        &self,
        actor: Option<Arc<str>>,
        subject: Subject,
        recheck: Recheck,
    ) -> Result<Kept, RegistryError> {
        self.write(actor, Input::Recheck(subject, Box::new(recheck)))
            .await
    }

    /// Rules about an instance of any source, which need not be there; `None` takes the
    /// ruling back. Gives a revision that holds it.
    ///
    /// # Errors
    /// [`RegistryError::NoRuling`] if there is none to take back.
    ///
    /// # Cancellation
    /// It may have been ruled.
    pub async fn rule(
        &self,
        actor: Option<Arc<str>>,
        subject: Subject,
        ruling: Option<Ruling>,
    ) -> Result<Revision, RegistryError> {
        let input = Input::Rule(subject, ruling.map(Arc::new));
        let reply = self.ask(actor, input).await;
        let reply = match reply {
            Err(RegistryError::Unknown) => return Err(RegistryError::NoRuling),
            other => other?,
        };
        self.settle(reply).await.map(|(_, revision)| revision)
    }

    /// Every ruling, in the order of subjects.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn rulings(&self) -> Result<Vec<RulingRecord>, RegistryError> {
        let reply = self.ask(None, Input::Rulings).await?;
        let Answer::Rulings(records) = reply.answer else {
            return Err(RegistryError::Stopped);
        };
        Ok(records)
    }

    /// Removes an instance; with `drain`, only once its requests have come to their end or
    /// that span has passed.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`] if there is none.
    ///
    /// # Cancellation
    /// It is removed nonetheless, after the drain at the latest.
    pub async fn deregister(
        &self,
        actor: Option<Arc<str>>,
        subject: Subject,
        drain: Option<Duration>,
    ) -> Result<Left, RegistryError> {
        let Some(within) = drain else {
            let reply = self.ask(actor, Input::Deregister(subject)).await?;
            return Ok(Left {
                revision: self.settle(reply).await?.1,
                drain: None,
            });
        };
        let input = Input::Leave(subject.clone(), within);
        let reply = self.ask(actor.clone(), input).await?;
        let (answer, revision) = self.settle(reply).await?;
        let Answer::Leaving(drain) = answer else {
            // A suspect, which the guard holds, is gone already.
            return Ok(Left {
                revision,
                drain: Some(Drained::Idle),
            });
        };
        let Subject { key, id } = &subject;
        let settled = self.witness.settled(key, id, revision, within).await;
        let reply = self.ask(actor, Input::Drained(subject, drain)).await?;
        let (answer, revision) = self.settle(reply).await?;
        let ended = match (answer, settled) {
            (Answer::Returned, _) => Drained::Returned,
            (_, Settled::Idle) => Drained::Idle,
            (_, Settled::Deadline { in_flight }) => Drained::Deadline { in_flight },
        };
        Ok(Left {
            revision,
            drain: Some(ended),
        })
    }

    /// Does what an operator says about the guard's holds, whatever their source.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    ///
    /// # Cancellation
    /// It may have been done.
    pub async fn resolve(
        &self,
        actor: Option<Arc<str>>,
        resolution: Resolution,
    ) -> Result<Revision, RegistryError> {
        let inbox = self.inbox.upgrade().ok_or(RegistryError::Stopped)?;
        let resolved = inbox.resolve(actor, resolution).await;
        resolved.map_err(|_| RegistryError::Stopped)
    }

    /// Takes in what the checks of an instance found; nobody waits for it to be visible.
    pub(crate) async fn judge(&self, input: Input) {
        // A registry that has stopped needs no verdicts.
        let _stopped = self.ask(Some(CHECK.into()), input).await;
    }

    async fn write(&self, actor: Option<Arc<str>>, input: Input) -> Result<Kept, RegistryError> {
        let reply = self.ask(actor, input).await?;
        let (answer, revision) = self.settle(reply).await?;
        let (is_new, ttl) = match answer {
            Answer::Created(ttl) => (true, ttl),
            Answer::Kept(ttl) => (false, ttl),
            Answer::Missing(_)
            | Answer::Ruled
            | Answer::Rulings(_)
            | Answer::Leaving(_)
            | Answer::Removed
            | Answer::Returned
            | Answer::Unknown
            | Answer::Refused(_)
            | Answer::Exported(_)
            | Answer::Done => return Err(RegistryError::Unknown),
        };
        Ok(Kept {
            revision,
            is_new,
            ttl,
        })
    }

    pub(crate) async fn ask(
        &self,
        actor: Option<Arc<str>>,
        input: Input,
    ) -> Result<Reply, RegistryError> {
        let (reply, answer) = oneshot::channel();
        let command = Asked {
            input,
            actor,
            reply,
        };
        let sent = self.commands.send(Command::Ask(command)).await;
        sent.map_err(|_| RegistryError::Stopped)?;
        let reply = answer.await.map_err(|_| RegistryError::Stopped)?;
        match reply.answer {
            Answer::Unknown => Err(RegistryError::Unknown),
            Answer::Refused(refusal) => Err(RegistryError::Refused(refusal)),
            Answer::Created(_)
            | Answer::Kept(_)
            | Answer::Missing(_)
            | Answer::Ruled
            | Answer::Rulings(_)
            | Answer::Leaving(_)
            | Answer::Removed
            | Answer::Returned
            | Answer::Exported(_)
            | Answer::Done => Ok(reply),
        }
    }
}
