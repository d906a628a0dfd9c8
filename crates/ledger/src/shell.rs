//! One task that owns the engine, and the handle by which others speak to it.
//!
//! The task takes all that waits, steps, writes what came of it in one call of the store and
//! answers when that is committed: questions too, so nobody is told what could still be lost.
//! If the commit fails, everybody hears so, and the engine begins again from what is stored.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_model::Revision;
use portolan_runtime::{Env, Task};
use portolan_store::{
    self as store, LedgerKey, Operation, RANGE_MAX, Span, StoreError, Transaction,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Answer, BadRecord, Engine, Input, Moment, Output, Query, Step,
    waiting::{Waiter, Waiters},
};

/// Most commands that wait for the task; one more waits for its turn.
pub const COMMANDS_MAX: usize = 1_024;
/// Operations that are put into one transaction of the store.
const OPERATIONS_PER_TRANSACTION: usize = store::TRANSACTIONS_MAX;
/// Bytes of one call of the store.
const CALL_BYTES_MAX: usize = store::BATCH_BYTES_MAX / 2;
/// A group takes no more commands when it has so many bytes to write.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// After a failure, how long until the stored state is read again.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// A ledger that can't answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed; whether the write was applied is unknown, as with a lost connection.
    #[error("the ledger's store failed")]
    Store(#[source] StoreError),
    /// The store holds a record that is none of ours.
    #[error("the ledger's store can't be read")]
    Record(#[from] BadRecord),
    /// So many wait for changes already.
    #[error("{0} wait for changes already")]
    TooManyWaiters(usize),
    /// The task has ended.
    #[error("the ledger has stopped")]
    Stopped,
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Keys, sessions and locks. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Step(Input, oneshot::Sender<Result<Answer, LedgerError>>),
    Look(Query, oneshot::Sender<Found>),
    Wait(Waiter),
}

/// What a question is answered with.
pub(crate) type Found = Result<(Output, Revision), LedgerError>;

/// Somebody to answer after the commit.
enum Due {
    Step(Answer, oneshot::Sender<Result<Answer, LedgerError>>),
    Look(Output, Revision, oneshot::Sender<Found>),
}

impl Ledger {
    /// Reads what is stored and starts the task, which ends when it is dropped.
    ///
    /// # Errors
    /// [`LedgerError::Store`] and [`LedgerError::Record`].
    pub async fn start(
        env: &Env,
        seam: Arc<dyn store::Ledger>,
    ) -> Result<(Self, Task), LedgerError> {
        let began = env.instant();
        let engine = load(&*seam, moment(env, began)).await?;
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let keeper = Keeper {
            env: env.clone(),
            began,
            seam,
            engine: Ok(engine),
            delays: BTreeMap::new(),
            commands: receiver,
            waiters: Waiters::default(),
        };
        Ok((Self { commands }, env.spawn("ledger", keeper.run())))
    }

    /// Does something, and answers when it would survive a restart.
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

    async fn send(&self, command: Command) -> Result<(), LedgerError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| LedgerError::Stopped)
    }
}

struct Keeper {
    env: Env,
    began: std::time::Instant,
    seam: Arc<dyn store::Ledger>,
    /// Why it is not known what is stored, if it is not.
    engine: Result<Engine, LedgerError>,
    /// What the engine knew of locks and nobody stores, while there is none.
    delays: BTreeMap<Arc<str>, Duration>,
    commands: mpsc::Receiver<Command>,
    waiters: Waiters,
}

