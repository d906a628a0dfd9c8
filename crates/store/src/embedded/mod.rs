//! An engine in one file, with group commit.
//!
//! A call puts its work into a bounded queue and waits. One thread takes all that waits, applies
//! it in one transaction of the file, syncs once and answers everybody: the more wait, the less
//! each pays for the sync. Reads look at the last committed state and wait for nobody.
//!
//! The file is a redb database: copy-on-write trees with checksums. A commit is one sync; what a
//! crash leaves half written fails its checksum when the file is opened, and the commit before
//! it counts. Whoever could choose the order of page writes *and* the moment of the crash *and*
//! the data could forge that checksum; we accept this for half the syncs.

mod apply;
mod committer;
mod copy;
mod disk;
mod format;
mod log;
mod queue;
mod read;
mod rewriting;
mod slot;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

pub use copy::{Restored, restore};
pub use format::{FORMAT_KNOWN, FormatVersion};
pub use queue::{WAITING_BYTES_MAX, WAITING_JOBS_MAX};

use portolan_model::{ByteSize, Revision};
use portolan_runtime::Env;
use tokio::sync::{oneshot, watch};

use committer::Committer;
use disk::{Disk, FileDisk};
use queue::{Done, Job, Moment, Queue, Work};
use slot::Slot;

use crate::{
    Batch, Condition, Facts, JOURNAL_TAIL_MAX, JournalLine, Later, Ledger, LedgerKey, Loaded,
    Outcome, Page, Record, Span, StoreError, Transaction, ledger,
};

/// How much of the journal is kept; the stricter of the two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Most lines.
    pub lines: u64,
    /// Most bytes of all lines. For each line that is written a few of the oldest go at most,
    /// so that many small ones may be in the way of a large one for a while.
    pub bytes: ByteSize,
    /// Lines are forgotten when they are older than the newest one by so much.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            lines: JOURNAL_TAIL_MAX as u64,
            bytes: ByteSize::from_bytes(32 << 20),
            age: Duration::from_hours(7 * 24),
        }
    }
}

/// What an engine is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// How much of the journal is kept.
    pub journal: Retention,
    /// How much of the file is held in memory. The system holds it too, so a little is enough.
    pub cache: ByteSize,
}

impl Settings {
    /// The usual settings for a file.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            journal: Retention::default(),
            cache: ByteSize::from_bytes(2 << 20),
        }
    }
}

/// What was found when the file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// There was none; it is empty.
    New,
    /// It was closed properly, and every page is as it was written.
    Clean,
    /// Its writer was killed or lost power. Every page was verified; whatever was not yet
    /// synced then, and so never answered, is dropped. So is the very last commit if the file was
    /// damaged in it, because that looks the same; more damage is refused.
    Recovered {
        /// The last revision that is there.
        revision: Revision,
    },
}

/// The engine. Cloning is cheap; all clones share one file.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    env: Env,
    queue: Arc<Queue>,
    slot: Arc<Slot>,
    condition: watch::Receiver<Condition>,
    path: PathBuf,
}

impl Embedded {
    /// Opens the file, or makes it, and verifies all of it. Blocks while it does: about a
    /// quarter of a second for 100,000 facts.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Locked`], [`StoreError::Newer`],
    /// [`StoreError::Full`] and [`StoreError::Io`]; the file is as it was.
    pub fn open(env: &Env, settings: Settings) -> Result<(Self, Start), StoreError> {
        let disk = FileDisk::new(settings.path, settings.cache);
        Self::on(env, Box::new(disk), settings.journal)
    }

    fn on(env: &Env, disk: Box<dyn Disk>, journal: Retention) -> Result<(Self, Start), StoreError> {
        let path = disk.path().to_owned();
        let (committer, start, condition) = Committer::open(disk, journal)?;
        let queue = Arc::new(Queue::default());
        let slot = committer.slot();
        let work = Arc::clone(&queue);
        // A thread and no task: it waits for the disk most of the time, and a runtime that is
        // shut down must not take commits with it that are under way.
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(&work))
            .map_err(|error| StoreError::io(&path, error))?;
        let inner = Inner {
            env: env.clone(),
            queue,
            slot,
            condition,
            path,
        };
        Ok((Self(Arc::new(inner)), start))
    }

    /// Commits what waits, closes the file and releases it. Everything after that is refused.
    /// Dropping the last clone does the same without waiting for it.
    pub async fn close(&self) {
        self.0.queue.close();
        let mut condition = self.0.condition.clone();
        // The thread takes the sender with it when it ends.
        while condition.changed().await.is_ok() {}
    }

    /// Copies the committed state of this moment to another file, while writers go on. The copy
    /// is written beside `to` and takes its name when it is complete and synced; an older backup
    /// of that name is replaced.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a file that is no backup; [`StoreError::Full`] and
    /// [`StoreError::Io`] name the file.
    ///
    /// # Cancellation
    /// The copy is completed all the same.
    #[must_use]
    pub fn backup(&self, to: PathBuf) -> Later<Revision> {
        let own = self.0.path.clone();
        self.read_with(move |transaction| copy::backup(transaction, &own, &to))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn submit<T: Send + 'static>(
        &self,
        work: Result<Work, StoreError>,
        of: impl FnOnce(Done) -> T + Send + 'static,
    ) -> Later<T> {
        let (reply, answer) = oneshot::channel();
        let at = Moment {
            now: self.0.env.now(),
            instant: self.0.env.instant(),
        };
        let taken = work.and_then(|work| self.0.queue.push(Job { at, work, reply }));
        Box::pin(async move {
            taken?;
            answer.await.map_err(|_| StoreError::Closed)?.map(of)
        })
    }

    /// Reads on a thread that may wait for the disk.
    fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Later<T> {
        let slot = Arc::clone(&self.0.slot);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || read(&slot.begin_read()?))
                .await
                .map_err(|_| StoreError::Closed)?
        })
    }
}

impl Facts for Embedded {
    fn commit(&self, batch: Batch) -> Later<()> {
        let work = batch.check().map(|()| Work::Facts(batch));
        self.submit(work, |_| ())
    }

    fn load(&self) -> Later<Loaded> {
        let path = self.0.path.clone();
        self.read_with(move |transaction| read::load(transaction, &path))
    }

    fn journal(&self) -> Later<Vec<JournalLine>> {
        let path = self.0.path.clone();
        self.read_with(move |transaction| {
            read::tail(transaction).map_err(|error| StoreError::of_engine(&path, error))
        })
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.0.condition.clone()
    }
}

impl Ledger for Embedded {
    fn transact(&self, transactions: Vec<Transaction>) -> Later<Vec<Outcome>> {
        let work = ledger::check(&transactions).map(|()| Work::Ledger(transactions));
        self.submit(work, |done| match done {
            Done::Ledger(outcomes) => outcomes,
            Done::Facts => Vec::new(),
        })
    }

    fn read(&self, key: LedgerKey) -> Later<Option<Record>> {
        let path = self.0.path.clone();
        self.read_with(move |transaction| {
            read::record(transaction, &key).map_err(|error| StoreError::of_engine(&path, error))
        })
    }

    fn range(&self, span: Span) -> Later<Page> {
        let path = self.0.path.clone();
        self.read_with(move |transaction| {
            read::page(transaction, &span).map_err(|error| StoreError::of_engine(&path, error))
        })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.0.path).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}
