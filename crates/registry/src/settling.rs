//! When callers are answered, once what they did is visible and would survive a crash; and
//! what is asked of the registry without changing it.

use std::sync::Arc;

use portolan_catalog::{Bequest, InboxClosed, Past};
use portolan_model::{Revision, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::{
    Archive, Desk, Registry, RegistryError,
    command::{Command, Reply},
    core::{Answer, Subject},
};

impl Registry {
    /// Answers what is stored only once the journal is, too. The watch tells until which
    /// revision that is; whoever stores it must not leave it behind for good.
    #[must_use]
    pub fn with_journal(
        mut self,
        stored: watch::Receiver<Revision>,
        archive: Arc<dyn Archive>,
    ) -> Self {
        self.journal = Some(stored);
        self.archive = Some(archive);
        self
    }

    /// What was stored of the journal, up to a revision at least; none if nothing is.
    pub(crate) async fn past(&self, reaching: Revision) -> Option<Arc<Past>> {
        self.archive.as_ref()?.past(reaching).await
    }

    /// Resolves when all that the registry has taken in by now is visible, and would survive a
    /// crash.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`], or that it could not be stored.
    pub async fn caught_up(&self) -> Result<(), RegistryError> {
        self.catch_up(None).await
    }

    /// Resolves when all that the registry has taken in of an instance by now is visible, and
    /// would survive a crash. That is at once if it was so already; nothing is written then.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`], or that it could not be stored.
    pub async fn caught_up_on(&self, subject: &Subject) -> Result<(), RegistryError> {
        if self.shared.try_is_settled(subject) == Some(true) {
            return Ok(());
        }
        self.catch_up(Some(subject.clone())).await
    }

    async fn catch_up(&self, subject: Option<Subject>) -> Result<(), RegistryError> {
        let (reply, said) = oneshot::channel();
        let sent = self.commands.send(Command::CatchUp(subject, reply)).await;
        sent.map_err(|_| RegistryError::Stopped)?;
        let said = said.await.map_err(|_| RegistryError::Stopped)?;
        self.settle(said).await.map(drop)
    }

    /// Waits until what followed is visible, and would survive a crash.
    pub(crate) async fn settle(&self, reply: Reply) -> Result<(Answer, Revision), RegistryError> {
        let Some(ticket) = reply.ticket else {
            if let Some(stored) = reply.stored {
                stored.await?;
            }
            return Ok((reply.answer, self.reader.revision()));
        };
        let revision = ticket.await.map_err(|_| RegistryError::Stopped)?;
        if let Some(stored) = reply.stored {
            stored.await?;
            if let Some(mut journal) = self.journal.clone() {
                // Nobody stores it any more when the program ends.
                let _ended = journal.wait_for(|stored| *stored >= revision).await.is_ok();
            }
        }
        if let Some(step) = reply.settles {
            self.shared.settle(step);
        }
        Ok((reply.answer, revision))
    }

    /// When these instances last gave a sign of life; none for those that have no lease or are
    /// leaving.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn last_heard(
        &self,
        subjects: Vec<Subject>,
    ) -> Result<Vec<Option<Timestamp>>, RegistryError> {
        let (reply, heard) = oneshot::channel();
        let asked = Command::LastHeard(subjects, reply);
        let sent = self.commands.send(asked).await;
        sent.map_err(|_| RegistryError::Stopped)?;
        heard.await.map_err(|_| RegistryError::Stopped)
    }
}

impl Desk {
    /// Tells what to wait for until all that was said before, or all that was said of one
    /// instance, is visible and stored.
    pub(crate) async fn catch_up(
        &mut self,
        subject: Option<Subject>,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), InboxClosed> {
        let is_settled = subject.is_some_and(|subject| self.shared.is_settled(&subject));
        let said = if is_settled {
            Reply::new(Answer::Done, None, None)
        } else {
            self.all_said(Answer::Done).await?
        };
        // Whoever asked may have gone away.
        let _asked = reply.send(said);
        Ok(())
    }

    /// An answer that goes out once all that was said before is visible and stored.
    pub(crate) async fn all_said(&mut self, answer: Answer) -> Result<Reply, InboxClosed> {
        let settles = Some(self.shared.last_step());
        // It says nothing, but once it is visible, so is all that was said before.
        let ticket = Some(self.inbox.bequeath(Bequest::default()).await?);
        let reached = self.reached();
        let stored = self.keeper.as_mut().map(|keeper| keeper.mark(reached));
        Ok(Reply {
            settles,
            ..Reply::new(answer, ticket, stored)
        })
    }

    pub(crate) fn tell_last_heard(
        &self,
        subjects: &[Subject],
        reply: oneshot::Sender<Vec<Option<Timestamp>>>,
    ) {
        let (now, engine) = (self.shared.now(), self.shared.engine());
        let heard = subjects
            .iter()
            .map(|subject| engine.last_heard(now, subject))
            .collect();
        drop(engine);
        // Whoever asked may have gone away.
        let _asked = reply.send(heard);
    }
}
