//! Keeps the table in step with what is published.
//!
//! A task follows publications. A worker that sees a newer snapshot than its table need not
//! wait for it: whoever comes first takes in what was announced, so that an answer is never
//! older than a change whose writer has been told of it.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use portolan_catalog::Catalog;
use portolan_dialects::consul::is_node;
use portolan_model::{Revision, ServiceKey};
use portolan_runtime::Env;
use portolan_snapshot::{FIXED_NAMESPACE, Publication, View};
use tokio::sync::broadcast::{self, error::TryRecvError};

use super::{Service, Table};
use crate::settings::Settings;

/// The table and those who keep it.
pub(crate) struct Tables {
    view: View,
    env: Env,
    current: ArcSwap<Table>,
    /// Guards what was announced and the way back from addresses; held for no await.
    book: Mutex<Book>,
}

struct Book {
    settings: Arc<Settings>,
    announced: broadcast::Receiver<Publication>,
    /// The latest revision that was announced.
    revision: Revision,
    /// Services by the addresses of their instances.
    reverse: HashMap<IpAddr, BTreeSet<ServiceKey>>,
}

impl Tables {
    /// The table of what is published, made whole.
    pub(crate) fn new(view: View, env: Env, settings: Arc<Settings>) -> Self {
        let book = Book {
            settings,
            announced: view.changes(),
            revision: Revision::FIRST,
            reverse: HashMap::new(),
        };
        let tables = Self {
            view,
            env,
            current: ArcSwap::default(),
            book: Mutex::new(book),
        };
        tables.anew(&mut tables.book());
        tables
    }

    /// Counts publications: while it stays, the table is the newest.
    pub(crate) fn generation(&self) -> u64 {
        self.view.generation()
    }

    /// The newest table, and whether it holds all that is published. Takes in what was
    /// announced since.
    pub(crate) fn newest(&self) -> (Arc<Table>, bool) {
        let mut book = self.book();
        self.take_in(&mut book);
        let is_newest = book.revision >= self.view.snapshot().revision();
        (self.current.load_full(), is_newest)
    }

    /// The services that an address is of.
    pub(crate) fn of_address(&self, ip: IpAddr) -> Vec<ServiceKey> {
        let book = self.book();
        let services = book.reverse.get(&ip).into_iter().flatten();
        services.cloned().collect()
    }

    /// Makes everything anew by other settings.
    pub(crate) fn set(&self, settings: Arc<Settings>) {
        let mut book = self.book();
        book.settings = settings;
        self.anew(&mut book);
    }

    /// Keeps the table fresh, for ever.
    pub(crate) async fn follow(&self) {
        let mut changes = self.view.changes();
        loop {
            if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
                return;
            }
            self.take_in(&mut self.book());
        }
    }

    fn take_in(&self, book: &mut Book) {
        let mut changed = BTreeSet::new();
        loop {
            match book.announced.try_recv() {
                Ok(publication) => {
                    book.revision = publication.revision;
                    changed.extend(publication.changed.iter().cloned());
                }
                Err(TryRecvError::Lagged(_)) => return self.anew(book),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if changed.is_empty() {
            return;
        }
        let mut table = Table::clone(&self.current.load());
        let catalog = self.view.snapshot().catalog.clone();
        for key in &changed {
            book.put(&mut table, &catalog, key);
        }
        self.publish(table, book);
    }

    fn anew(&self, book: &mut Book) {
        // What is announced from here on is newer than what is read then.
        book.announced = self.view.changes();
        let catalog = self.view.snapshot().catalog.clone();
        book.revision = catalog.revision();
        book.reverse.clear();
        let mut table = Table::default();
        for service in catalog.services() {
            book.put(&mut table, &catalog, &service.key);
        }
        self.publish(table, book);
    }

    fn publish(&self, mut table: Table, book: &Book) {
        table.revision = book.revision;
        let seconds = self.env.now().as_millis() / 1000;
        table.serial = u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default();
        self.current.store(Arc::new(table));
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn put(&mut self, table: &mut Table, catalog: &Catalog, key: &ServiceKey) {
        if key.namespace.as_str() == FIXED_NAMESPACE || is_node(key) {
            return;
        }
        let known = catalog.service(key);
        let ttl = self.settings.ttl_of(key);
        let service =
            known.map(|known| Arc::new(Service::new(known, ttl, self.settings.stale_ttl)));
        let before = table.set(key, service.clone());
        for ip in before.iter().flat_map(|before| addresses(before)) {
            self.forget(ip, key);
        }
        for ip in service.iter().flat_map(|service| addresses(service)) {
            self.reverse.entry(ip).or_default().insert(key.clone());
        }
    }
}

impl Book {
    fn forget(&mut self, ip: IpAddr, key: &ServiceKey) {
        let Some(services) = self.reverse.get_mut(&ip) else {
            return;
        };
        services.remove(key);
        if services.is_empty() {
            self.reverse.remove(&ip);
        }
    }
}

fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let all = &service.all;
    let members = all.v4.list.iter().chain(&all.v6.list);
    members.map(|member| member.ip)
}
