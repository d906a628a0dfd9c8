//! The registry over the life of the program: limits, stores, and its way to a successor.

use tokio::sync::oneshot;

use crate::{
    Registry, RegistryError, Stored,
    command::Command,
    core::{Answer, Bounds, Handed, Input},
};

impl Registry {
    /// Other limits hold from now on, for what comes.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn rebound(&self, bounds: Bounds) -> Result<(), RegistryError> {
        self.ask(None, Input::Rebound(bounds)).await.map(|_| ())
    }

    /// Takes another store in place of the one that is there, or none; resolves when it
    /// holds what is in memory.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn attach(&self, stored: Option<Stored>) -> Result<(), RegistryError> {
        let (done, attached) = oneshot::channel();
        let sent = self.commands.send(Command::Attach(stored, done)).await;
        sent.map_err(|_| RegistryError::Stopped)?;
        attached.await.map_err(|_| RegistryError::Stopped)
    }

    /// Everything that a successor has to know. From now on writes are refused.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn export(&self) -> Result<Handed, RegistryError> {
        let reply = self.ask(None, Input::Export).await?;
        let Answer::Exported(handed) = reply.answer else {
            return Err(RegistryError::Stopped);
        };
        Ok(*handed)
    }

    /// Takes writes again, after a hand-over that came to nothing.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn resume(&self) -> Result<(), RegistryError> {
        self.ask(None, Input::Resume).await.map(|_| ())
    }

    /// Takes over what a predecessor exported. Resolves once it is visible.
    ///
    /// # Errors
    /// [`RegistryError::Stopped`].
    pub async fn adopt(&self, handed: Handed) -> Result<(), RegistryError> {
        let reply = self.ask(None, Input::Adopt(Box::new(handed))).await?;
        self.settle(reply).await.map(|_| ())
    }
}
