//! A disk without room: what is in memory goes on, commits are tried again.

use std::io::ErrorKind;

use portolan_model::Revision;
use tokio::sync::watch;

use super::{RETENTION, job, moment, platter::Platter, put};
use crate::{
    Condition, StoreError,
    embedded::{
        committer::{Committer, RETRY_AFTER},
        queue::{Done, Work},
        read,
    },
};

const SECOND: u64 = 1000;

struct Store {
    disk: Platter,
    committer: Committer,
    condition: watch::Receiver<Condition>,
}

impl Store {
    fn new() -> Self {
        let disk = Platter::new(1);
        let opened = Committer::open(Box::new(disk.clone()), RETENTION);
        let (committer, _, condition) = opened.unwrap();
        Self {
            disk,
            committer,
            condition,
        }
    }

    /// Commits one fact at a time.
    fn commit(&mut self, id: &str, millis: u64) -> Result<Done, StoreError> {
        let (job, mut reply) = job(moment(millis), Work::Facts(put(id, "v")));
        self.committer.serve(vec![job]);
        reply.try_recv().unwrap()
    }

    fn shown(&self) -> Condition {
        *self.condition.borrow()
    }

    fn facts(&self) -> usize {
        let transaction = self.committer.slot().begin_read().unwrap();
        let loaded = read::load(&transaction, "platter".as_ref()).unwrap();
        assert_eq!(loaded.revision, Revision::FIRST);
        loaded.facts.len()
    }

    /// Facts until the disk is full; says how many.
    fn fill(&mut self) -> usize {
        let room = redb::StorageBackend::len(&self.disk).unwrap();
        self.disk.state().room = Some(usize::try_from(room).unwrap());
        for number in 0..100_000 {
            match self.commit(&format!("i{number}"), 0) {
                Ok(_) => {}
                Err(StoreError::Full { .. }) => return number,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the disk does not fill");
    }
}

#[test]
fn a_full_disk_is_shown_and_keeps_what_it_has() {
    let mut store = Store::new();
    let facts = store.fill();
    assert_eq!(store.shown(), Condition::Full);
    assert_eq!(store.facts(), facts);
}

#[test]
fn commits_are_refused_for_a_while_and_then_tried_again() {
    let mut store = Store::new();
    let facts = store.fill();
    let retry = u64::try_from(RETRY_AFTER.as_millis()).unwrap();
    store.disk.state().room = None;
    assert!(matches!(
        store.commit("x", retry - 1),
        Err(StoreError::Full { .. })
    ));
    assert_eq!(store.shown(), Condition::Full);
    assert!(store.commit("x", retry).is_ok());
    assert_eq!(store.shown(), Condition::Healthy);
    assert_eq!(store.facts(), facts + 1);
}

#[test]
fn a_store_without_work_finds_out_by_itself_that_there_is_room() {
    let mut store = Store::new();
    store.fill();
    store.committer.probe();
    assert_eq!(
        store.shown(),
        Condition::Full,
        "an empty commit would need no room"
    );
    store.disk.state().room = None;
    store.committer.probe();
    assert_eq!(store.shown(), Condition::Healthy);
    assert!(store.commit("x", 0).is_ok());
}

#[test]
fn a_revision_that_is_tried_again_is_remembered() {
    let mut store = Store::new();
    let revision = Revision::from_u64(70);
    let mut attempt = |millis, fault| {
        store.disk.state().write_fault = fault;
        let mut batch = put("a", "v");
        batch.reach(revision);
        let (job, mut reply) = job(moment(millis), Work::Facts(batch));
        store.committer.serve(vec![job]);
        reply.try_recv().unwrap()
    };
    assert!(attempt(0, Some(ErrorKind::StorageFull)).is_err());
    assert!(attempt(10 * SECOND, None).is_ok());
    let transaction = store.committer.slot().begin_read().unwrap();
    assert_eq!(read::revision(&transaction).unwrap(), revision);
}

#[test]
fn a_failing_disk_is_shown_until_it_works() {
    let mut store = Store::new();
    store.commit("a", 0).unwrap();
    store.disk.state().write_fault = Some(ErrorKind::ReadOnlyFilesystem);
    assert!(matches!(store.commit("b", 0), Err(StoreError::Io { .. })));
    assert_eq!(store.shown(), Condition::Failed);
    assert!(store.commit("b", 10 * SECOND).is_err());
    store.disk.state().write_fault = None;
    store.commit("b", 20 * SECOND).unwrap();
    assert_eq!(store.shown(), Condition::Healthy);
    assert_eq!(store.facts(), 2);
}

#[test]
fn what_follows_a_failed_sync_survives_the_loss_of_power() {
    let mut store = Store::new();
    store.commit("a", 0).unwrap();
    store.disk.state().sync_fault = Some(ErrorKind::QuotaExceeded);
    assert!(matches!(store.commit("b", 0), Err(StoreError::Full { .. })));
    assert_eq!(store.shown(), Condition::Full);
    store.disk.state().sync_fault = None;
    store.commit("c", 10 * SECOND).unwrap();
    assert_eq!(store.shown(), Condition::Healthy);
    store.disk.state().is_dead = true;
    let mut disk = store.disk.clone();
    drop(store);
    disk.lose_power();
    let (committer, _, _) = Committer::open(Box::new(disk), RETENTION).unwrap();
    let transaction = committer.slot().begin_read().unwrap();
    let loaded = read::load(&transaction, "platter".as_ref()).unwrap();
    assert!(
        loaded.facts.len() >= 2,
        "`b` may be there, `a` and `c` must"
    );
}
