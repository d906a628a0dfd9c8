//! The task that owns the engine.
//!
//! It takes all that waits, steps, writes what came of it in one call of the store and answers
//! when that is committed: questions too, so nobody is told what could still be lost. If the
//! commit fails, everybody hears so, and the engine begins again from what is stored.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use portolan_model::Revision;
use portolan_runtime::Env;
use portolan_store as store;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Answer, Counts, Engine, Input, LedgerError, Moment, Output, Step,
    place::{Place, bytes_of},
    shell::{Attach, Command, Found, Records},
    waiting::Waiters,
};

/// A group takes no more commands when it has so many bytes to write.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// After a failure, how long until the stored state is read again.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// How long commands wait for a ledger that is not open: while a program hands over to its
/// successor, neither has the store.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// What everybody may know at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// How often everything was read.
    pub(crate) loads: u64,
    pub(crate) counts: Counts,
}

pub(crate) struct Keeper {
    env: Env,
    began: std::time::Instant,
    place: Option<Place>,
    /// Why it is not known what is stored, if it is not.
    engine: Result<Engine, LedgerError>,
    /// What the engine knew of locks and nobody stores, while there is none.
    delays: BTreeMap<Arc<str>, Duration>,
    commands: mpsc::Receiver<Command>,
    stores: mpsc::Receiver<Attach>,
    /// Until when commands wait for a store, if there is none.
    open_until: std::time::Instant,
    waiters: Waiters,
    shown: watch::Sender<Shown>,
}

/// What a group has come to so far.
#[derive(Default)]
struct Group {
    due: Vec<Due>,
    steps: Vec<Step>,
    bytes: usize,
}

/// Somebody to answer after the commit.
enum Due {
    Step(Answer, oneshot::Sender<Result<Answer, LedgerError>>),
    Look(Output, Revision, oneshot::Sender<Found>),
}

impl Keeper {
    pub(crate) fn new(
        env: Env,
        seam: Option<Arc<dyn store::Ledger>>,
        (commands, stores): (mpsc::Receiver<Command>, mpsc::Receiver<Attach>),
        shown: watch::Sender<Shown>,
    ) -> Self {
        Self {
            began: env.instant(),
            place: seam.map(Place::new),
            engine: Err(LedgerError::Closed),
            delays: BTreeMap::new(),
            commands,
            stores,
            open_until: env.instant() + OPEN_WITHIN,
            env,
            waiters: Waiters::default(),
            shown,
        }
    }

    pub(crate) async fn run(mut self) {
        self.ensure_loaded().await;
        self.show();
        loop {
            let (wake, is_waiting) = (self.wake(), self.is_waiting());
            tokio::select! {
                Some((seam, reply)) = self.stores.recv() => {
                    self.attach(seam).await;
                    // Whoever has gone away is not missed.
                    let _gone = reply.send(());
                }
                command = self.commands.recv(), if !is_waiting => match command {
                    Some(command) => self.turn(Some(command)).await,
                    None => return,
                },
                () = wake => self.turn(None).await,
            }
            self.show();
        }
    }

    /// Whether commands wait for a store, in their order.
    fn is_waiting(&self) -> bool {
        self.place.is_none() && self.env.instant() < self.open_until
    }

