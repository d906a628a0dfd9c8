//! What waits for the committing thread.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portolan_model::Timestamp;
use tokio::sync::oneshot;

use crate::{Batch, Outcome, StoreError, Transaction};

/// Most writes that wait for the disk; one more is refused.
pub const WAITING_JOBS_MAX: usize = 16_384;
/// Most bytes that wait for the disk; what does not fit is refused.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Most jobs that are committed together.
const GROUP_JOBS_MAX: usize = 4_096;
/// A group is not added to when it has so many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How long a group waits to become as large as the one before it. Whoever was just answered is
/// about to come again; without this the first to come would pay for a sync alone.
const GATHERING: Duration = Duration::from_micros(200);

/// When a job was called for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
}

#[derive(Debug)]
pub(super) enum Work {
    Facts(Batch),
    Ledger(Vec<Transaction>),
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Facts(batch) => batch.bytes(),
            Self::Ledger(transactions) => transactions.iter().map(Transaction::bytes).sum(),
        }
    }
}

/// What a job has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    Facts,
    Ledger(Vec<Outcome>),
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) at: Moment,
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Done, StoreError>>,
}

impl Job {
    pub(super) fn answer(self, done: Result<Done, StoreError>) {
        // Whoever has gone away loses the answer and not the commit.
        let _unheard = self.reply.send(done);
    }
}

/// What the committing thread finds.
#[derive(Debug)]
pub(super) enum Taken {
    /// A group to commit, never empty.
    Jobs(Vec<Job>),
    /// Nothing came for as long as it was willing to wait.
    Nothing,
    /// Nothing is left, and nothing will come.
    Closed,
}

/// The lock guards the list of waiting jobs; it is held to push one or to take a group.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    is_closed: bool,
    /// How many jobs the committing thread waits for; it is woken when there are so many.
    wanted: usize,
}

impl Queue {
    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let bytes = job.work.bytes();
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        if waiting.jobs.len() >= WAITING_JOBS_MAX || waiting.bytes + bytes > WAITING_BYTES_MAX {
            return Err(StoreError::Busy {
                waiting: waiting.jobs.len(),
            });
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(job);
        let is_enough = waiting.jobs.len() == waiting.wanted.max(1);
        drop(waiting);
        if is_enough {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Refuses what comes from now on; what waits is still taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.bell.notify_one();
    }

    /// Takes a group, waiting for one no longer than `patience`. A group that is smaller than
    /// `wanted` is waited for a little.
    pub(super) fn take(&self, patience: Option<Duration>, wanted: usize) -> Taken {
        let mut waiting = self.lock();
        waiting.wanted = 1;
        waiting = match patience {
            None => self
                .bell
                .wait_while(waiting, |waiting| waiting.is_short())
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => self.wait(waiting, patience),
        };
        if !waiting.jobs.is_empty() {
            waiting.wanted = wanted.min(GROUP_JOBS_MAX);
            waiting = self.wait(waiting, GATHERING);
        }
        let jobs = waiting.take();
        match (jobs.is_empty(), waiting.is_closed) {
            (false, _) => Taken::Jobs(jobs),
            (true, true) => Taken::Closed,
            (true, false) => Taken::Nothing,
        }
    }

    fn wait<'a>(
        &'a self,
        waiting: MutexGuard<'a, Waiting>,
        patience: Duration,
    ) -> MutexGuard<'a, Waiting> {
        self.bell
            .wait_timeout_while(waiting, patience, |waiting| waiting.is_short())
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_short(&self) -> bool {
        self.jobs.len() < self.wanted.max(1) && !self.is_closed
    }

    fn take(&mut self) -> Vec<Job> {
        let (mut count, mut bytes) = (0, 0);
        for job in self.jobs.iter().take(GROUP_JOBS_MAX) {
            count += 1;
            bytes += job.work.bytes();
            if bytes >= GROUP_BYTES_MAX {
                break;
            }
        }
        self.bytes -= bytes;
        self.jobs.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::{Name, ServiceKey};
    use portolan_runtime::Env;

    use super::*;
    use crate::FactKey;

    fn job(env: &Env, bytes: usize) -> Job {
        let key = FactKey {
            kind: Name::parse("k").unwrap(),
            service: ServiceKey::parse("n/s").unwrap(),
            id: None,
        };
        let mut batch = Batch::new();
        batch.put(key, vec![0; bytes - 3]);
        let at = Moment {
            now: env.now(),
            instant: env.instant(),
        };
        Job {
            at,
            work: Work::Facts(batch),
            reply: oneshot::channel().0,
        }
    }

    fn taken(queue: &Queue) -> usize {
        match queue.take(Some(Duration::ZERO), 1) {
            Taken::Jobs(jobs) => jobs.len(),
            Taken::Nothing => 0,
            Taken::Closed => panic!("closed"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_are_refused_one_past_the_limit() {
        let (env, queue) = (Env::virtual_time(1), Queue::default());
        for _ in 0..WAITING_JOBS_MAX {
            queue.push(job(&env, 3)).unwrap();
        }
        let refused = queue.push(job(&env, 3));
        assert!(
            matches!(refused, Err(StoreError::Busy { waiting }) if waiting == WAITING_JOBS_MAX)
        );
        assert_eq!(taken(&queue), GROUP_JOBS_MAX);
        assert!(queue.push(job(&env, 3)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_refused_one_past_the_limit() {
        let (env, queue) = (Env::virtual_time(1), Queue::default());
        for _ in 0..8 {
            queue.push(job(&env, WAITING_BYTES_MAX / 8)).unwrap();
        }
        assert!(matches!(
            queue.push(job(&env, 3)),
            Err(StoreError::Busy { .. })
        ));
        assert_eq!(taken(&queue), 1, "a group ends with the job that fills it");
        assert!(queue.push(job(&env, WAITING_BYTES_MAX / 8)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
        let (env, queue) = (Env::virtual_time(1), Queue::default());
        queue.push(job(&env, 3)).unwrap();
        queue.close();
        assert!(matches!(queue.push(job(&env, 3)), Err(StoreError::Closed)));
        assert_eq!(taken(&queue), 1);
        assert!(matches!(queue.take(None, 1), Taken::Closed));
    }
}
