//! The shell over a store in memory that can fail, and over the real one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use portolan_model::Revision;
use portolan_runtime::{Env, Task};
use portolan_store::{
    self as store, Embedded, Later, LedgerKey, Operation, Outcome, Page, Record, Settings, Span,
    StoreError, Transaction,
};
use portolan_testkit::Scratch;
use tokio::sync::Semaphore;

use crate::{
    Alteration, Answer, Expectation, Input, Kept, Kind, Ledger, LedgerError, Mode, Output, Query,
    SessionId, Snapshot, Terms, WAITERS_MAX,
};

/// A store in memory. Commits wait for a permit.
#[derive(Debug)]
struct Shelf {
    records: Mutex<BTreeMap<LedgerKey, Bytes>>,
    fails: Mutex<bool>,
    /// Commits that succeed before all others fail.
    good: Mutex<usize>,
    commits: Arc<Semaphore>,
}

impl Shelf {
    fn new(commits: usize) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            fails: Mutex::new(false),
            good: Mutex::new(usize::MAX),
            commits: Arc::new(Semaphore::new(commits)),
        })
    }

    /// Whether there is nothing besides the half that counts.
    fn has_one_half(&self) -> bool {
        let records = self.records.lock().unwrap();
        let halves = records.keys().map(|key| key.as_bytes().first_chunk::<9>());
        halves.collect::<std::collections::BTreeSet<_>>().len() == 1
    }

    fn apply(&self, operation: Operation) {
        let mut records = self.records.lock().unwrap();
        match operation {
            Operation::Put(key, value) => drop(records.insert(key, value)),
            Operation::Delete(key) => drop(records.remove(&key)),
            Operation::DeletePrefix(prefix) => {
                records.retain(|key, _| !key.as_bytes().starts_with(prefix.as_bytes()));
            }
        }
    }
}

impl store::Ledger for Shelf {
    fn transact(&self, transactions: Vec<Transaction>) -> Later<Vec<Outcome>> {
        let mut good = self.good.lock().unwrap();
        let fails = *self.fails.lock().unwrap() || *good == 0;
        *good = good.saturating_sub(1);
        let count = transactions.len();
        if !fails {
            for transaction in transactions {
                transaction
                    .operations
                    .into_iter()
                    .for_each(|operation| self.apply(operation));
            }
        }
        let commits = Arc::clone(&self.commits);
        Box::pin(async move {
            commits.acquire().await.unwrap().forget();
            if fails {
                return Err(StoreError::Full {
                    path: "shelf".into(),
                });
            }
            Ok(vec![Outcome::Committed(Revision::FIRST); count])
        })
    }

    fn read(&self, key: LedgerKey) -> Later<Option<Record>> {
        let found = self.records.lock().unwrap().get(&key).cloned();
        Box::pin(async move { Ok(found.map(record)) })
    }

    fn range(&self, span: Span) -> Later<Page> {
        let all = self.records.lock().unwrap().clone();
        let after = all
            .into_iter()
            .filter(|(key, _)| Some(key) > span.after.as_ref())
            .filter(|(key, _)| key.as_bytes().starts_with(span.prefix.as_bytes()));
        // Small pages, so that there is more than one.
        let mut records: Vec<_> = after
            .map(|(key, value)| (key, record(value)))
            .take(3)
            .collect();
        let has_more = records.len() == 3;
        records.truncate(2);
        Box::pin(async move { Ok(Page { records, has_more }) })
    }
}

fn record(value: Bytes) -> Record {
    Record {
        value,
        created: Revision::FIRST,
        modified: Revision::FIRST,
    }
}

fn start(env: &Env, shelf: &Arc<Shelf>) -> (Ledger, Task) {
    Ledger::start(env, Some(Arc::clone(shelf) as _))
}

fn set(key: &str, value: &'static str) -> Input {
    Input::Set {
        key: key.into(),
        value: value.into(),
        flags: 0,
        mode: Mode::Always,
    }
}

fn key(key: &str) -> Query {
    Query::Key(key.into())
}

