//! What the rules say, one by one, and that what is written is what is known.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_model::{Revision, Timestamp};
use portolan_runtime::Dice;
use portolan_store::{LedgerKey, Operation};
use serde_json::json;

use super::*;
use crate::{Behavior, Kind, LOCK_DELAY_MAX, TTL_MAX, Terms};

/// An engine, and the store that it writes to.
struct Bench {
    engine: Engine,
    stored: BTreeMap<LedgerKey, Bytes>,
    seconds: u64,
    last: Option<Step>,
}

impl Bench {
    fn new() -> Self {
        Self {
            engine: Engine::restore(at(0), []).unwrap(),
            stored: BTreeMap::new(),
            seconds: 0,
            last: None,
        }
    }

    fn step(&mut self, input: Input) -> Answer {
        let step = self.engine.step(at(self.seconds), input);
        for write in &step.writes {
            match write {
                Operation::Put(key, value) => {
                    self.stored.insert(key.clone(), value.clone());
                }
                Operation::Delete(key) => {
                    self.stored.remove(key);
                }
                Operation::DeletePrefix(prefix) => {
                    let prefix = prefix.as_bytes();
                    self.stored
                        .retain(|key, _| !key.as_bytes().starts_with(prefix));
                }
            }
        }
        self.last = Some(step.clone());
        step.answer
    }

    fn restart(&mut self) {
        self.engine = Engine::restore(at(self.seconds), self.stored.clone()).unwrap();
    }

    fn set(&mut self, key: &str, value: &'static str, mode: Mode) -> bool {
        let answer = self.step(Input::Set {
            key: key.into(),
            value: value.into(),
            flags: 0,
            mode,
        });
        answer == Answer::Done(true)
    }

    fn begin(&mut self, name: &str, terms: Terms) -> SessionId {
        let id = session(name);
        let answer = self.step(Input::Begin {
            id: id.clone(),
            terms,
        });
        assert!(matches!(answer, Answer::Session(Some(_))), "{answer:?}");
        id
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        let Output::Entry(entry) = self.engine.look(&Query::Key(key.into())).0 else {
            panic!("no entry");
        };
        entry
    }

    fn index(&self, key: &str) -> Revision {
        self.engine.look(&Query::Key(key.into())).1
    }

    fn tree_index(&self, prefix: &str) -> Revision {
        self.engine.look(&Query::Tree(prefix.into())).1
    }
}

