//! Writes of this front: from the book to the registry and the ledger, in one order.
//!
//! The book is behind a lock that guards nothing else and is held for no await. What is
//! decided under it is sent to the two before it is let go, so that the registry
//! hears of two changes of a service in the order in which they were decided; waiting for
//! them to be visible comes after.

use std::{
    future::{Future, ready},
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use portolan_dialects::{
    consul::{CheckDefinition, RECORD_KEY, Record, Refusal},
    native::Described,
};
use portolan_ledger::{Answer, Input, LedgerError};

use super::{
    acl::Permit,
    book::{ALIVE, Book},
    nodes::Stored,
    office::{Desk, Office},
    terms::{Fact, Holder, Key, Others, Touched},
};
use portolan_registry::{
    RegistryError,
    core::{self, Recheck, Report, Subject},
};

/// How long a service stays without its front: it lives until it is deregistered, so the
/// front renews it long before.
pub(super) const LEASE: Duration = Duration::from_hours(24);
/// How long a deregistration waits for requests to end.
const DRAIN: Duration = Duration::from_secs(2);
/// Who rules when a client of Consul asks for maintenance.
pub(super) const ACTOR: &str = "consul";

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

/// Writes on behalf of somebody. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Clerk {
    office: Arc<Office>,
    /// Who is said to change what is changed.
    actor: Arc<str>,
}

impl Clerk {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            office: Arc::new(Office::new(desk)),
            actor: ACTOR.into(),
        }
    }

    /// On behalf of whoever has that permit: by this front, and by name if it has one.
    pub(super) fn on_behalf_of(&self, permit: &Permit) -> Self {
        let actor = match &permit.caller().name {
            Some(name) => format!("{ACTOR}/{name}").into(),
            None => Arc::clone(&self.actor),
        };
        Self {
            office: Arc::clone(&self.office),
            actor,
        }
    }

    /// Who is said to change what is changed.
    pub(super) fn actor(&self) -> Arc<str> {
        Arc::clone(&self.actor)
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

    /// What there is nothing to write for: it is so already, but maybe since a moment ago only,
    /// and whoever asked must not be told before it is stored.
    pub(super) fn catch_up(&self) -> Writing {
        let (registry, ledger) = (self.registry.clone(), self.ledger.clone());
        begin(async move {
            // It answers each step after those before, so it writes nothing for this one.
            ledger.step(Input::Alter(Vec::new())).await?;
            Ok(registry.caught_up().await?)
        })
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

    /// Has the ledger keep what nodes are now.
    fn keep(&self, book: &mut Book, facts: &[Fact]) -> Writing {
        book.count_facts();
        let alterations = facts.iter().map(|fact| fact.alteration(book));
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
        stored: Stored,
        others: Others,
    ) -> Option<Vec<Writing>> {
        let mut book = self.book();
        if book.facts_told() != told {
            return None;
        }
        let touched = book.set_nodes(self.now(), stored, others);
        let mut writings = Vec::new();
        for touched in touched {
            // What it could name once, it can name again.
            writings.extend(self.tell_registry(&book, touched).ok().flatten());
        }
        self.touch_nodes(&mut book);
        Some(writings)
    }

    /// A node or one of its checks is different: whoever reads them looks again.
    pub(super) fn touch_nodes(&self, book: &mut Book) {
        book.touch(self.catalog().revision().as_u64());
        self.nodes.send_replace(());
    }

    fn put(&self, mut described: Described) -> Writing {
        described.ttl = Some(LEASE);
        let (registry, actor) = (self.registry.clone(), self.actor());
        begin(async move {
            let kept = registry
                .register(Some(Arc::clone(&actor)), described.clone())
                .await;
            let Err(RegistryError::Refused(core::Refusal::Ttl { max, .. })) = kept else {
                return Ok(kept.map(|_| ())?);
            };
            described.ttl = Some(max);
            registry.register(Some(actor), described).await?;
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
        let actor = self.actor();
        Ok(begin(async move {
            registry.recheck(Some(actor), subject, recheck).await?;
            Ok(())
        }))
    }

    fn leave(&self, record: &Record) -> Result<Writing, Refusal> {
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        // Nobody sends requests to a check.
        let drain = (!record.is_node()).then_some(DRAIN);
        let actor = self.actor();
        Ok(begin(async move {
            let left = registry.deregister(Some(actor), subject, drain).await;
            match left {
                Ok(_) => Ok(()),
                // Somebody was faster, but maybe by a moment only.
                Err(RegistryError::Unknown) => Ok(registry.caught_up().await?),
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

/// What the ledger keeps of it: the checks that somebody registered.
fn fact_of(touched: &Touched) -> Option<Fact> {
    let key = match touched {
        Touched::NodeCheck(key) => key.clone(),
        Touched::Gone(record) => match Holder::of(record) {
            Holder::NodeCheck(key) => key,
            Holder::Service(_) => return None,
        },
        Touched::Checks(_) | Touched::Node(_) | Touched::Kept(_) => return None,
    };
    (key.id != ALIVE).then_some(Fact::Check(key))
}

/// Sends a write at once and gives back what is left to wait for.
pub(super) fn begin(
    writing: impl Future<Output = Result<(), WriteError>> + Send + 'static,
) -> Writing {
    let mut writing: Writing = Box::pin(writing);
    match writing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => Box::pin(ready(done)),
        Poll::Pending => writing,
    }
}

impl Deref for Clerk {
    type Target = Office;

    fn deref(&self) -> &Office {
        &self.office
    }
}

pub(super) fn subject(record: &Record) -> Result<Subject, Refusal> {
    Ok(Subject {
        key: record.key()?,
        id: record.id()?,
    })
}
