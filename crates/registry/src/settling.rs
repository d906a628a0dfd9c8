//! When callers are answered, once what they did is visible and would survive a crash; and
//! what is asked of the registry without changing it.

use std::sync::Arc;

use portolan_catalog::Past;
use portolan_model::{Revision, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::{
    Archive, Registry, RegistryError,
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
        let (reply, said) = oneshot::channel();
        let sent = self.commands.send(Command::CatchUp(reply)).await;
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
