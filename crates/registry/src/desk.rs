//! The shell of the engine: one task owns it and speaks for it to the catalogue.

use std::{
    sync::{Arc, MutexGuard, Weak},
    time::{Duration, Instant},
};

use portolan_catalog::{Bequest, Catalog, Inbox, InboxClosed, Seen, Ticket};
use portolan_model::{Change, Departure, Instance, SourceId};
use portolan_runtime::{Env, Running};
use portolan_store::Later;
use tokio::sync::mpsc;

use crate::{
    Follow, Parts, Reader, Stored,
    command::{Asked, Command, Reply},
    core::{Answer, CheckOrder, Engine, Fact, Handed, Input, Moment, Step, Subject},
    keeper::{self, Keeper, Reached},
    shared::Shared,
    signs::{Sighted, sign_of},
};

/// How often the store is rid of leases that nobody holds any more.
const GHOSTS_LAID: Duration = Duration::from_secs(1);
/// Commands that are served in one go, before the clock is looked at again.
const COMMANDS_AT_ONCE: usize = 256;

/// The task that owns the engine.
pub struct Desk {
    env: Env,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Arc<Inbox>,
    reader: Arc<dyn Reader>,
    commands: mpsc::Receiver<Command>,
    orders: mpsc::UnboundedSender<CheckOrder>,
    pub(crate) keeper: Option<Keeper>,
    /// What the store held when the process began.
    inherited: Option<Handed>,
}

impl Desk {
    pub(crate) fn new(
        parts: Parts,
        commands: mpsc::Receiver<Command>,
        orders: mpsc::UnboundedSender<CheckOrder>,
    ) -> Self {
        let inherited = parts
            .stored
            .as_ref()
            .map(|stored| keeper::read(&stored.loaded));
        Self {
            keeper: parts.stored.and_then(|stored| Keeper::new(stored.facts)),
            inherited,
            shared: Arc::new(Shared::new(parts.env.clone(), parts.bounds)),
            env: parts.env,
            inbox: Arc::new(parts.inbox),
            reader: parts.reader,
            commands,
            orders,
        }
    }

    /// Where it speaks, for as long as it does.
    pub(crate) fn inbox(&self) -> Weak<Inbox> {
        Arc::downgrade(&self.inbox)
    }

