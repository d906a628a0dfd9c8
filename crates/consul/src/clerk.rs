//! Writes of this front: from the book to the registry and the ledger, in one order.
//!
//! The book is behind a lock that guards nothing else and is held for no await. What is
//! decided under it is sent to the two before it is let go, so that the registry
//! hears of two changes of a service in the order in which they were decided; waiting for
//! them to be visible comes after.

mod maintenance;
mod nodes;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use portolan_catalog::Catalog;
use portolan_dialects::{
    consul::{CheckDefinition, RECORD_KEY, Record, Refusal, Registered},
    native::Described,
};
use portolan_ledger::{Ledger, LedgerError};
use portolan_model::Instance;
use portolan_runtime::Env;
use tokio::sync::watch;

use super::{
    Programs,
    book::{Book, millis},
    found::found,
    terms::{Holder, Key, Touched},
};
use nodes::fact_of;
use portolan_registry::{
    Registry, RegistryError,
    check::Checks,
    core::{self, Recheck, Report, Subject},
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
    checks: Checks,
    programs: Programs,
    /// The name of the agent's own node.
    home: String,
    env: Env,
    began: Instant,
    /// Wakes whoever reads nodes.
    nodes: watch::Sender<()>,
}

/// What a clerk works with.
pub(super) struct Desk {
    pub(super) registry: Registry,
    pub(super) ledger: Ledger,
    pub(super) checks: Checks,
    pub(super) programs: Programs,
    /// The name of the agent's own node.
    pub(super) home: String,
    pub(super) env: Env,
}

