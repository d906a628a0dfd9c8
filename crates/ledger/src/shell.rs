//! The handle by which others speak to the task that owns the engine.

use std::sync::Arc;

use bytes::Bytes;
use portolan_model::Revision;
use portolan_runtime::{Env, Task};
use portolan_store::{self as store, LedgerKey, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Answer, BadRecord, Counts, Input, Output, Query,
    keeper::{Keeper, Shown},
    waiting::Waiter,
};

/// Most commands that wait for the task; one more waits for its turn.
pub const COMMANDS_MAX: usize = 1_024;

/// A ledger that can't answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed; whether the write was applied is unknown, as with a lost connection.
    #[error("the ledger's store failed")]
    Store(#[source] StoreError),
    /// A record that is none of ours, in the store or in what it is to be restored from.
    #[error("the ledger can't be read")]
    Record(#[from] BadRecord),
    /// So many wait for changes already.
    #[error("{0} wait for changes already")]
    TooManyWaiters(usize),
    /// This process does not have the store: it could not be opened, or another one has it.
    #[error("the ledger is not open in this process")]
    Closed,
    /// The task has ended.
    #[error("the ledger has stopped")]
    Stopped,
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Keys, sessions, locks and objects. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    stores: mpsc::Sender<Attach>,
    shown: watch::Receiver<Shown>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Step(Input, oneshot::Sender<Result<Answer, LedgerError>>),
    Look(Query, oneshot::Sender<Found>),
    Wait(Waiter),
    Records(oneshot::Sender<Result<Records, LedgerError>>),
    Replace(Records, oneshot::Sender<Result<(), LedgerError>>),
}

/// The store to go on with, and who waits for it.
pub(crate) type Attach = (Option<Arc<dyn store::Ledger>>, oneshot::Sender<()>);
/// What a question is answered with.
pub(crate) type Found = Result<(Output, Revision), LedgerError>;
/// Everything that is stored.
pub(crate) type Records = Vec<(LedgerKey, Bytes)>;

impl Ledger {
    /// Starts the task, which ends when it is dropped. What is stored is read at once; without a
    /// store everybody waits, for a while, until one is attached.
    pub fn start(env: &Env, seam: Option<Arc<dyn store::Ledger>>) -> (Self, Task) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (stores, attached) = mpsc::channel(1);
        let (teller, shown) = watch::channel(Shown::default());
        let keeper = Keeper::new(env.clone(), seam, (receiver, attached), teller);
        let ledger = Self {
            commands,
            stores,
            shown,
        };
        (ledger, env.spawn("ledger", keeper.run()))
    }

    /// Goes on with that store, or lets go of the one that there is when everything that was
    /// answered is in it.
    pub async fn attach(&self, seam: Option<Arc<dyn store::Ledger>>) {
        let (reply, done) = oneshot::channel();
        if self.stores.send((seam, reply)).await.is_ok() {
            // A ledger that has stopped has no store.
            let _stopped = done.await;
        }
    }

    /// Does something, and answers when it would survive a restart. Of calls whose futures are
    /// polled one after the other, the first comes first.
    ///
    /// # Errors
    /// [`LedgerError`]; after [`LedgerError::Store`] it may have been done or not.
    pub async fn step(&self, input: Input) -> Result<Answer, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Step(input, reply)).await?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Answers a question, with the index to wait for a change at.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn look(&self, query: Query) -> Result<(Output, Revision), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Look(query, reply)).await?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Answers a question as soon as its index is above `index`. How long that may take is the
    /// caller's to say.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind that lasts.
    pub async fn wait(
        &self,
        query: Query,
        index: Revision,
    ) -> Result<(Output, Revision), LedgerError> {
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter {
            query,
            index,
            reply,
        };
        self.send(Command::Wait(waiter)).await?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Everything, as it is stored.
    pub(crate) async fn records(&self) -> Result<Records, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Records(reply)).await?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Puts those records in place of everything.
    pub(crate) async fn replace(&self, records: Records) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Replace(records, reply)).await?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shown.borrow().counts
    }

    /// Waits until everything may be another than it was: a store was attached, what is stored
    /// was read again after a failure, or everything was restored. Counts how often that was;
    /// answers at once if it was more often than `seen`.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub async fn reloaded(&self, seen: u64) -> Result<u64, LedgerError> {
        let mut shown = self.shown.clone();
        let found = shown.wait_for(|shown| shown.loads > seen).await;
        found
            .map(|shown| shown.loads)
            .map_err(|_| LedgerError::Stopped)
    }

    async fn send(&self, command: Command) -> Result<(), LedgerError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| LedgerError::Stopped)
    }
}
