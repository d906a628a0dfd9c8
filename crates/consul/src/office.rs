//! What every clerk works with: the book, the registry, the ledger, the checks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use portolan_catalog::Catalog;
use portolan_dialects::consul::Registered;
use portolan_ledger::Ledger;
use portolan_model::Instance;
use portolan_registry::{Keepable, PerInstance, Registry, check::Checks, core::Subject};
use portolan_runtime::Env;
use tokio::sync::watch;

use super::{
    Programs,
    book::{Book, millis},
    found::found,
    listing::Listing,
};

/// What all clerks share.
pub(super) struct Office {
    /// Guards the book; held for no await.
    pub(super) book: Mutex<Book>,
    pub(super) registry: Registry,
    pub(super) ledger: Ledger,
    pub(super) checks: Checks,
    /// The records of instances, each read once.
    read: PerInstance<Reading>,
    /// The names of services; the lock guards it, and is held while it is brought up to date,
    /// so that nobody does it a second time.
    listing: Mutex<Listing>,
    pub(super) programs: Programs,
    /// The name of the agent's own node.
    pub(super) home: String,
    pub(super) env: Env,
    pub(super) began: Instant,
    /// Wakes whoever reads nodes.
    pub(super) nodes: watch::Sender<()>,
}

/// An instance as it was read.
#[derive(Clone)]
struct Reading(Registered);

impl Keepable for Reading {
    fn bytes(&self) -> usize {
        // A record is read from the text beside the labels, and takes more than it.
        let labels = self.0.instance().metadata.values();
        2 * labels.map(|value| value.len()).sum::<usize>()
    }
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

impl Office {
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
            read: PerInstance::default(),
            listing: Mutex::default(),
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
        let Reading(read) = self.read(instance);
        read.with(states.iter().map(found).collect())
    }

    fn read(&self, instance: &Arc<Instance>) -> Reading {
        let read = |instance: &_| Reading(Registered::of(instance));
        self.read.get(instance, read)
    }

    /// The names of services as they are now.
    pub(super) fn listing(&self) -> MutexGuard<'_, Listing> {
        let listing = self.listing.lock();
        let mut listing = listing.unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that it never goes back.
        listing.follow(&self.catalog(), |instance| self.read(instance).0.record);
        listing
    }
}
