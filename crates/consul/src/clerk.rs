//! Writes of this front: from the book to the registry and the ledger, in one order.
//!
//! The book is behind a lock that guards nothing else and is held for no await. What is
//! decided under it is sent to the two before it is let go, so that the registry
//! hears of two changes of a service in the order in which they were decided; waiting for
//! them to be visible comes after.

use std::{
    collections::BTreeMap,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use portolan_catalog::Catalog;
use portolan_dialects::consul::{
    Held, Maintenance, NodeDefinition, Record, Refusal, Registered, instance_id, service_key,
};
use portolan_ledger::{Answer, Input, Ledger, LedgerError};
use portolan_model::{Instance, Override, Ruling};
use portolan_runtime::Env;
use tokio::sync::{Notify, watch};

use super::{
    book::{Book, millis},
    terms::{Fact, Key, Nodes, Touched},
};
use portolan_registry::{
    Registry, RegistryError,
    core::{self, Subject},
};

/// How long a service stays without its front: it lives until it is deregistered, so the
/// front renews it long before.
pub(super) const LEASE: Duration = Duration::from_hours(24);
/// How long a deregistration waits for requests to end.
const DRAIN: Duration = Duration::from_secs(2);
/// Who rules when a client of Consul asks for maintenance.
const ACTOR: &str = "consul";

/// A write that the registry or the ledger has, and that is not visible or not stored yet.
pub(super) type Writing = Pin<Box<dyn Future<Output = Result<(), WriteError>> + Send>>;

/// A write that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Refused(#[from] portolan_ledger::Refusal),
}

pub(super) struct Clerk {
    /// Guards the book; held for no await.
    book: Mutex<Book>,
    registry: Registry,
    ledger: Ledger,
    env: Env,
    began: Instant,
    /// Rings when the next alarm may have come nearer.
    pub(super) hurry: Notify,
    /// Wakes whoever reads nodes.
    nodes: watch::Sender<()>,
}