fn at(seconds: u64) -> Moment {
    Moment {
        uptime: Duration::from_secs(seconds),
        at: Timestamp::from_millis(1_800_000_000_000 + seconds * 1000),
    }
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn with_ttl(seconds: u64) -> Terms {
    Terms {
        ttl: Some(Duration::from_secs(seconds)),
        ..Terms::default()
    }
}

fn delete(key: &str, index: Option<Revision>) -> Input {
    Input::Delete {
        key: key.into(),
        index,
    }
}

#[test]
fn a_key_is_written_if_it_has_the_index() {
    let mut bench = Bench::new();
    assert!(
        !bench.set("a", "0", Mode::At(Revision::FIRST)),
        "it is not there"
    );
    assert!(bench.set("a", "1", Mode::Absent));
    assert!(!bench.set("a", "2", Mode::Absent));
    let first = bench.entry("a").unwrap();
    assert_eq!((first.value, first.created), ("1".into(), first.modified));
    assert!(bench.set("a", "3", Mode::At(first.modified)));
    assert!(!bench.set("a", "4", Mode::At(first.modified)));
    let second = bench.entry("a").unwrap();
    assert_eq!((second.value, second.created), ("3".into(), first.created));
    assert!(second.modified > first.modified);
}

#[test]
fn a_write_that_changes_nothing_keeps_the_index() {
    let mut bench = Bench::new();
    assert!(bench.set("a", "1", Mode::Always));
    let index = bench.index("a");
    assert!(bench.set("a", "1", Mode::Always));
    assert_eq!(bench.index("a"), index);
    assert!(bench.last.unwrap().writes.is_empty());
}

#[test]
fn a_key_is_deleted_if_it_has_the_index() {
    let mut bench = Bench::new();
    assert!(bench.set("a", "1", Mode::Always));
    let index = bench.index("a");
    assert!(bench.set("a", "2", Mode::Always));
    assert_eq!(bench.step(delete("a", Some(index))), Answer::Done(false));
    let index = Some(bench.index("a"));
    assert_eq!(bench.step(delete("a", index)), Answer::Done(true));
    assert_eq!(
        bench.step(delete("a", index)),
        Answer::Done(true),
        "it is gone"
    );
    assert_eq!(bench.entry("a"), None);
}

#[test]
fn one_session_locks_a_key_until_it_lets_go() {
    let mut bench = Bench::new();
    let (one, two) = (
        bench.begin("one", Terms::default()),
        bench.begin("two", Terms::default()),
    );
    assert!(bench.set("lock", "1", Mode::Acquire(one.clone())));
    assert!(!bench.set("lock", "2", Mode::Acquire(two.clone())));
    assert!(
        bench.set("lock", "3", Mode::Acquire(one.clone())),
        "the holder may write again"
    );
    assert!(bench.set("lock", "4", Mode::Always), "locks are advisory");
    let entry = bench.entry("lock").unwrap();
    assert_eq!((entry.locks, entry.session), (1, Some(one.clone())));
    assert!(!bench.set("lock", "5", Mode::Release(two.clone())));
    assert!(bench.set("lock", "6", Mode::Release(one.clone())));
    assert!(!bench.set("lock", "7", Mode::Release(one)));
    let entry = bench.entry("lock").unwrap();
    assert_eq!(
        (entry.value, entry.locks, entry.session),
        ("6".into(), 1, None)
    );
    assert!(
        bench.set("lock", "8", Mode::Acquire(two)),
        "no delay after letting go"
    );
    assert_eq!(bench.entry("lock").unwrap().locks, 2);
}

#[test]
fn an_unknown_session_can_lock_nothing() {
    let mut bench = Bench::new();
    let input = |mode| Input::Set {
        key: "a".into(),
        value: Bytes::new(),
        flags: 0,
        mode,
    };
    let nobody = session("nobody");
    let answer = bench.step(input(Mode::Acquire(nobody.clone())));
    assert_eq!(answer, Answer::Refused(Refusal::NoSession(nobody.clone())));
    assert_eq!(
        bench.step(input(Mode::Release(nobody))),
        Answer::Done(false)
    );
}

#[test]
fn a_session_that_ends_unlocks_its_keys_after_a_delay() {
    let mut bench = Bench::new();
    let terms = Terms {
        lock_delay: Duration::from_secs(15),
        ..Terms::default()
    };
    let (one, two) = (
        bench.begin("one", terms),
        bench.begin("two", Terms::default()),
    );
    assert!(bench.set("lock", "1", Mode::Acquire(one.clone())));
    let index = bench.index("lock");
    assert_eq!(bench.step(Input::End(one.clone())), Answer::Done(true));
    assert_eq!(bench.step(Input::End(one)), Answer::Done(false));
    let entry = bench.entry("lock").unwrap();
    assert_eq!((entry.value, entry.session), ("1".into(), None));
    assert!(entry.modified > index);
    bench.seconds = 14;
    assert!(!bench.set("lock", "2", Mode::Acquire(two.clone())));
    bench.seconds = 15;
    assert!(bench.set("lock", "2", Mode::Acquire(two)));
}

#[test]
fn a_session_may_take_its_keys_with_it() {
    let mut bench = Bench::new();
    let terms = Terms {
        behavior: Behavior::Delete,
        ..with_ttl(10)
    };
    let one = bench.begin("one", terms);
    assert!(bench.set("a", "1", Mode::Acquire(one)));
    assert!(bench.set("b", "1", Mode::Always));
    bench.seconds = 20;
    assert_eq!(bench.step(Input::Tick), Answer::Done(true));
    assert_eq!(bench.entry("a"), None);
    assert!(bench.entry("b").is_some());
}

#[test]
fn a_session_ends_after_twice_its_ttl() {
    let mut bench = Bench::new();
    let one = bench.begin("one", with_ttl(10));
    assert_eq!(bench.engine.deadline(), Some(Duration::from_secs(20)));
    bench.seconds = 19;
    assert_eq!(bench.step(Input::Tick), Answer::Done(false));
    let answer = bench.step(Input::Renew(one.clone()));
    assert!(matches!(answer, Answer::Session(Some(session)) if session.id == one));
    assert!(
        bench.last.as_ref().unwrap().writes.is_empty(),
        "a renewal writes nothing"
    );
    bench.seconds = 38;
    assert_eq!(bench.step(Input::Tick), Answer::Done(false));
    bench.seconds = 39;
    assert_eq!(bench.step(Input::Tick), Answer::Done(true));
    assert_eq!(bench.step(Input::Renew(one)), Answer::Session(None));
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn an_index_rises_with_what_it_is_about_and_nothing_else() {
    let mut bench = Bench::new();
    assert!(bench.set("a/1", "1", Mode::Always));
    assert!(bench.set("b/1", "1", Mode::Always));
    let (a, b, tree) = (
        bench.index("a/1"),
        bench.index("b/1"),
        bench.tree_index("b/"),
    );
    assert!(bench.set("a/2", "1", Mode::Always));
    assert_eq!((bench.index("a/1"), bench.index("b/1")), (a, b));
    assert_eq!(bench.tree_index("b/"), tree);
    let before = bench.tree_index("a/");
    assert_eq!(bench.step(delete("a/2", None)), Answer::Done(true));
    assert!(bench.tree_index("a/") > before);
    assert!(bench.index("a/2") > before);
    assert_eq!(bench.index("never"), Revision::FIRST);
}

#[test]
fn names_end_at_the_separator() {
    let mut bench = Bench::new();
    for key in ["a/1", "a/2/x", "a/2/y", "a/3", "b"] {
        assert!(bench.set(key, "1", Mode::Always));
    }
    let names = |prefix: &str, separator: &str| {
        let separator = separator.to_owned();
        let query = Query::Names {
            prefix: prefix.into(),
            separator,
        };
        let Output::Names(names) = bench.engine.look(&query).0 else {
            panic!("no names");
        };
        names.join(" ")
    };
    assert_eq!(names("a/", "/"), "a/1 a/2/ a/3");
    assert_eq!(names("", "/"), "a/ b");
    assert_eq!(names("a/2", ""), "a/2/x a/2/y");
    assert_eq!(names("c", "/"), "");
}

fn write(key: &str, mode: Mode) -> Verb {
    Verb::Set {
        key: key.into(),
        value: "t".into(),
        flags: 7,
        mode,
    }
}

#[test]
fn a_transaction_sees_itself_and_is_one_revision() {
    let mut bench = Bench::new();
    assert!(bench.set("old", "1", Mode::Always));
    let one = bench.begin("one", Terms::default());
    let answer = bench.step(Input::Txn(vec![
        write("a", Mode::Absent),
        Verb::Get("a".into()),
        write("lock", Mode::Acquire(one.clone())),
        Verb::CheckSession("lock".into(), one),
        Verb::Delete("old".into(), None),
        Verb::CheckAbsent("old".into()),
        Verb::GetOrEmpty("old".into()),
        Verb::GetTree("".into()),
    ]));
    let Answer::Txn(TxnAnswer::Applied(results)) = answer else {
        panic!("{answer:?}");
    };
    let keys: Vec<_> = results.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["a", "a", "lock", "lock", "old", "a", "lock"]);
    let of_now = results.iter().filter(|(key, _)| &**key != "old");
    assert!(
        of_now
            .clone()
            .all(|(_, entry)| entry.modified == results[0].1.modified)
    );
    let values: Vec<_> = results.iter().map(|(_, entry)| &entry.value[..]).collect();
    assert_eq!(values, [&b""[..], b"t", b"", b"", b"", b"t", b"t"]);
    assert_eq!(bench.entry("old"), None);
}

#[test]
fn a_transaction_that_fails_leaves_everything_as_it_was() {
    let mut bench = Bench::new();
    let one = bench.begin("one", Terms::default());
    assert!(bench.set("a/1", "1", Mode::Always));
    assert!(bench.set("gone", "1", Mode::Always));
    assert_eq!(bench.step(delete("gone", None)), Answer::Done(true));
    let before = (
        bench.engine.look(&Query::Tree("".into())),
        bench.index("gone"),
    );
    let answer = bench.step(Input::Txn(vec![
        write("gone", Mode::Acquire(one.clone())),
        Verb::DeleteTree("a/".into()),
        Verb::Get("a/1".into()),
        Verb::CheckIndex("gone".into(), Revision::FIRST),
        write("b", Mode::Always),
    ]));
    let Answer::Txn(TxnAnswer::Faulted(faults)) = answer else {
        panic!("{answer:?}");
    };
    let operations: Vec<_> = faults.iter().map(|fault| fault.operation).collect();
    assert_eq!(operations, [2, 3]);
    assert!(bench.last.as_ref().unwrap().writes.is_empty());
    assert_eq!(
        (
            bench.engine.look(&Query::Tree("".into())),
            bench.index("gone")
        ),
        before
    );
    assert_eq!(bench.step(Input::End(one)), Answer::Done(true));
    assert!(
        bench.last.unwrap().changed.is_empty(),
        "the session holds nothing"
    );
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let mut bench = Bench::new();
    let mut set = |key: usize, value: usize| {
        bench.step(Input::Set {
            key: "k".repeat(key).into(),
            value: vec![0; value].into(),
            flags: 0,
            mode: Mode::Always,
        })
    };
    assert_eq!(set(KEY_BYTES_MAX, VALUE_BYTES_MAX), Answer::Done(true));
    let refused = |refusal| Answer::Refused(refusal);
    assert_eq!(
        set(KEY_BYTES_MAX + 1, 0),
        refused(Refusal::KeyTooLong(KEY_BYTES_MAX + 1))
    );
    assert_eq!(
        set(1, VALUE_BYTES_MAX + 1),
        refused(Refusal::ValueTooLarge(VALUE_BYTES_MAX + 1))
    );
    assert_eq!(set(0, 0), refused(Refusal::NoKey));
    let mut txn = |count| bench.step(Input::Txn(vec![Verb::CheckAbsent("x".into()); count]));
    assert!(matches!(
        txn(OPERATIONS_MAX),
        Answer::Txn(TxnAnswer::Applied(_))
    ));
    let many = OPERATIONS_MAX + 1;
    assert_eq!(txn(many), refused(Refusal::TooManyOperations(many)));
    let large = |extra: usize| {
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
        let of = |value: Bytes| Verb::Set {
            key: "l".into(),
            value,
            flags: 0,
            mode: Mode::Always,
        };
        let mut verbs = vec![of(value); TXN_BYTES_MAX / VALUE_BYTES_MAX];
        verbs.push(of(vec![0; extra].into()));
        Input::Txn(verbs)
    };
    assert!(matches!(
        bench.step(large(0)),
        Answer::Txn(TxnAnswer::Applied(_))
    ));
    assert_eq!(
        bench.step(large(1)),
        refused(Refusal::TxnTooLarge(TXN_BYTES_MAX + 1))
    );
}

#[test]
fn what_a_transaction_reads_is_bounded_at_the_limit_and_one_past_it() {
    let mut bench = Bench::new();
    // So much of it is what the key itself costs.
    let set = |key: &str, size: usize| Input::Set {
        key: key.into(),
        value: vec![0; size - key.len() - 128].into(),
        flags: 0,
        mode: Mode::Always,
    };
    let each = 64 << 10;
    for key in ["t/a", "t/b", "last", "gone"] {
        bench.step(set(key, each));
    }
    let mut verbs = vec![Verb::GetTree("t/".into()); TXN_BYTES_MAX / each / 2 - 1];
    verbs.extend([Verb::Get("t/a".into()), Verb::GetOrEmpty("last".into())]);
    let answer = bench.step(Input::Txn(verbs.clone()));
    assert!(
        matches!(&answer, Answer::Txn(TxnAnswer::Applied(all)) if all.len() == TXN_BYTES_MAX / each)
    );

    bench.step(set("last", each + 1));
    let before = seen(&bench.engine);
    // Neither what was written nor another fault outlives it.
    verbs.insert(0, Verb::Delete("gone".into(), None));
    verbs.insert(0, Verb::Get("missing".into()));
    assert_eq!(
        bench.step(Input::Txn(verbs)),
        Answer::Refused(Refusal::TxnTooLarge(TXN_BYTES_MAX + 1))
    );
    assert!(bench.last.as_ref().unwrap().writes.is_empty());
    assert_eq!(seen(&bench.engine), before);
    let all = vec![Verb::GetTree("".into()); OPERATIONS_MAX];
    assert!(matches!(
        bench.step(Input::Txn(all)),
        Answer::Refused(Refusal::TxnTooLarge(_))
    ));
}

#[test]
fn one_session_past_the_limit_is_refused() {
    let mut bench = Bench::new();
    for number in 0..SESSIONS_MAX {
        let id = session(&number.to_string());
        bench.engine.step(
            at(0),
            Input::Begin {
                id,
                terms: Terms::default(),
            },
        );
    }
    let input = Input::Begin {
        id: session("more"),
        terms: Terms::default(),
    };
    assert_eq!(
        bench.step(input),
        Answer::Refused(Refusal::TooManySessions(SESSIONS_MAX))
    );
}

#[test]
fn one_byte_past_the_limit_of_all_is_refused() {
    let mut engine = Engine::restore(at(0), []).unwrap();
    let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
    let set = |key: String, value: Bytes| Input::Set {
        key: key.into(),
        value,
        flags: 0,
        mode: Mode::Always,
    };
    let one = |number: usize| format!("{number:03}");
    let mut number = 0;
    while LEDGER_BYTES_MAX - engine.counts().bytes > 2 * VALUE_BYTES_MAX {
        engine.step(at(0), set(one(number), value.clone()));
        number += 1;
    }
    engine.step(at(0), set(one(number), value.clone()));
    let left = LEDGER_BYTES_MAX - engine.counts().bytes - one(0).len() - 128;
    let refused = engine.step(at(0), set(one(number + 1), value.slice(..=left)));
    assert_eq!(refused.answer, Answer::Refused(Refusal::Full));
    let taken = engine.step(at(0), set(one(number + 1), value.slice(..left)));
    assert_eq!(taken.answer, Answer::Done(true));
    assert_eq!(engine.counts().bytes, LEDGER_BYTES_MAX);
    let smaller = engine.step(at(0), set(one(0), Bytes::new()));
    assert_eq!(smaller.answer, Answer::Done(true));
}

#[test]
fn a_large_tree_is_deleted_with_one_write() {
    let mut bench = Bench::new();
    for number in 0..600 {
        assert!(bench.set(&format!("a/{number}"), "1", Mode::Always));
    }
    assert!(bench.set("b", "1", Mode::Always));
    let answer = bench.step(Input::Txn(vec![
        Verb::DeleteTree("a/".into()),
        write("a/5", Mode::Always),
    ]));
    assert!(matches!(answer, Answer::Txn(TxnAnswer::Applied(_))));
    let step = bench.last.as_ref().unwrap();
    assert_eq!((step.writes.len(), step.changed.len()), (3, 600));
    bench.restart();
    let Output::Names(names) = bench
        .engine
        .look(&Query::Names {
            prefix: "".into(),
            separator: String::new(),
        })
        .0
    else {
        panic!("no names");
    };
    assert_eq!(names, [Arc::from("a/5"), Arc::from("b")]);
}

#[test]
fn indexes_do_not_go_back_over_a_restart() {
    let mut bench = Bench::new();
    assert!(bench.set("a", "1", Mode::Always));
    assert!(bench.set("b", "1", Mode::Always));
    assert_eq!(bench.step(delete("b", None)), Answer::Done(true));
    let (kept, gone) = (bench.index("a"), bench.index("b"));
    bench.restart();
    assert_eq!(bench.index("a"), kept);
    assert!(bench.index("b") >= gone);
    assert!(bench.set("c", "1", Mode::Always));
    assert!(bench.index("c") > gone, "although the clock stands still");
}

#[test]
fn sessions_have_their_whole_time_after_a_restart() {
    let mut bench = Bench::new();
    let one = bench.begin("one", with_ttl(10));
    assert!(bench.set("lock", "1", Mode::Acquire(one.clone())));
    bench.seconds = 19;
    bench.restart();
    assert_eq!(bench.entry("lock").unwrap().session, Some(one.clone()));
    bench.seconds = 38;
    assert_eq!(bench.step(Input::Tick), Answer::Done(false));
    bench.seconds = 39;
    assert_eq!(bench.step(Input::Tick), Answer::Done(true));
    assert_eq!(bench.entry("lock").unwrap().session, None);
}

#[test]
fn foreign_records_are_refused() {
    for (key, value) in [("kv/a", "?"), ("session/a", "{}"), ("index", "1")] {
        let record = (LedgerKey::new(key).unwrap(), Bytes::from(value));
        assert!(Engine::restore(at(0), [record]).is_err(), "{key}");
    }
}

#[test]
fn a_stored_session_is_one_that_a_client_could_have_made() {
    let restored = |key: &str, id: &str, ttl: Duration, lock_delay: Duration| {
        let session = json!({
            "id": id,
            "terms": Terms { ttl: Some(ttl), lock_delay, ..Terms::default() },
            "created": Revision::FIRST,
        });
        let record = (
            LedgerKey::new(format!("session/{key}")).unwrap(),
            session.to_string().into(),
        );
        Engine::restore(at(0), [record])
    };
    let second = Duration::from_secs(1);
    let longest = "s".repeat(64);
    let engine = restored(&longest, &longest, TTL_MAX, LOCK_DELAY_MAX).unwrap();
    assert_eq!(engine.deadline(), Some(2 * TTL_MAX));
    for (key, id, ttl, lock_delay) in [
        ("a", "b", second, second),
        ("a", "s".repeat(5_000).as_str(), second, second),
        (&"s".repeat(65), &"s".repeat(65), second, second),
        ("", "", second, second),
        ("a b", "a b", second, second),
        ("a", "a", TTL_MAX + Duration::from_nanos(1), second),
        ("a", "a", Duration::from_secs(u64::MAX), second),
        ("a", "a", second, LOCK_DELAY_MAX + Duration::from_nanos(1)),
    ] {
        let restored = restored(key, id, ttl, lock_delay);
        assert!(restored.is_err(), "{key} {ttl:?} {lock_delay:?}");
    }
}

#[test]
fn a_session_that_is_made_can_be_read_again() {
    let mut bench = Bench::new();
    let terms = Terms {
        lock_delay: Duration::MAX,
        ..with_ttl(u64::MAX)
    };
    bench.begin("one", terms);
    assert_eq!(bench.engine.deadline(), Some(2 * TTL_MAX));
    bench.restart();
    assert_eq!(bench.engine.deadline(), Some(2 * TTL_MAX));
}

/// Any steps at all: what is stored is what is known, and no index goes back.
#[test]
fn a_restart_after_any_step_changes_nothing_that_can_be_seen() {
    for seed in 0..60 {
        let (mut bench, mut dice) = (Bench::new(), Dice::new(seed));
        for _ in 0..120 {
            bench.seconds += u64::from(dice.u32_below(8));
            let keys = ["a", "a/1", "a/2", "b"];
            let indexes = keys.map(|key| (bench.index(key), bench.tree_index(key)));
            let input = any_input(&bench, &mut dice);
            bench.step(input.clone());
            let seen = seen(&bench.engine);
            let restarted = Engine::restore(at(bench.seconds), bench.stored.clone()).unwrap();
            assert_eq!(self::seen(&restarted), seen, "seed {seed}: {input:?}");
            if dice.u32_below(20) == 0 {
                bench.restart();
            }
            for (key, before) in keys.iter().zip(indexes) {
                let after = (bench.index(key), bench.tree_index(key));
                assert!(
                    after.0 >= before.0 && after.1 >= before.1,
                    "seed {seed}: {input:?}"
                );
            }
            assert_holders(&bench.engine);
        }
    }
}

fn seen(engine: &Engine) -> (Output, Output, Output, Counts) {
    (
        engine.look(&Query::Tree("".into())).0,
        engine.look(&Query::Sessions).0,
        engine.look(&Query::Objects(Kind::Query)).0,
        engine.counts(),
    )
}

/// Every lock has a session, and every session knows its locks.
fn assert_holders(engine: &Engine) {
    let mut held = BTreeMap::<SessionId, BTreeSet<Key>>::new();
    for (key, entry) in &engine.entries {
        if let Some(id) = &entry.session {
            assert!(engine.sessions.contains_key(id), "{id:?} holds {key}");
            held.entry(id.clone()).or_default().insert(Key::clone(key));
        }
    }
    assert_eq!(held, engine.held);
}

fn any_input(bench: &Bench, dice: &mut Dice) -> Input {
    let key = |dice: &mut Dice| -> Arc<str> {
        ["a", "a/1", "a/2", "b"][dice.u32_below(4) as usize].into()
    };
    let id = session(["one", "two", "three"][dice.u32_below(3) as usize]);
    let name = key(dice);
    let index = match dice.u32_below(3) {
        0 => Revision::FIRST,
        _ => bench.index(&name),
    };
    let mode = match dice.u32_below(6) {
        0 => Mode::Absent,
        1 => Mode::At(index),
        2 | 3 => Mode::Acquire(id.clone()),
        4 => Mode::Release(id.clone()),
        _ => Mode::Always,
    };
    let value = if dice.u32_below(2) == 0 { "1" } else { "2" };
    let flags = u64::from(dice.u32_below(2));
    match dice.u32_below(14) {
        0..=4 => Input::Set {
            key: name,
            value: value.into(),
            flags,
            mode,
        },
        5 => Input::Delete {
            key: name,
            index: (dice.u32_below(2) == 0).then_some(index),
        },
        6 => Input::DeleteTree { prefix: name },
        7 | 8 => Input::Begin {
            id,
            terms: Terms {
                lock_delay: Duration::from_secs(u64::from(dice.u32_below(10))),
                behavior: if flags == 0 {
                    Behavior::Release
                } else {
                    Behavior::Delete
                },
                ttl: (dice.u32_below(2) == 0).then_some(Duration::from_secs(10)),
                ..Terms::default()
            },
        },
        9 => Input::End(id),
        10 => Input::Txn(vec![
            Verb::Set {
                key: name,
                value: value.into(),
                flags,
                mode,
            },
            Verb::DeleteTree(key(dice)),
            Verb::CheckAbsent(key(dice)),
            Verb::Set {
                key: key(dice),
                value: value.into(),
                flags,
                mode: Mode::Always,
            },
        ]),
        11 | 12 => {
            let kept = Kept {
                alias: (flags == 0).then(|| "alias".into()),
                session: (value == "1").then_some(id),
                body: value.into(),
            };
            alter((key(dice), name), kept)
        }
        _ => Input::Tick,
    }
}

/// Forgets one query and keeps another.
fn alter((gone, id): (Key, Key), kept: Kept) -> Input {
    Input::Alter(vec![
        Alteration::Forget(Kind::Query, gone, Expectation::Nothing),
        Alteration::Keep(Kind::Query, id, kept, Expectation::Nothing),
    ])
}