fn value(output: Output) -> Option<Bytes> {
    let Output::Entry(entry) = output else {
        panic!("{output:?}");
    };
    entry.map(|entry| entry.value)
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_there_after_a_restart() {
    let (scratch, env) = (Scratch::new(), Env::virtual_time(1));
    let settings = Settings::of(scratch.path().join("store"));
    let (store, _) = Embedded::open(&env, settings.clone()).unwrap();
    let (ledger, task) = Ledger::start(&env, Some(Arc::new(store.clone())));
    for number in 0..20 {
        assert!(ledger.step(set(&format!("k{number}"), "v")).await.is_ok());
    }
    let id = SessionId::draw(&mut env.dice());
    let terms = Terms::default();
    ledger
        .step(Input::Begin {
            id: id.clone(),
            terms,
        })
        .await
        .unwrap();
    let before = ledger.look(Query::Tree("k".into())).await.unwrap();
    drop(task);
    store.close().await;

    let (store, _) = Embedded::open(&env, settings).unwrap();
    let (ledger, _task) = Ledger::start(&env, Some(Arc::new(store)));
    let after = ledger.look(Query::Tree("k".into())).await.unwrap();
    assert_eq!(after.0, before.0);
    assert!(after.1 >= before.1);
    let renewed = ledger.step(Input::Renew(id)).await.unwrap();
    assert!(matches!(renewed, Answer::Session(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_before_the_commit_not_even_a_question() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(0));
    let (ledger, _task) = start(&env, &shelf);
    let mut write = Box::pin(ledger.step(set("a", "1")));
    let mut look = Box::pin(ledger.look(key("a")));
    let span = Duration::from_secs(1);
    assert!(env.timeout(span, &mut write).await.is_err());
    assert!(env.timeout(span, &mut look).await.is_err());
    shelf.commits.add_permits(1);
    assert_eq!(write.await.unwrap(), Answer::Done(true));
    assert_eq!(value(look.await.unwrap().0), Some("1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_is_told_and_forgotten() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    for name in ["a", "b", "c", "d"] {
        ledger.step(set(name, "1")).await.unwrap();
    }
    *shelf.fails.lock().unwrap() = true;
    let failed = ledger.step(set("a", "2")).await;
    assert!(matches!(
        failed,
        Err(LedgerError::Store(StoreError::Full { .. }))
    ));
    assert_eq!(
        value(ledger.look(key("a")).await.unwrap().0),
        Some("1".into())
    );
    *shelf.fails.lock().unwrap() = false;
    ledger.step(set("a", "3")).await.unwrap();
    let (found, _) = ledger.look(Query::Tree("".into())).await.unwrap();
    assert!(matches!(found, Output::Entries(entries) if entries.len() == 4));
}

#[tokio::test(start_paused = true)]
async fn a_lock_stays_delayed_over_a_failed_commit() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    let begin = |name: &str| Input::Begin {
        id: SessionId::new(name).unwrap(),
        terms: Terms {
            lock_delay: Duration::from_secs(15),
            ..Terms::default()
        },
    };
    let lock = |name: &str| Input::Set {
        key: "lock".into(),
        value: "1".into(),
        flags: 0,
        mode: Mode::Acquire(SessionId::new(name).unwrap()),
    };
    ledger.step(begin("one")).await.unwrap();
    ledger.step(begin("two")).await.unwrap();
    ledger.step(lock("one")).await.unwrap();
    ledger
        .step(Input::End(SessionId::new("one").unwrap()))
        .await
        .unwrap();
    *shelf.fails.lock().unwrap() = true;
    assert!(ledger.step(set("a", "1")).await.is_err());
    *shelf.fails.lock().unwrap() = false;
    assert_eq!(ledger.step(lock("two")).await.unwrap(), Answer::Done(false));
    env.sleep(Duration::from_secs(15)).await;
    assert_eq!(ledger.step(lock("two")).await.unwrap(), Answer::Done(true));
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_its_own_change() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    ledger.step(set("a/1", "1")).await.unwrap();
    let tree = || Query::Tree("a/".into());
    let (_, index) = ledger.look(tree()).await.unwrap();
    let mut wait = Box::pin(ledger.wait(tree(), index));
    let span = Duration::from_secs(1);
    assert!(env.timeout(span, &mut wait).await.is_err());
    ledger.step(set("b", "1")).await.unwrap();
    assert!(env.timeout(span, &mut wait).await.is_err());
    ledger.step(set("a/2", "1")).await.unwrap();
    let (found, next) = wait.await.unwrap();
    assert!(matches!(found, Output::Entries(entries) if entries.len() == 2));
    assert!(next > index);
    let missed = ledger.wait(tree(), index).await.unwrap();
    assert_eq!(missed.1, next, "what has changed is answered at once");
    let missing = ledger.look(key("none")).await.unwrap().1;
    let mut wait = Box::pin(ledger.wait(key("none"), missing));
    assert!(env.timeout(span, &mut wait).await.is_err());
    ledger.step(set("none", "1")).await.unwrap();
    assert_eq!(value(wait.await.unwrap().0), Some("1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_renewed_ends_by_itself() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    let id = SessionId::new("one").unwrap();
    let terms = Terms {
        ttl: Some(Duration::from_secs(10)),
        ..Terms::default()
    };
    ledger
        .step(Input::Begin {
            id: id.clone(),
            terms,
        })
        .await
        .unwrap();
    let lock = Input::Set {
        key: "lock".into(),
        value: "1".into(),
        flags: 0,
        mode: Mode::Acquire(id.clone()),
    };
    assert_eq!(ledger.step(lock).await.unwrap(), Answer::Done(true));
    let (_, index) = ledger.look(key("lock")).await.unwrap();
    let began = env.instant();
    let (found, _) = ledger.wait(key("lock"), index).await.unwrap();
    assert!(matches!(found, Output::Entry(Some(entry)) if entry.session.is_none()));
    assert_eq!((env.instant() - began).as_secs(), 20);
    let (left, _) = ledger.look(Query::Session(id)).await.unwrap();
    assert_eq!(left, Output::Sessions(vec![]));
}

#[tokio::test(start_paused = true)]
async fn one_past_the_limit_may_not_wait() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    let index = ledger.look(key("a")).await.unwrap().1;
    let mut waiting: Vec<_> = (0..WAITERS_MAX)
        .map(|_| {
            let ledger = ledger.clone();
            Box::pin(async move { ledger.wait(key("a"), index).await })
        })
        .collect();
    for wait in &mut waiting {
        assert!(polled_once(wait).await.is_none());
    }
    let refused = ledger.wait(key("a"), index).await;
    assert!(matches!(
        refused,
        Err(LedgerError::TooManyWaiters(WAITERS_MAX))
    ));
    waiting.pop();
    let mut wait = Box::pin(ledger.wait(key("a"), index));
    assert!(polled_once(&mut wait).await.is_none(), "one has gone away");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_without_its_store_waits_for_it_and_then_says_so() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    ledger.step(set("a", "1")).await.unwrap();
    let (_, index) = ledger.look(key("a")).await.unwrap();
    let mut wait = Box::pin(ledger.wait(key("a"), index));
    let span = Duration::from_secs(1);
    assert!(env.timeout(span, &mut wait).await.is_err());
    ledger.attach(None).await;
    let mut first = Box::pin(ledger.step(set("a", "2")));
    assert!(env.timeout(span, &mut first).await.is_err());
    let mut second = Box::pin(ledger.step(set("a", "3")));
    assert!(env.timeout(span, &mut second).await.is_err());
    let loads = ledger.reloaded(0).await.unwrap();
    ledger.attach(Some(Arc::clone(&shelf) as _)).await;
    assert_eq!(second.await.unwrap(), Answer::Done(true));
    assert_eq!(first.await.unwrap(), Answer::Done(true));
    assert_eq!(value(wait.await.unwrap().0), Some("3".into()));
    assert!(ledger.reloaded(loads).await.unwrap() > loads);

    ledger.attach(None).await;
    let began = env.instant();
    for _ in 0..2 {
        let closed = ledger.step(set("a", "4")).await;
        assert!(matches!(closed, Err(LedgerError::Closed)));
    }
    assert_eq!((env.instant() - began).as_secs(), 5, "waited for once");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_comes_back_as_one() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(1000));
    let (ledger, _task) = start(&env, &shelf);
    let kept = Kept {
        body: "{}".into(),
        ..Kept::default()
    };
    let node = Alteration::Keep(Kind::Node, "n".into(), kept, Expectation::Absent);
    ledger.step(Input::Alter(vec![node])).await.unwrap();
    ledger.step(set("a", "1")).await.unwrap();
    ledger.step(set("b", "1")).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    ledger.step(set("a", "2")).await.unwrap();
    ledger.step(set("c", "2")).await.unwrap();
    let before = ledger.look(key("a")).await.unwrap().1;
    let mut wait = Box::pin(ledger.wait(key("a"), before));
    assert!(polled_once(&mut wait).await.is_none());

    // Cut off before the last commit: all of what was before is there.
    *shelf.good.lock().unwrap() = 1;
    assert!(ledger.restore(snapshot.clone()).await.is_err());
    *shelf.good.lock().unwrap() = usize::MAX;
    assert_eq!(names(&ledger).await, ["a", "b", "c"]);
    assert!(polled_once(&mut wait).await.is_none());
    assert!(shelf.has_one_half(), "what was written of it is gone");

    ledger.restore(snapshot.clone()).await.unwrap();
    assert_eq!(names(&ledger).await, ["a", "b"]);
    let (found, index) = wait.await.unwrap();
    assert_eq!(value(found), Some("1".into()));
    assert!(index > before, "no index goes back");
    drop(ledger);
    let (ledger, _task) = start(&env, &shelf);
    assert_eq!(names(&ledger).await, ["a", "b"], "after a restart, too");
    let again = ledger.snapshot().await.unwrap();
    assert_eq!(again.chunks().count(), 1);
    let (nodes, _) = ledger.look(Query::Objects(Kind::Node)).await.unwrap();
    assert!(matches!(nodes, Output::Objects(nodes) if nodes.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn records_that_are_none_of_ours_are_not_restored() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(100));
    let (ledger, _task) = start(&env, &shelf);
    ledger.step(set("a", "1")).await.unwrap();
    let whole: Vec<u8> = ledger
        .snapshot()
        .await
        .unwrap()
        .chunks()
        .flatten()
        .collect();
    let mut broken = Snapshot::read(&whole.into()).unwrap();
    broken.spoil();
    let refused = ledger.restore(broken).await;
    assert!(matches!(refused, Err(LedgerError::Record(_))));
    assert_eq!(names(&ledger).await, ["a"]);
}

async fn names(ledger: &Ledger) -> Vec<String> {
    let query = Query::Names {
        prefix: "".into(),
        separator: String::new(),
    };
    let Output::Names(names) = ledger.look(query).await.unwrap().0 else {
        panic!("no names");
    };
    names.iter().map(ToString::to_string).collect()
}

/// Polls once, and lets the ledger's task run.
async fn polled_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let polled = tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    };
    tokio::task::yield_now().await;
    polled
}
