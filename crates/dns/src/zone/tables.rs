//! Keeps the table in step with what is published.
//!
//! The publisher hands over each snapshot before anybody sees it, and before a writer is told
//! that its change is in force: the next answer has it. The table is made there, of services
//! that changed only, and swapped in once. A query takes the newest table and no lock.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use portolan_catalog::Service as Known;
use portolan_dialects::consul::is_node;
use portolan_model::ServiceKey;
use portolan_runtime::Env;
use portolan_snapshot::{FIXED_NAMESPACE, Follower, Snapshot, View};

use super::{Service, Table, reverse::Reverse};
use crate::settings::Settings;

/// The table, for those who answer.
pub(crate) struct Tables {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    env: Env,
    current: ArcSwap<Table>,
    /// Raised after each swap.
    generation: AtomicU64,
    /// Guards what the table is made by, against two who make it; no query takes it. Held for
    /// no await.
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    settings: Arc<Settings>,
    reverse: Reverse,
}

impl Tables {
    /// The table of what is published, made whole.
    pub(crate) fn new(view: &View, env: Env, settings: Arc<Settings>) -> Self {
        let book = Book {
            settings,
            reverse: Reverse::default(),
        };
        let shared = Arc::new(Shared {
            env,
            current: ArcSwap::default(),
            generation: AtomicU64::new(1),
            book: Mutex::new(book),
        });
        let follower: Arc<dyn Follower> = Arc::<Shared>::clone(&shared);
        view.attach(&follower);
        Self { shared }
    }

    /// Counts tables: while it stays, the table that was taken is the newest.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The newest table.
    pub(crate) fn newest(&self) -> Arc<Table> {
        self.shared.current.load_full()
    }

    /// Answers by other settings.
    pub(crate) fn set(&self, settings: Arc<Settings>) {
        let mut book = self.shared.book();
        book.settings = settings;
        let mut table = self.shared.table();
        let known = table.services().map(|service| Arc::clone(&service.known));
        let known: Vec<_> = known.collect();
        for known in known {
            book.put(&mut table, &known.key, Some(&known));
        }
        self.shared.publish(table);
    }
}

impl Follower for Shared {
    fn begin(&self, snapshot: &Snapshot) {
        let (mut book, mut table) = (self.book(), Table::default());
        book.reverse = Reverse::default();
        for known in snapshot.catalog.services() {
            book.put(&mut table, &known.key, Some(known));
        }
        self.publish(table);
    }

    fn take_in(&self, snapshot: &Snapshot, changed: &[ServiceKey]) {
        if changed.is_empty() {
            return;
        }
        let (mut book, mut table) = (self.book(), self.table());
        for key in changed {
            book.put(&mut table, key, snapshot.catalog.service(key));
        }
        self.publish(table);
    }
}

impl Shared {
    /// A copy of the newest table, to be changed.
    fn table(&self) -> Table {
        Table::clone(&self.current.load())
    }

    fn publish(&self, mut table: Table) {
        let seconds = self.env.now().as_millis() / 1000;
        table.serial = u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default();
        self.current.store(Arc::new(table));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn put(&mut self, table: &mut Table, key: &ServiceKey, known: Option<&Arc<Known>>) {
        if key.namespace.as_str() == FIXED_NAMESPACE || is_node(key) {
            return;
        }
        let before = table.service(key).cloned();
        let service = known.map(|known| {
            let (ttl, stale_ttl) = (self.settings.ttl_of(key), self.settings.stale_ttl);
            let service = Service::new(known, ttl, stale_ttl);
            if let Some(before) = &before {
                service.follow(before);
            }
            Arc::new(service)
        });
        table.set(key, service);
        let before = before.as_ref().map(|before| &*before.known);
        let moved = self
            .reverse
            .change(key, before, known.map(|known| &**known));
        for ip in moved {
            table.set_address(ip, self.reverse.names(ip));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        tests::{instance, told, world},
        wire::kind,
    };

    #[tokio::test(start_paused = true)]
    async fn a_query_waits_for_nobody_who_makes_a_table() {
        let world = world("ttl: 0s");
        world.put(instance("orders", "10.0.0.1:1")).await;
        let making = world.engine.tables.shared.book();
        assert_eq!(
            told(&world, "orders.service.consul", kind::A),
            ["orders.service.consul. 0 IN A 10.0.0.1"]
        );
        world.ask("1.0.0.10.in-addr.arpa", kind::PTR);
        drop(making);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_leaves_the_other_services_as_they_were() {
        let world = world("ttl: 0s");
        let many =
            (1..=1000_u16).map(|port| instance(&format!("s{port}"), &format!("10.0.0.1:{port}")));
        world.reset(many.collect()).await;
        let before = world.engine.tables.newest();
        world.put(instance("s7", "10.0.0.2:7")).await;
        let after = world.engine.tables.newest();
        let same = before.services().zip(after.services());
        let changed = same.filter(|(one, other)| !std::sync::Arc::ptr_eq(one, other));
        assert_eq!(changed.count(), 1);
    }
}
