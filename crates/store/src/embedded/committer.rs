//! The one writer: takes groups, commits them, answers, and heals after a failure.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_model::Revision;
use redb::ReadableDatabase;
use tokio::sync::watch;

use super::{
    Retention, Start,
    apply::Group,
    disk::{Disk, Opening},
    format,
    log::FactLog,
    queue::{Done, Job, Queue, Taken},
    read,
    slot::Slot,
    tables::{FACTS, Tables},
};
use crate::{Condition, StoreError};

/// After a failure, how long commits are refused before one is tried again. A try opens and
/// verifies the whole file, which takes a moment for a large one.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much room a disk must have to count as not full.
const PROBE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Committer {
    disk: Box<dyn Disk>,
    slot: Arc<Slot>,
    /// The highest revision that was committed, or handed out for a commit that failed.
    revision: Revision,
    /// The highest one that was committed.
    stored: Revision,
    journal: Retention,
    log: FactLog,
    journal_bytes: u64,
    condition: watch::Sender<Condition>,
    /// Why commits fail.
    failure: Option<StoreError>,
    retry_at: Option<Instant>,
}

impl Committer {
    pub(super) fn open(
        mut disk: Box<dyn Disk>,
        journal: Retention,
    ) -> Result<(Self, Start, watch::Receiver<Condition>), StoreError> {
        let Opened {
            opening,
            revision,
            log,
            journal_bytes,
        } = open(&mut *disk)?;
        let start = match (opening.is_new, opening.was_in_use) {
            (true, _) => Start::New,
            (false, true) => Start::Recovered { revision },
            (false, false) => Start::Clean,
        };
        let (condition, receiver) = watch::channel(Condition::Healthy);
        let slot = Slot::new(disk.path().to_owned(), opening.database);
        let committer = Self {
            disk,
            slot: Arc::new(slot),
            revision,
            stored: revision,
            journal,
            log,
            journal_bytes,
            condition,
            failure: None,
            retry_at: None,
        };
        Ok((committer, start, receiver))
    }

    pub(super) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        let mut last = 1;
        loop {
            let patience = self.failure.is_some().then_some(RETRY_AFTER);
            match queue.take(patience, last) {
                Taken::Jobs(jobs) => {
                    // Leases and the lines about them come in turns: a small group between two
                    // large ones must not be what the next one is measured by.
                    last = jobs.len().max(last / 2);
                    self.serve(jobs);
                }
                Taken::Nothing => self.probe(),
                Taken::Closed => break,
            }
        }
        self.slot.replace(Err(StoreError::Closed));
    }

    /// Commits a group and answers it.
    pub(super) fn serve(&mut self, jobs: Vec<Job>) {
        let Some(last) = jobs.last().map(|job| job.at.instant) else {
            return;
        };
        if let (Some(failure), Some(retry_at)) = (&self.failure, self.retry_at)
            && last < retry_at
        {
            for job in jobs {
                job.answer(Err(failure.clone()));
            }
            return;
        }
        match self.attempt(&jobs) {
            Ok(done) => {
                for (job, done) in jobs.into_iter().zip(done) {
                    job.answer(Ok(done));
                }
            }
            Err(error) => {
                self.retry_at = Some(last + RETRY_AFTER);
                for job in jobs {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Nothing came since a failure: shows whether commits would succeed again.
    pub(super) fn probe(&mut self) {
        let _shown = self.attempt(&[]);
    }

    fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Done>, StoreError> {
        // A panic of the library must not leave callers without an answer.
        let committed = catch_unwind(AssertUnwindSafe(|| {
            if !self.slot.is_open() {
                self.reopen()?;
            }
            if jobs.is_empty() {
                self.try_room()?;
            }
            self.commit(jobs)
        }));
        let committed = committed.unwrap_or_else(|_| {
            Err(StoreError::damaged(
                self.disk.path(),
                "its trees make no sense",
            ))
        });
        match &committed {
            Ok(_) => {
                if self.failure.take().is_some() {
                    tracing::info!(path = %self.disk.path().display(), "store commits again");
                }
                self.retry_at = None;
                self.show(Condition::Healthy);
            }
            Err(error) => self.fail(error),
        }
        committed
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Done>, StoreError> {
        let transaction = self.slot.begin_write()?;
        let path = self.disk.path();
        let engine = |error: redb::Error| StoreError::of_engine(path, error);
        let mut tables = Tables::open(&transaction).map_err(engine)?;
        let mut group = Group {
            tables: &mut tables,
            log: &mut self.log,
            journal_bytes: &mut self.journal_bytes,
            revision: self.revision,
            stored: self.stored,
            journal: self.journal,
        };
        let done = group.apply(jobs).map_err(engine)?;
        // A revision that was handed out is not handed out again, even if this fails.
        self.revision = group.revision;
        drop(tables);
        transaction
            .commit()
            .map_err(|error| StoreError::of_engine(path, error))?;
        self.stored = self.revision;
        Ok(done)
    }

    /// Writes so much that it needs room, and takes it back: an empty commit succeeds on a
    /// full disk.
    fn try_room(&self) -> Result<(), StoreError> {
        let transaction = self.slot.begin_write()?;
        let write = || -> Result<(), redb::Error> {
            let mut facts = transaction.open_table(FACTS)?;
            facts.insert(u64::MAX, (&[][..], Some(&*vec![0; PROBE_BYTES])))?;
            Ok(())
        };
        write()
            .and_then(|()| Ok(transaction.abort()?))
            .map_err(|error| StoreError::of_engine(self.disk.path(), error))
    }

    /// The library refuses a database after a failed call, so it is opened again: reads go on
    /// with what was committed, and the next commit has a chance.
    fn fail(&mut self, error: &StoreError) {
        if self.failure.is_none() {
            tracing::error!(%error, "store can't commit; what is registered now is only in memory");
        }
        self.slot.replace(Err(error.clone()));
        let cause = self.reopen().err().unwrap_or_else(|| error.clone());
        self.show(cause.condition());
        self.failure = Some(cause);
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let Opened {
            opening,
            revision,
            log,
            journal_bytes,
        } = open(&mut *self.disk)?;
        self.revision = self.revision.max(revision);
        self.stored = revision;
        (self.log, self.journal_bytes) = (log, journal_bytes);
        self.slot.replace(Ok(opening.database));
        Ok(())
    }

    fn show(&self, condition: Condition) {
        self.condition.send_if_modified(|shown| {
            let is_new = *shown != condition;
            *shown = condition;
            is_new
        });
    }
}

/// A database, and what the committer has to know of it.
struct Opened {
    opening: Opening,
    revision: Revision,
    log: FactLog,
    journal_bytes: u64,
}

fn open(disk: &mut dyn Disk) -> Result<Opened, StoreError> {
    let opened = disk.open();
    let path = disk.path();
    let opening = opened.map_err(|error| StoreError::of_engine(path, error))?;
    format::bring_up(&opening.database, path)?;
    let look = || -> Result<_, redb::Error> {
        let transaction = opening.database.begin_read()?;
        let revision = read::revision(&transaction)?;
        let log = FactLog::read(&transaction)?;
        Ok((revision, log, read::journal_bytes(&transaction)?))
    };
    let (revision, log, journal_bytes) =
        look().map_err(|error| StoreError::of_engine(path, error))?;
    Ok(Opened {
        opening,
        revision,
        log,
        journal_bytes,
    })
}
