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
    Answer, Input, Ledger, LedgerError, Mode, Output, Query, SessionId, Terms, WAITERS_MAX,
};

/// A store in memory. Commits wait for a permit.
#[derive(Debug)]
struct Shelf {
    records: Mutex<BTreeMap<LedgerKey, Bytes>>,
    fails: Mutex<bool>,
    commits: Arc<Semaphore>,
}

impl Shelf {
    fn new(commits: usize) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            fails: Mutex::new(false),
            commits: Arc::new(Semaphore::new(commits)),
        })
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
        let fails = *self.fails.lock().unwrap();
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

    fn read(&self, _: LedgerKey) -> Later<Option<Record>> {
        Box::pin(async { Ok(None) })
    }

    fn range(&self, span: Span) -> Later<Page> {
        let all = self.records.lock().unwrap().clone();
        let after = all
            .into_iter()
            .filter(|(key, _)| Some(key) > span.after.as_ref());
        let record = |value| Record {
            value,
            created: Revision::FIRST,
            modified: Revision::FIRST,
        };
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

async fn start(env: &Env, shelf: &Arc<Shelf>) -> (Ledger, Task) {
    Ledger::start(env, Arc::clone(shelf) as _).await.unwrap()
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
    let (ledger, task) = Ledger::start(&env, Arc::new(store.clone())).await.unwrap();
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
    let (ledger, _task) = Ledger::start(&env, Arc::new(store)).await.unwrap();
    let after = ledger.look(Query::Tree("k".into())).await.unwrap();
    assert_eq!(after.0, before.0);
    assert!(after.1 >= before.1);
    let renewed = ledger.step(Input::Renew(id)).await.unwrap();
    assert!(matches!(renewed, Answer::Session(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_before_the_commit_not_even_a_question() {
    let (env, shelf) = (Env::virtual_time(1), Shelf::new(0));
    let (ledger, _task) = start(&env, &shelf).await;
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
    let (ledger, _task) = start(&env, &shelf).await;
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
    let (ledger, _task) = start(&env, &shelf).await;
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
    let (ledger, _task) = start(&env, &shelf).await;
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
    let (ledger, _task) = start(&env, &shelf).await;
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
    let (ledger, _task) = start(&env, &shelf).await;
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