    /// The engine, for signs of life.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.shared.engine()
    }

    /// Runs until all handles or the inbox are gone.
    #[must_use]
    pub fn run(self) -> Running {
        Box::pin(self.work())
    }

    async fn work(mut self) {
        // `None` once nothing will be published any more.
        let mut follow = Some(self.reader.follow());
        if self.introduce().await.is_err() {
            return;
        }
        loop {
            if self.keeper.as_ref().is_some_and(Keeper::is_behind) {
                self.rewrite().await;
            }
            let deadline = self.next_deadline();
            let done = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.serve(command).await,
                    None => return,
                },
                () = published(&mut follow) => {
                    self.run_ahead();
                    Ok(())
                }
                () = recovered(&mut self.keeper) => {
                    self.rewrite().await;
                    Ok(())
                }
                () = self.env.sleep_until(deadline) => self.tick().await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Serves a command, and those that are lined up behind it.
    async fn serve(&mut self, first: Command) -> Result<(), InboxClosed> {
        let mut next = Some(first);
        let mut served = 0;
        while let Some(command) = next {
            match command {
                Command::Ask(asked) => self.take(asked).await?,
                Command::CatchUp(subject, reply) => self.catch_up(subject, reply).await?,
                Command::LastHeard(subjects, reply) => self.tell_last_heard(&subjects, reply),
                Command::Attach(stored, done) => {
                    self.attach(stored).await;
                    // Whoever asked may have gone away.
                    let _asked = done.send(());
                }
            }
            served += 1;
            // What is taken out of the line is served, so nothing is beyond the limit.
            let may_go_on = served < COMMANDS_AT_ONCE;
            next = may_go_on.then(|| self.commands.try_recv().ok()).flatten();
        }
        Ok(())
    }

    fn next_deadline(&self) -> Instant {
        let idle = Duration::from_hours(1);
        let wake = self.engine().next_deadline();
        let deadline = wake.map_or_else(
            || self.env.instant() + idle,
            |uptime| self.shared.instant(uptime),
        );
        let has_work = |keeper: &Keeper| keeper.has_ghosts() || keeper.is_behind();
        if self.keeper.as_ref().is_some_and(has_work) {
            deadline.min(self.env.instant() + GHOSTS_LAID)
        } else {
            deadline
        }
    }

    /// Says that there is a registry, with what a store held of it. Commands wait, so that
    /// nothing that is known already is taken back by it and nobody who is stored is told
    /// to register.
    async fn introduce(&mut self) -> Result<(), InboxClosed> {
        let mut step = match self.inherited.take() {
            Some(handed) => self.step(Input::Adopt(Box::new(handed))),
            None => Step::default(),
        };
        if step.changes.is_empty() {
            step.changes.push(Change::Reset {
                services: Vec::new(),
                instances: Vec::new(),
            });
        }
        let (ticket, _) = self.speak(None, step).await?;
        if let Some(ticket) = ticket {
            ticket.await?;
        }
        self.shared.introduce();
        Ok(())
    }

    /// Takes another store, or none, in place of the one that is there: it will hold what
    /// is in memory.
    async fn attach(&mut self, stored: Option<Stored>) {
        self.shared.unsettle();
        self.keeper = stored.and_then(|stored| Keeper::new(stored.facts));
        let held = self.held(&self.reader.catalog());
        if let Some(keeper) = &mut self.keeper {
            keeper.spare(held.iter().map(|instance| Subject::of(instance)));
        }
        self.rewrite().await;
    }

    async fn rewrite(&mut self) {
        let (reached, facts) = (self.reached(), self.engine().facts());
        if let Some(keeper) = &mut self.keeper {
            keeper.rewrite(facts, reached).await;
        }
    }

    fn run_ahead(&mut self) {
        let reached = self.reached();
        if let Some(keeper) = &mut self.keeper {
            keeper.run_ahead(reached);
        }
    }

    pub(crate) fn reached(&self) -> Reached {
        Reached {
            revision: self.reader.revision(),
            now: self.env.now(),
        }
    }

    async fn take(&mut self, asked: Asked) -> Result<(), InboxClosed> {
        let Asked {
            input,
            actor,
            reply,
        } = asked;
        let leaver = match &input {
            Input::Deregister(subject) | Input::Leave(subject, _) => Some(subject.clone()),
            Input::Register(_)
            | Input::Renew(..)
            | Input::RenewAll(_)
            | Input::Patch(..)
            | Input::Recheck(..)
            | Input::Rule(..)
            | Input::Rulings
            | Input::Drained(..)
            | Input::Judge(..)
            | Input::Tick
            | Input::Rebound(_)
            | Input::Export
            | Input::Resume
            | Input::Adopt(_) => None,
        };
        let sign = sign_of(&input);
        let repeated = repeated_by(&input);
        let mut step = self.step(input);
        self.pass_on(sign, &step.answer).await?;
        if let (Some(subject), Answer::Unknown) = (leaver, &step.answer)
            && self.is_held(&subject)
        {
            let departure = Departure::Explicit;
            step.facts.push(Fact::NoLease(subject.clone(), departure));
            step.changes.push(Change::Remove {
                key: subject.key,
                id: subject.id,
                departure,
            });
            step.answer = Answer::Removed;
        }
        if let Answer::Exported(handed) = &mut step.answer {
            self.export_catalogue(handed).await?;
        }
        let answer = std::mem::replace(&mut step.answer, Answer::Done);
        let is_repeated = step.facts.is_empty()
            && repeated.is_some_and(|subject| !self.shared.is_settled(&subject));
        let said = if is_repeated {
            // It changes nothing, but what it says once more may not be stored yet.
            self.all_said(answer).await?
        } else {
            let (ticket, stored) = self.speak(actor, step).await?;
            Reply::new(answer, ticket, stored)
        };
        // Whoever asked may have gone away.
        let _asked = reply.send(said);
        Ok(())
    }

    /// Tells the guard about signs of instances whose lease has ended: they are there, or
    /// not, whatever the registry knows of them.
    async fn pass_on(&self, sign: Option<Sighted>, answer: &Answer) -> Result<(), InboxClosed> {
        let (subjects, sign) = match (sign, answer) {
            (Some((Some(subject), sign)), Answer::Unknown) => (vec![subject], sign),
            (Some((None, sign)), Answer::Missing(subjects)) => (subjects.clone(), sign),
            _ => return Ok(()),
        };
        for subject in subjects {
            if self.is_held(&subject) {
                let Subject { key, id } = subject;
                self.inbox.sight(Seen { key, id, sign }).await?;
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), InboxClosed> {
        let step = self.step(Input::Tick);
        self.speak(None, step).await?;
        let (catalog, reached) = (self.reader.catalog(), self.reached());
        let source = self.inbox.source();
        if let Some(keeper) = &mut self.keeper {
            keeper.lay(reached, |subject| is_known(&catalog, source, subject));
        }
        Ok(())
    }

    /// Passes on what followed from a step; the ticket is that of the last change, and the
    /// facts are in the store once the other has come.
    async fn speak(
        &mut self,
        actor: Option<Arc<str>>,
        step: Step,
    ) -> Result<(Option<Ticket>, Option<Later<()>>), InboxClosed> {
        for order in step.orders {
            // Without a prober nobody checks.
            let _prober = self.orders.send(order);
        }
        let mut ticket = None;
        // Before the instances: nobody may be seen for a moment without what was ruled.
        for ruled in step.rulings {
            ticket = Some(self.inbox.rule(actor.clone(), ruled).await?);
        }
        for change in step.changes {
            ticket = Some(self.inbox.post(actor.clone(), change).await?);
        }
        if let Some(bequest) = step.bequest {
            ticket = Some(self.inbox.bequeath(bequest).await?);
        }
        let reached = self.reached();
        let keeper = self.keeper.as_mut();
        let stored = keeper.and_then(|keeper| keeper.keep(&step.facts, reached));
        Ok((ticket, stored))
    }

    /// Adds what the catalogue alone knows: who is held although the lease has ended, and
    /// which services have no instance.
    async fn export_catalogue(&self, handed: &mut Handed) -> Result<(), InboxClosed> {
        // It says nothing, but once it is visible, so is all that was said before.
        self.inbox.bequeath(Bequest::default()).await?.await?;
        let catalog = self.reader.catalog();
        handed.suspects.extend(self.held(&catalog));
        let empty = catalog
            .services()
            .filter(|service| service.instances.is_empty());
        handed
            .services
            .extend(empty.map(|service| service.key.clone()));
        Ok(())
    }

    /// Our instances whose lease has ended, and that the guard holds.
    fn held(&self, catalog: &Catalog) -> Vec<Arc<Instance>> {
        let all = catalog
            .services()
            .flat_map(|service| service.instances.iter());
        let own = all.filter(|instance| instance.source == *self.inbox.source());
        let mut held: Vec<_> = own.cloned().collect();
        let engine = self.engine();
        held.retain(|instance| !engine.has(&Subject::of(instance)));
        held
    }

    /// Whether the instance's lease has ended, but the guard still holds it.
    fn is_held(&self, subject: &Subject) -> bool {
        is_known(&self.reader.catalog(), self.inbox.source(), subject)
    }

    fn step(&self, input: Input) -> Step {
        self.engine().step(self.now(), input)
    }

    fn now(&self) -> Moment {
        self.shared.now()
    }
}

/// Whether readers see an instance of that source.
fn is_known(catalog: &Catalog, source: &SourceId, subject: &Subject) -> bool {
    let service = catalog.service(&subject.key);
    let mut instances = service.into_iter().flat_map(|service| &service.instances);
    instances.any(|instance| instance.id == subject.id && instance.source == *source)
}

/// Whom an input is about that may say what is known already.
fn repeated_by(input: &Input) -> Option<Subject> {
    let (Input::Renew(subject, Some(_)) | Input::Patch(subject, _)) = input else {
        return None;
    };
    Some(subject.clone())
}

/// Resolves when something was published; never once nothing will be.
async fn published(follow: &mut Option<Box<dyn Follow>>) {
    if let Some(following) = follow
        && following.next().await.is_some()
    {
        return;
    }
    *follow = None;
    std::future::pending::<()>().await;
}

/// Resolves when the store has to be written anew; never without a store.
async fn recovered(keeper: &mut Option<Keeper>) {
    match keeper {
        Some(keeper) => keeper.recovered().await,
        None => std::future::pending().await,
    }
}
