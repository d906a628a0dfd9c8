//! What callers of the seams see.

use std::time::Duration;

use bytes::Bytes;
use portolan_model::{ByteSize, Revision};
use portolan_runtime::Env;
use portolan_testkit::Scratch;

use super::{RETENTION, fact, job, key, line, moment, platter::Platter, put};
use crate::{
    Batch, Condition, Embedded, Facts, JournalLine, Ledger, Operation, Outcome, Page, RANGE_MAX,
    Requirement, Retention, Settings, Span, Start, StoreError, Transaction,
    embedded::{
        committer::Committer,
        queue::{Done, Work},
    },
};

fn opened(disk: &Platter) -> Embedded {
    let (store, _) =
        Embedded::on(&Env::virtual_time(1), Box::new(disk.clone()), RETENTION).unwrap();
    store
}

fn transaction(requirements: Vec<Requirement>, operations: Vec<Operation>) -> Transaction {
    Transaction {
        requirements,
        operations,
    }
}

fn write(name: &str, value: &'static str) -> Operation {
    Operation::Put(key(name), Bytes::from_static(value.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn facts_come_back_after_a_restart() {
    let (scratch, env) = (Scratch::new(), Env::virtual_time(1));
    let settings = Settings::of(scratch.path().join("store"));
    let (store, start) = Embedded::open(&env, settings.clone()).unwrap();
    assert_eq!(start, Start::New);
    let mut batch = put("b", "2");
    batch
        .put(fact("a"), "1")
        .put(fact("c"), "3")
        .remove(fact("b"));
    batch.write(line(70, 1));
    store.commit(batch).await.unwrap();
    store.commit(put("d", "4")).await.unwrap();
    let before = store.load().await.unwrap();
    store.close().await;
    assert!(matches!(
        store.commit(put("e", "5")).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(store.load().await, Err(StoreError::Closed)));

    let (store, start) = Embedded::open(&env, settings).unwrap();
    assert_eq!(start, Start::Clean);
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded, before);
    let ids = loaded.facts.iter().map(|(key, _)| key.clone());
    assert_eq!(ids.collect::<Vec<_>>(), [fact("a"), fact("c"), fact("d")]);
    assert_eq!(store.journal().await.unwrap(), [line(70, 1)]);
    assert_eq!(loaded.journaled, Revision::from_u64(70));
    assert_eq!(loaded.revision, Revision::from_u64(70));
}

#[tokio::test(start_paused = true)]
async fn a_store_in_use_is_locked() {
    let (scratch, env) = (Scratch::new(), Env::virtual_time(1));
    let settings = Settings::of(scratch.path().join("store"));
    let (store, _) = Embedded::open(&env, settings.clone()).unwrap();
    let second = Embedded::open(&env, settings.clone());
    assert!(matches!(second, Err(StoreError::Locked { path }) if path == settings.path));
    store.close().await;
    assert!(Embedded::open(&env, settings).is_ok());
}

#[tokio::test(start_paused = true)]
async fn calls_are_committed_in_their_order_whoever_polls_first() {
    let store = opened(&Platter::new(1));
    let first = store.commit(put("a", "1"));
    let second = store.commit(put("a", "2"));
    drop(first);
    second.await.unwrap();
    let facts = store.load().await.unwrap().facts;
    assert_eq!(facts, [(fact("a"), Bytes::from_static(b"2"))]);
}

#[test]
fn a_group_is_answered_after_one_sync() {
    let disk = Platter::new(1);
    let (mut committer, _, _) = Committer::open(Box::new(disk.clone()), RETENTION).unwrap();
    let before = disk.state().syncs;
    let (jobs, replies): (Vec<_>, Vec<_>) = (0..64)
        .map(|number| job(moment(0), Work::Facts(put(&format!("i{number}"), "v"))))
        .unzip();
    committer.serve(jobs);
    assert_eq!(disk.state().syncs, before + 1);
    for mut reply in replies {
        assert!(matches!(reply.try_recv(), Ok(Ok(Done::Facts))));
    }
}

#[test]
fn nothing_is_answered_with_success_before_its_sync() {
    let disk = Platter::new(1);
    let (mut committer, _, _) = Committer::open(Box::new(disk.clone()), RETENTION).unwrap();
    let (first, mut reply) = job(moment(0), Work::Facts(put("a", "1")));
    // The power is lost in the sync, after everything was written.
    disk.state().power_ends_at_sync = true;
    committer.serve(vec![first]);
    assert!(matches!(reply.try_recv(), Ok(Err(StoreError::Io { .. }))));
}

#[test]
fn the_journal_keeps_so_many_lines_and_forgets_the_old() {
    let mut disk = Platter::new(1);
    let (mut committer, _, _) = Committer::open(Box::new(disk.clone()), RETENTION).unwrap();
    let write = |committer: &mut Committer, revision, seconds| {
        let mut batch = Batch::new();
        batch.write(line(revision, seconds));
        committer.serve(vec![job(moment(0), Work::Facts(batch)).0]);
    };
    let kept = |committer: &Committer| {
        let transaction = committer.slot().begin_read().unwrap();
        let lines = crate::embedded::read::tail(&transaction).unwrap();
        let revisions = lines.iter().map(|line| line.revision.as_u64());
        revisions.collect::<Vec<_>>()
    };
    for revision in 1..=RETENTION.lines {
        write(&mut committer, revision, 100);
    }
    assert_eq!(kept(&committer), [1, 2, 3, 4, 5, 6, 7, 8]);
    write(&mut committer, 9, 100 + RETENTION.age.as_secs());
    assert_eq!(kept(&committer), [2, 3, 4, 5, 6, 7, 8, 9]);
    write(&mut committer, 10, 101 + RETENTION.age.as_secs());
    assert_eq!(kept(&committer), [9, 10]);
    disk.lose_power();
}

#[tokio::test(start_paused = true)]
async fn the_journal_keeps_so_many_bytes_over_a_restart() {
    let (scratch, env) = (Scratch::new(), Env::virtual_time(1));
    let mut settings = Settings::of(scratch.path().join("store"));
    let of = |revision, bytes| {
        let mut batch = Batch::new();
        batch.write(JournalLine {
            text: vec![b'x'; bytes].into(),
            ..line(revision, 1)
        });
        batch
    };
    settings.journal.bytes = ByteSize::from_bytes(100);
    let kept = async |store: &Embedded| {
        let lines = store.journal().await.unwrap();
        let revisions = lines.iter().map(|line| line.revision.as_u64());
        revisions.collect::<Vec<_>>()
    };
    let (store, _) = Embedded::open(&env, settings.clone()).unwrap();
    for revision in 1..=4 {
        store.commit(of(revision, 25)).await.unwrap();
    }
    // One that is written again counts once.
    store.commit(of(4, 25)).await.unwrap();
    assert_eq!(kept(&store).await, [1, 2, 3, 4]);
    store.close().await;
    let (store, _) = Embedded::open(&env, settings).unwrap();
    store.commit(of(5, 1)).await.unwrap();
    assert_eq!(kept(&store).await, [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_stricter_retention_takes_effect_a_little_at_a_time() {
    let (scratch, env) = (Scratch::new(), Env::virtual_time(1));
    let mut settings = Settings::of(scratch.path().join("store"));
    let (store, _) = Embedded::open(&env, settings.clone()).unwrap();
    let mut batch = Batch::new();
    for revision in 1..=40 {
        batch.write(line(revision, 1));
    }
    store.commit(batch).await.unwrap();
    store.close().await;
    settings.journal = Retention {
        lines: 10,
        bytes: ByteSize::from_bytes(1 << 20),
        age: Duration::from_secs(1),
    };
    let (store, _) = Embedded::open(&env, settings).unwrap();
    for (revision, left) in [(41, 25), (42, 10), (43, 10)] {
        let mut batch = Batch::new();
        batch.write(line(revision, 1));
        store.commit(batch).await.unwrap();
        assert_eq!(store.journal().await.unwrap().len(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_of_one_call_see_each_other_and_have_their_own_outcomes() {
    let store = opened(&Platter::new(1));
    let absent = || vec![Requirement::Absent(key("lock"))];
    let outcomes = store
        .transact(vec![
            transaction(absent(), vec![write("lock", "a")]),
            transaction(absent(), vec![write("lock", "b"), write("other", "b")]),
            transaction(
                vec![Requirement::Exists(key("lock"))],
                vec![write("lock", "c")],
            ),
            transaction(vec![Requirement::Exists(key("other"))], vec![]),
        ])
        .await
        .unwrap();
    let [
        Outcome::Committed(first),
        refused,
        Outcome::Committed(third),
        missing,
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    let found = Some(*first);
    assert_eq!(
        refused,
        &Outcome::Refused {
            requirement: 0,
            found
        }
    );
    assert_eq!(
        missing,
        &Outcome::Refused {
            requirement: 0,
            found: None
        }
    );
    assert!(third > first);
    let record = store.read(key("lock")).await.unwrap().unwrap();
    assert_eq!((record.created, record.modified), (*first, *third));
    assert_eq!(record.value, "c");
    assert_eq!(store.read(key("other")).await.unwrap(), None);

    let at = |revision| vec![Requirement::At(key("lock"), revision)];
    let stale = store.transact(vec![transaction(
        at(*first),
        vec![Operation::Delete(key("lock"))],
    )]);
    let found = Some(*third);
    assert_eq!(
        stale.await.unwrap(),
        [Outcome::Refused {
            requirement: 0,
            found
        }]
    );
    let right = store.transact(vec![transaction(
        at(*third),
        vec![Operation::Delete(key("lock"))],
    )]);
    assert!(matches!(right.await.unwrap()[..], [Outcome::Committed(_)]));
    assert_eq!(store.read(key("lock")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn revisions_of_facts_and_ledger_rise_together() {
    let store = opened(&Platter::new(1));
    let high = Revision::from_u64(1 << 52);
    let mut batch = Batch::new();
    batch.reach(high);
    store.commit(batch).await.unwrap();
    let outcomes = store
        .transact(vec![transaction(vec![], vec![write("a", "1")])])
        .await
        .unwrap();
    let next = Revision::from_u64((1 << 52) + 1);
    assert_eq!(outcomes, [Outcome::Committed(next)]);
    assert_eq!(store.load().await.unwrap().revision, next);
    let looked = store.transact(vec![transaction(
        vec![Requirement::Exists(key("a"))],
        vec![],
    )]);
    assert_eq!(
        looked.await.unwrap(),
        [Outcome::Committed(next)],
        "a look is no revision"
    );
}

#[tokio::test(start_paused = true)]
async fn ranges_come_in_pages() {
    let store = opened(&Platter::new(1));
    let names = ["a", "kv/1", "kv/2", "kv/3", "kw"];
    let puts = names.iter().map(|name| write(name, "v")).collect();
    store
        .transact(vec![transaction(vec![], puts)])
        .await
        .unwrap();
    let page = async |after: Option<&str>, limit| {
        let after = after.map(key);
        let span = Span {
            prefix: key("kv/"),
            after,
            limit,
        };
        let Page { records, has_more } = store.range(span).await.unwrap();
        (
            records.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
            has_more,
        )
    };
    assert_eq!(page(None, 2).await, (vec![key("kv/1"), key("kv/2")], true));
    assert_eq!(page(Some("kv/2"), 2).await, (vec![key("kv/3")], false));
    assert_eq!(
        page(None, 3).await,
        (vec![key("kv/1"), key("kv/2"), key("kv/3")], false)
    );
    assert_eq!(page(Some("kv/3"), 2).await, (vec![], false));
    assert_eq!(page(Some("z"), 2).await, (vec![], false));
    assert_eq!(page(Some("a"), 1).await, (vec![key("kv/1")], true));

    let prefix = transaction(vec![], vec![Operation::DeletePrefix(key("kv/"))]);
    store.transact(vec![prefix]).await.unwrap();
    assert_eq!(page(None, 2).await, (vec![], false));
    assert!(store.read(key("kw")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_at_its_limit() {
    let store = opened(&Platter::new(1));
    let names: Vec<String> = (0..=RANGE_MAX)
        .map(|number| format!("{number:06}"))
        .collect();
    for chunk in names.chunks(1000) {
        let puts = chunk.iter().map(|name| write(name, "v")).collect();
        store
            .transact(vec![transaction(vec![], puts)])
            .await
            .unwrap();
    }
    let span = Span {
        prefix: key(""),
        after: None,
        limit: usize::MAX,
    };
    let page = store.range(span).await.unwrap();
    assert_eq!((page.records.len(), page.has_more), (RANGE_MAX, true));
}

#[tokio::test(start_paused = true)]
async fn a_new_store_is_healthy() {
    let store = opened(&Platter::new(1));
    assert_eq!(*store.condition().borrow(), Condition::Healthy);
    assert_eq!(store.condition().borrow().as_str(), "healthy");
    let loaded = store.load().await.unwrap();
    assert!(loaded.facts.is_empty() && store.journal().await.unwrap().is_empty());
    assert_eq!(loaded.revision, Revision::FIRST);
}