impl Clerk {
    pub(super) fn new(desk: Desk) -> Self {
        let Desk {
            registry,
            ledger,
            checks,
            programs,
            home,
            env,
        } = desk;
        Self {
            book: Mutex::default(),
            registry,
            ledger,
            checks,
            programs,
            home,
            began: env.instant(),
            env,
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

    pub(super) const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// An instance with what its checks found.
    pub(super) fn seen(&self, instance: &Arc<Instance>) -> Registered {
        let states = self.checks.of(&Subject::of(instance));
        Registered::of(instance).with(states.iter().map(found).collect())
    }

    /// Registers a service, in place of what has its id.
    pub(super) fn register(
        &self,
        mut record: Record,
        replaces: bool,
    ) -> Result<Vec<Writing>, Refusal> {
        for check in &mut record.checks {
            self.admit(check)?;
        }
        let mut book = self.book();
        let (record, moved) = book.merged(record, replaces);
        // What the model can't name is refused before anything changes.
        let described = record.describe(self.registry.source())?;
        let touched = book.adopt(record);
        let mut writings = vec![self.put(described)];
        if let Some(moved) = moved {
            writings.push(self.leave(&moved)?);
        }
        writings.extend(self.tell(&mut book, touched)?);
        Ok(writings)
    }

    /// Registers a check of a service or of a node.
    pub(super) fn add_check(
        &self,
        node: Option<&str>,
        mut check: CheckDefinition,
    ) -> Result<Vec<Writing>, Refusal> {
        self.admit(&mut check)?;
        if !check.service_id.is_empty() {
            let service = Key::new(node, &check.service_id);
            self.adopt_if_missing(|book| book.record(&service).is_some());
        }
        self.change(|book, _| book.add_check(node, check))
    }

    /// Whether a check may be run here.
    fn admit(&self, check: &mut CheckDefinition) -> Result<(), Refusal> {
        if check.is_program() && !(self.programs)() {
            return Err(Refusal::bad(
                "Invalid check: Scripts are disabled on this agent; to enable, configure \
                 'enable_script_checks' or 'enable_local_script_checks' to true \
                 (in Portolan: registry.checks.scripts)",
            ));
        }
        check.at_home(&self.home);
        Ok(())
    }

    /// Deregisters a service or a check of a node. None if there is none.
    pub(super) fn deregister(&self, holder: &Holder) -> Result<Option<Vec<Writing>>, Refusal> {
        if let Holder::Service(key) = holder {
            self.adopt_if_missing(|book| book.record(key).is_some());
        }
        let mut book = self.book();
        let Some(record) = book.deregister(self.now(), holder) else {
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
        change: impl FnOnce(&mut Book, u64) -> Result<Vec<Touched>, Refusal>,
    ) -> Result<Vec<Writing>, Refusal> {
        let mut book = self.book();
        let touched = change(&mut book, self.now())?;
        self.tell(&mut book, touched)
    }

    /// Tells the registry, the ledger and whoever reads nodes.
    fn tell(&self, book: &mut Book, touched: Vec<Touched>) -> Result<Vec<Writing>, Refusal> {
        let (mut writings, mut facts) = (Vec::new(), Vec::new());
        for touched in touched {
            match touched {
                Touched::Node(nodes) => {
                    self.touch_nodes(book);
                    facts.extend(nodes);
                }
                Touched::Kept(nodes) => facts.extend(nodes),
                Touched::NodeCheck(_) | Touched::Gone(_) | Touched::Checks(_) => {
                    facts.extend(fact_of(&touched));
                    writings.extend(self.tell_registry(book, touched)?);
                }
            }
        }
        if !facts.is_empty() {
            writings.push(self.keep(book, &facts));
        }
        Ok(writings)
    }

    fn tell_registry(&self, book: &Book, touched: Touched) -> Result<Option<Writing>, Refusal> {
        match touched {
            Touched::Checks(key) => {
                let record = book.record(&key);
                record.map(|record| self.recheck(record)).transpose()
            }
            Touched::NodeCheck(key) => {
                let Some(record) = book.node_check(&key) else {
                    return Ok(None);
                };
                let described = record.describe(self.registry.source())?;
                Ok(Some(self.put(described)))
            }
            Touched::Gone(record) => self.leave(&record).map(Some),
            Touched::Node(_) | Touched::Kept(_) => Ok(None),
        }
    }

    fn put(&self, mut described: Described) -> Writing {
        described.ttl = Some(LEASE);
        let registry = self.registry.clone();
        begin(async move {
            let kept = registry.register(Some(actor()), described.clone()).await;
            let Err(RegistryError::Refused(core::Refusal::Ttl { max, .. })) = kept else {
                return Ok(kept.map(|_| ())?);
            };
            described.ttl = Some(max);
            registry.register(Some(actor()), described).await?;
            Ok(())
        })
    }

    /// Gives a service other checks. What was changed of it since it registered stays.
    fn recheck(&self, record: &Record) -> Result<Writing, Refusal> {
        let mut described = record.describe(self.registry.source())?;
        let text = described.instance.metadata.remove(RECORD_KEY);
        let recheck = Recheck {
            record: (RECORD_KEY.into(), text.unwrap_or_else(|| "".into())),
            check: described.check,
            report: Report {
                health: described.status,
                note: described.note,
            },
        };
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        Ok(begin(async move {
            registry.recheck(Some(actor()), subject, recheck).await?;
            Ok(())
        }))
    }

    fn leave(&self, record: &Record) -> Result<Writing, Refusal> {
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        // Nobody sends requests to a check.
        let drain = (!record.is_node()).then_some(DRAIN);
        Ok(begin(async move {
            let left = registry.deregister(Some(actor()), subject, drain).await;
            match left {
                // Somebody was faster.
                Ok(_) | Err(RegistryError::Unknown) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }))
    }

    /// Looks again after what a predecessor of this process may have left, if it is missed.
    pub(super) fn adopt_if_missing(&self, is_there: impl FnOnce(&Book) -> bool) {
        let is_there = is_there(&self.book());
        if !is_there {
            self.adopt_missing();
        }
    }

    /// Takes in what the catalogue has and the book has not: what a predecessor of this
    /// process left, or a store.
    pub(super) fn adopt_missing(&self) {
        let catalog = self.catalog();
        let mut book = self.book();
        for service in catalog.services() {
            for instance in &service.instances {
                // Reading a record costs more than looking for it.
                let is_ours = instance.source == *self.registry.source();
                if !is_ours || instance.state.leaving || book.knows(&Subject::of(instance)) {
                    continue;
                }
                if let Some(record) = Record::of(instance) {
                    // Whatever differs by that, a predecessor has told.
                    let _touched = book.adopt(record);
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
        key: record.key()?,
        id: record.id()?,
    })
}