impl Clerk {
    pub(super) fn new(registry: Registry, ledger: Ledger, env: Env) -> Self {
        Self {
            book: Mutex::default(),
            registry,
            ledger,
            began: env.instant(),
            env,
            hurry: Notify::new(),
            nodes: watch::Sender::new(()),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uptime, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        millis(self.env.instant().saturating_duration_since(self.began))
    }

    pub(super) fn at(&self, uptime: u64) -> Instant {
        self.began + Duration::from_millis(uptime)
    }

    pub(super) fn watch_nodes(&self) -> watch::Receiver<()> {
        self.nodes.subscribe()
    }

    pub(super) fn catalog(&self) -> Catalog {
        self.registry.reader().catalog()
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An instance with what was heard of its checks since the catalogue was told.
    pub(super) fn seen(&self, instance: &Arc<Instance>) -> Registered {
        let mut seen = Registered::of(instance);
        if let Some(known) = self.book().record(&Key::of(&seen.record))
            && seen.is_ours
            && known.service.name == seen.record.service.name
        {
            seen.record.checks.clone_from(&known.checks);
        }
        seen
    }

    /// Registers a service, in place of what has its id.
    pub(super) fn register(&self, record: Record, replaces: bool) -> Result<Vec<Writing>, Refusal> {
        let mut book = self.book();
        // What the model can't name is refused before anything changes.
        record.describe(self.registry.source())?;
        let key = Key::of(&record);
        let moved = book.register(self.now(), record, replaces);
        let mut writings = vec![self.put(&book, &key)?];
        if let Some(moved) = moved {
            writings.push(self.leave(&moved)?);
        }
        self.hurry.notify_one();
        Ok(writings)
    }

    /// Deregisters a service. None if there is none.
    pub(super) fn deregister(&self, key: &Key) -> Result<Option<Vec<Writing>>, Refusal> {
        if self.book().record(key).is_none() {
            self.adopt_missing();
        }
        let mut book = self.book();
        let Some(record) = book.deregister(self.now(), key) else {
            return Ok(None);
        };
        drop(book);
        let mut writings = vec![self.leave(&record)?];
        writings.extend(self.end_maintenance(&record)?);
        Ok(Some(writings))
    }

    /// Changes the book, and tells what came of it.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Book, u64) -> Result<Touched, Refusal>,
    ) -> Result<Vec<Writing>, Refusal> {
        let mut book = self.book();
        let touched = change(&mut book, self.now())?;
        self.hurry.notify_one();
        Ok(self.tell(&mut book, touched)?.into_iter().collect())
    }

    /// Tells the catalogue or whoever reads nodes.
    pub(super) fn tell(
        &self,
        book: &mut Book,
        touched: Touched,
    ) -> Result<Option<Writing>, Refusal> {
        match touched {
            Touched::Service(key) => self.put(book, &key).map(Some),
            Touched::Node(facts) => {
                book.touch(self.catalog().revision().as_u64());
                self.nodes.send_replace(());
                Ok((!facts.is_empty()).then(|| self.keep(book, &facts)))
            }
            Touched::Kept(facts) => Ok(Some(self.keep(book, &facts))),
            Touched::Nothing => Ok(None),
        }
    }

    /// Has the ledger keep what nodes are now.
    fn keep(&self, book: &mut Book, facts: &[Fact]) -> Writing {
        book.count_facts();
        let nodes: Arc<Nodes> = book.nodes();
        let alterations = facts.iter().map(|fact| fact.alteration(&nodes));
        let input = Input::Alter(alterations.collect());
        let ledger = self.ledger.clone();
        begin(async move {
            match ledger.step(input).await? {
                Answer::Refused(refused) => Err(refused.into()),
                Answer::Done(_) | Answer::Session(_) | Answer::Txn(_) => Ok(()),
            }
        })
    }

    /// Shows nodes as the ledger has them, unless it was told of one since it was told so often.
    pub(super) fn replace_nodes(
        &self,
        told: u64,
        (known, checks): (BTreeMap<String, (NodeDefinition, u64)>, BTreeMap<Key, Held>),
    ) -> bool {
        let mut book = self.book();
        if book.facts_told() != told {
            return false;
        }
        book.set_nodes(self.now(), known, checks);
        book.touch(self.catalog().revision().as_u64());
        drop(book);
        self.nodes.send_replace(());
        self.hurry.notify_one();
        true
    }

    fn put(&self, book: &Book, key: &Key) -> Result<Writing, Refusal> {
        let record = book
            .record(key)
            .ok_or_else(|| Refusal::unknown_service(&key.id))?;
        let mut described = record.describe(self.registry.source())?;
        described.ttl = Some(LEASE);
        let registry = self.registry.clone();
        Ok(begin(async move {
            let kept = registry.register(Some(actor()), described.clone()).await;
            let Err(RegistryError::Refused(core::Refusal::Ttl { max, .. })) = kept else {
                return Ok(kept.map(|_| ())?);
            };
            described.ttl = Some(max);
            registry.register(Some(actor()), described).await?;
            Ok(())
        }))
    }

    fn leave(&self, record: &Record) -> Result<Writing, Refusal> {
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        Ok(begin(async move {
            let left = registry
                .deregister(Some(actor()), subject, Some(DRAIN))
                .await;
            match left {
                // Somebody was faster.
                Ok(_) | Err(RegistryError::Unknown) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }))
    }

    /// Takes a service out, or puts it back.
    pub(super) fn maintain(
        &self,
        key: &Key,
        maintenance: &Maintenance,
    ) -> Result<Vec<Writing>, Refusal> {
        if self.book().record(key).is_none() {
            self.adopt_missing();
        }
        let book = self.book();
        let record = book
            .record(key)
            .ok_or_else(|| Refusal::unknown_service(&key.id))?;
        let writing = match maintenance {
            Maintenance::On(reason) => Some(self.rule(record, Some(reason))?),
            Maintenance::Off => self.end_maintenance(record)?,
        };
        Ok(writing.into_iter().collect())
    }

    /// Ends maintenance, if a client of Consul asked for it.
    fn end_maintenance(&self, record: &Record) -> Result<Option<Writing>, Refusal> {
        let is_ours = self.ruling(record)?.is_some_and(|ruling| {
            ruling.traffic == Override::Maintenance && ruling.actor.as_deref() == Some(ACTOR)
        });
        if !is_ours {
            return Ok(None);
        }
        self.rule(record, None).map(Some)
    }

    fn ruling(&self, record: &Record) -> Result<Option<Arc<Ruling>>, Refusal> {
        let Subject { key, id } = subject(record)?;
        let catalog = self.catalog();
        let service = catalog.service(&key);
        let mut instances = service.into_iter().flat_map(|service| &service.instances);
        let instance = instances.find(|instance| instance.id == id);
        Ok(instance.and_then(|instance| instance.state.ruling.clone()))
    }

    /// Rules that a service is out for that reason, or no longer is. A weight that an
    /// operator gave it stays.
    fn rule(&self, record: &Record, reason: Option<&String>) -> Result<Writing, Refusal> {
        let weight = self.ruling(record)?.and_then(|ruling| ruling.weight);
        let ruling = (reason.is_some() || weight.is_some()).then(|| Ruling {
            traffic: match reason {
                Some(_) => Override::Maintenance,
                None => Override::None,
            },
            weight,
            reason: reason.map(|reason| reason.as_str().into()),
            actor: Some(actor()),
            at: self.env.now(),
        });
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        Ok(begin(async move {
            match registry.rule(Some(actor()), subject, ruling).await {
                Ok(_) | Err(RegistryError::NoRuling) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }))
    }

    /// Takes in services that the catalogue has and the book has not: those of a
    /// predecessor of this process, or of a store.
    pub(super) fn adopt_missing(&self) {
        let catalog = self.catalog();
        let mut book = self.book();
        let now = self.now();
        for service in catalog.services() {
            for instance in &service.instances {
                // Reading a record costs more than looking for it.
                let is_ours = instance.source == *self.registry.source();
                if !is_ours || instance.state.leaving || book.knows(&Subject::of(instance)) {
                    continue;
                }
                if let Some(record) = Record::of(instance) {
                    book.adopt(now, record);
                }
            }
        }
    }
}

/// Sends a write at once and gives back what is left to wait for.
fn begin(writing: impl Future<Output = Result<(), WriteError>> + Send + 'static) -> Writing {
    let mut writing: Writing = Box::pin(writing);
    match writing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => Box::pin(ready(done)),
        Poll::Pending => writing,
    }
}

fn actor() -> Arc<str> {
    ACTOR.into()
}

pub(super) fn subject(record: &Record) -> Result<Subject, Refusal> {
    Ok(Subject {
        key: service_key(&record.service.name)?,
        id: instance_id(&record.service.id, record.node.as_deref())?,
    })
}