    /// Waits until a session ends, or until it is time to read the stored state again.
    fn wake(&self) -> impl Future<Output = ()> + use<> {
        let (env, began) = (self.env.clone(), self.began);
        let deadline = match (&self.engine, &self.place) {
            // A time that no clock reaches never comes.
            (Ok(engine), _) => engine.deadline().and_then(|at| began.checked_add(at)),
            (Err(_), Some(_)) => Some(env.instant() + RELOAD_AFTER),
            (Err(_), None) => self.is_waiting().then_some(self.open_until),
        };
        async move {
            match deadline {
                Some(deadline) => env.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: self.env.instant().saturating_duration_since(self.began),
            at: self.env.now(),
        }
    }

    fn show(&self) {
        let counts = self
            .engine
            .as_ref()
            .map_or(Counts::default(), Engine::counts);
        self.shown.send_if_modified(|shown| {
            let is_news = shown.counts != counts;
            shown.counts = counts;
            is_news
        });
    }

    /// Reads what is stored, if it has to be and can be.
    async fn ensure_loaded(&mut self) {
        let (Err(_), Some(place)) = (&self.engine, &mut self.place) else {
            return;
        };
        let now = Moment {
            uptime: self.env.instant().saturating_duration_since(self.began),
            at: self.env.now(),
        };
        let read = place.load().await;
        let loaded = read.and_then(|records| Ok(Engine::restore(now, records)?));
        if let (Ok(_), Err(error)) = (&loaded, place.sweep().await) {
            tracing::warn!(%error, "what a restore left behind stays in the store");
        }
        if let Err(error) = &loaded {
            tracing::warn!(error = %whole(error), "ledger can't be read; trying again");
        }
        self.engine = loaded.map(|engine| engine.with_delays(self.delays.clone()));
        self.tell_all();
    }

    /// Everything may be another than it was.
    fn tell_all(&mut self) {
        if let Ok(engine) = &self.engine {
            self.waiters.wake_all(engine);
            self.shown.send_modify(|shown| {
                shown.loads += 1;
                shown.counts = engine.counts();
            });
        }
    }

    async fn turn(&mut self, first: Option<Command>) {
        self.ensure_loaded().await;
        let now = self.moment();
        let mut group = Group::default();
        if let Ok(engine) = &mut self.engine {
            group.take_step(engine.step(now, Input::Tick));
        }
        let mut next = first;
        // What is not a step or a question is done when what came before it is committed.
        let mut apart = None;
        while let Some(command) = next {
            apart = self.take(now, command, &mut group);
            let has_room = apart.is_none() && group.bytes < GROUP_BYTES_MAX;
            next = has_room.then(|| self.commands.try_recv().ok()).flatten();
        }
        self.finish(group).await;
        match apart {
            Some(Command::Replace(records, reply)) => {
                let replaced = self.replace(records).await;
                drop(reply.send(replaced));
            }
            Some(Command::Records(reply)) => {
                let engine = self.engine.as_ref().map_err(LedgerError::clone);
                drop(reply.send(engine.map(|engine| engine.records().collect())));
            }
            Some(Command::Step(..) | Command::Look(..) | Command::Wait(_)) | None => {}
        }
    }

    /// Takes a command, or gives back one that has to be done apart.
    fn take(&mut self, now: Moment, command: Command, group: &mut Group) -> Option<Command> {
        let engine = match &mut self.engine {
            Ok(engine) => engine,
            Err(why) => {
                let why = why.clone();
                return self.refuse(command, why);
            }
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
            command @ (Command::Records(_) | Command::Replace(..)) => return Some(command),
        }
        None
    }

    /// Answers with an error, where waiting does not help.
    fn refuse(&mut self, command: Command, why: LedgerError) -> Option<Command> {
        match command {
            Command::Step(_, reply) => drop(reply.send(Err(why))),
            Command::Look(_, reply) => drop(reply.send(Err(why))),
            // There will be an answer when there is an engine again.
            Command::Wait(waiter) => self.waiters.add(waiter),
            command @ (Command::Records(_) | Command::Replace(..)) => return Some(command),
        }
        None
    }

    async fn finish(&mut self, group: Group) {
        if let Err(error) = self.write(&group.steps).await {
            tracing::warn!(error = %whole(&error), "ledger could not be written; reading what is stored");
            for due in group.due {
                due.answer(Err(error.clone()));
            }
            self.give_up(error);
            return;
        }
        for due in group.due {
            due.answer(Ok(()));
        }
        if let Ok(engine) = &self.engine {
            self.waiters.wake(engine, &group.steps);
        }
    }

    async fn write(&self, steps: &[Step]) -> Result<(), LedgerError> {
        match &self.place {
            Some(place) => Ok(place.write(steps).await?),
            None if steps.is_empty() => Ok(()),
            None => Err(LedgerError::Closed),
        }
    }

    /// It is no longer known what is stored.
    fn give_up(&mut self, why: LedgerError) {
        if let Ok(engine) = &self.engine {
            self.delays = engine.delays();
        }
        self.engine = Err(why);
    }

    async fn attach(&mut self, seam: Option<Arc<dyn store::Ledger>>) {
        self.place = seam.map(Place::new);
        self.open_until = self.env.instant() + OPEN_WITHIN;
        self.give_up(LedgerError::Closed);
        self.ensure_loaded().await;
    }

    async fn replace(&mut self, records: Records) -> Result<(), LedgerError> {
        let engine = self.engine.as_ref().map_err(LedgerError::clone)?;
        let place = self.place.as_mut().ok_or(LedgerError::Closed)?;
        let now = Moment {
            uptime: self.env.instant().saturating_duration_since(self.began),
            at: self.env.now(),
        };
        let next = engine.replaced_by(now, records)?;
        if let Err(error) = place.rewrite(next.records()).await {
            let error = LedgerError::from(error);
            self.give_up(error.clone());
            return Err(error);
        }
        self.engine = Ok(next);
        self.tell_all();
        Ok(())
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

/// An error and its cause, in one line.
fn whole(error: &LedgerError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