/// What a group has come to so far.
#[derive(Default)]
struct Group {
    due: Vec<Due>,
    steps: Vec<Step>,
    bytes: usize,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let wake = self.wake();
            let command = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
                () = wake => None,
            };
            self.turn(command).await;
        }
    }

    /// Waits until a session ends, or until it is time to read the stored state again.
    fn wake(&self) -> impl Future<Output = ()> + use<> {
        let (env, began) = (self.env.clone(), self.began);
        let deadline = match &self.engine {
            Ok(engine) => engine.deadline().map(|at| began + at),
            Err(_) => Some(env.instant() + RELOAD_AFTER),
        };
        async move {
            match deadline {
                Some(deadline) => env.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn turn(&mut self, first: Option<Command>) {
        let now = moment(&self.env, self.began);
        if self.engine.is_err() {
            let loaded = load(&*self.seam, now).await;
            self.engine = loaded.map(|engine| engine.with_delays(self.delays.clone()));
        }
        let mut group = Group::default();
        match &mut self.engine {
            Ok(engine) => group.take_step(engine.step(now, Input::Tick)),
            Err(why) => {
                let why = why.clone();
                return self.refuse(first, &why);
            }
        }
        let mut next = first;
        while let Some(command) = next {
            self.take(now, command, &mut group);
            let has_room = group.bytes < GROUP_BYTES_MAX;
            next = has_room.then(|| self.commands.try_recv().ok()).flatten();
        }
        self.finish(group).await;
    }

    fn take(&mut self, now: Moment, command: Command, group: &mut Group) {
        let Ok(engine) = &mut self.engine else {
            return;
        };
        match command {
            Command::Step(input, reply) => {
                let mut step = engine.step(now, input);
                let answer = mem::replace(&mut step.answer, Answer::Done(true));
                group.due.push(Due::Step(answer, reply));
                group.take_step(step);
            }
            Command::Look(query, reply) => {
                let (output, index) = engine.look(&query);
                group.due.push(Due::Look(output, index, reply));
            }
            Command::Wait(waiter) => {
                let (output, index) = engine.look(&waiter.query);
                if index > waiter.index {
                    group.due.push(Due::Look(output, index, waiter.reply));
                } else {
                    self.waiters.add(waiter);
                }
            }
        }
    }

    async fn finish(&mut self, group: Group) {
        if let Err(error) = self.write(&group.steps).await {
            let error = LedgerError::from(error);
            tracing::warn!(%error, "ledger could not be written; reading what is stored");
            for due in group.due {
                due.answer(Err(error.clone()));
            }
            if let Ok(engine) = &self.engine {
                self.delays = engine.delays();
            }
            self.engine = Err(error);
            return;
        }
        for due in group.due {
            due.answer(Ok(()));
        }
        if let Ok(engine) = &self.engine {
            self.waiters.wake(engine, &group.steps);
        }
    }

    async fn write(&self, steps: &[Step]) -> Result<(), StoreError> {
        for call in calls_of(steps) {
            self.seam.transact(call).await?;
        }
        Ok(())
    }

    /// Answers everybody who waits with an error.
    fn refuse(&mut self, first: Option<Command>, why: &LedgerError) {
        let mut next = first;
        while let Some(command) = next {
            match command {
                Command::Step(_, reply) => drop(reply.send(Err(why.clone()))),
                Command::Look(_, reply) => drop(reply.send(Err(why.clone()))),
                Command::Wait(waiter) => drop(waiter.reply.send(Err(why.clone()))),
            }
            next = self.commands.try_recv().ok();
        }
    }
}

impl Group {
    fn take_step(&mut self, step: Step) {
        if step.writes.is_empty() {
            return;
        }
        self.bytes += step.writes.iter().map(bytes_of).sum::<usize>();
        self.steps.push(step);
    }
}

impl Due {
    fn answer(self, committed: Result<(), LedgerError>) {
        // Whoever has gone away is not missed.
        match self {
            Self::Step(answer, reply) => drop(reply.send(committed.map(|()| answer))),
            Self::Look(output, index, reply) => {
                drop(reply.send(committed.map(|()| (output, index))));
            }
        }
    }
}

fn bytes_of(operation: &Operation) -> usize {
    match operation {
        Operation::Put(key, value) => key.as_bytes().len() + value.len(),
        Operation::Delete(key) | Operation::DeletePrefix(key) => key.as_bytes().len(),
    }
}

/// One call of the store is one commit, however many transactions it has. Only a session that
/// ends while it holds many large values takes more than one.
fn calls_of(steps: &[Step]) -> Vec<Vec<Transaction>> {
    let mut calls: Vec<Vec<Transaction>> = Vec::new();
    let mut bytes = CALL_BYTES_MAX;
    for operation in steps.iter().flat_map(|step| &step.writes) {
        let size = bytes_of(operation);
        if bytes + size > CALL_BYTES_MAX {
            calls.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(call) = calls.last_mut() {
            add(call, operation.clone());
        }
    }
    calls
}

fn add(call: &mut Vec<Transaction>, operation: Operation) {
    match call.last_mut() {
        Some(last) if last.operations.len() < OPERATIONS_PER_TRANSACTION => {
            last.operations.push(operation);
        }
        _ => call.push(Transaction {
            requirements: Vec::new(),
            operations: vec![operation],
        }),
    }
}

fn moment(env: &Env, began: std::time::Instant) -> Moment {
    Moment {
        uptime: env.instant().saturating_duration_since(began),
        at: env.now(),
    }
}

async fn load(seam: &dyn store::Ledger, now: Moment) -> Result<Engine, LedgerError> {
    let mut records: Vec<(LedgerKey, Bytes)> = Vec::new();
    loop {
        let span = Span {
            prefix: LedgerKey::default(),
            after: records.last().map(|(key, _)| key.clone()),
            limit: RANGE_MAX,
        };
        let page = seam.range(span).await?;
        let found = page.records.into_iter();
        records.extend(found.map(|(key, record)| (key, record.value)));
        if !page.has_more {
            return Ok(Engine::restore(now, records)?);
        }
    }
}
