//! The store in the data folder: open while this process owns the folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_admin::{Backed, BackingUp, Backup};
use portolan_model::{Name, Revision};
use portolan_registry::Stored;
use portolan_runtime::Env;
use portolan_store::{Condition, Embedded, Facts, Ledger, Settings, Start, StoreError};
use tokio::sync::watch;

use crate::load::chain;

/// The store's file in the data folder.
pub(crate) const FILE: &str = "portolan.redb";

/// Where backups are written in the data folder.
const BACKUPS: &str = "backups";

/// The store of this process.
pub(crate) struct Store {
    env: Env,
    folder: PathBuf,
    /// Not while another process owns the folder.
    embedded: watch::Sender<Option<Embedded>>,
    /// How it is; [`Condition::Failed`] while it is not open.
    condition: watch::Sender<Condition>,
    /// How far the journal went when the store was opened, until it is taken up.
    journaled: Option<Revision>,
}

impl Store {
    /// The store of a data folder, not open yet.
    pub(crate) fn new(env: Env, folder: PathBuf) -> Self {
        Self {
            env,
            folder,
            embedded: watch::Sender::new(None),
            condition: watch::Sender::new(Condition::Failed),
            journaled: None,
        }
    }

    /// Where data is kept.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What must be compare-and-swap, while the store is open.
    pub(crate) fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        let embedded = self.embedded.borrow().clone();
        embedded.map(|embedded| Arc::new(embedded) as _)
    }

    /// The store, now and whenever it is opened or closed.
    pub(crate) fn opened(&self) -> watch::Receiver<Option<Embedded>> {
        self.embedded.subscribe()
    }

    /// How the store is, now and later.
    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Copies the store while it is open.
    pub(crate) fn backups(&self) -> Backups {
        Backups {
            folder: self.folder.join(BACKUPS),
            embedded: self.embedded.subscribe(),
        }
    }

    /// Opens the file and reads everything.
    ///
    /// # Errors
    /// [`StoreError`] names the file and the remedy.
    pub(crate) async fn open(&mut self) -> Result<Stored, StoreError> {
        let (env, path) = (self.env.clone(), self.folder.join(FILE));
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&env, Settings::of(path)));
        let (embedded, start) = opened.await.map_err(|_| StoreError::Closed)??;
        if let Start::Recovered { revision } = start {
            tracing::info!(%revision, "the last process was cut off; all that was acknowledged is there");
        }
        let loaded = embedded.load().await?;
        self.journaled = Some(loaded.journaled);
        let telling = tell(embedded.condition(), self.condition.clone());
        self.env.spawn("store-condition", telling).detach();
        let facts = Arc::new(embedded.clone());
        self.embedded.send_replace(Some(embedded));
        Ok(Stored { facts, loaded })
    }

    /// How far the journal went when the store was opened, once.
    pub(crate) fn take_journaled(&mut self) -> Option<Revision> {
        self.journaled.take()
    }

    /// Commits what waits and lets go of the file.
    pub(crate) async fn close(&mut self) {
        if let Some(embedded) = self.embedded.send_replace(None) {
            embedded.close().await;
        }
    }
}

/// Writes backups into the data folder: whoever may ask for one must not choose a place.
pub(crate) struct Backups {
    folder: PathBuf,
    embedded: watch::Receiver<Option<Embedded>>,
}

impl Backup for Backups {
    fn backup(&self, name: &Name) -> BackingUp {
        let embedded = self.embedded.borrow().clone();
        let (folder, file) = (
            self.folder.clone(),
            self.folder.join(format!("{name}.redb")),
        );
        Box::pin(async move {
            let embedded = embedded.ok_or("the store is not open in this process")?;
            let made = tokio::fs::create_dir_all(&folder).await;
            made.map_err(|error| format!("can't make {}: {error}", folder.display()))?;
            let copied = embedded.backup(file.clone()).await;
            let revision = copied.map_err(|error| chain(&error))?;
            let file = std::path::absolute(&file).unwrap_or(file);
            Ok(Backed { file, revision })
        })
    }
}

/// Tells operators when the store gets worse or better; ends with the store.
async fn tell(mut condition: watch::Receiver<Condition>, shown: watch::Sender<Condition>) {
    shown.send_replace(*condition.borrow_and_update());
    while condition.changed().await.is_ok() {
        let now = *condition.borrow_and_update();
        shown.send_replace(now);
        match now {
            Condition::Healthy => tracing::info!("the store is healthy again"),
            Condition::Full => tracing::error!(
                "no room for the store; the registry goes on in memory, and new registrations would not survive a restart"
            ),
            Condition::Failed => tracing::error!(
                "the store can't be written; the registry goes on in memory, and new registrations would not survive a restart"
            ),
        }
    }
    shown.send_replace(Condition::Failed);
}

/// A store that can't be opened does not keep a successor from serving.
pub(crate) fn without(error: &StoreError) {
    tracing::error!(
        error = chain(error),
        "the store can't be opened; registrations would not survive a restart"
    );
}
