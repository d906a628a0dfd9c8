//! What must hold of objects.

use portolan_model::Timestamp;

use super::*;
use crate::{Input, Kept, Moment, Output, Query, Terms};

fn at(seconds: u64) -> Moment {
    Moment {
        uptime: std::time::Duration::from_secs(seconds),
        at: Timestamp::from_millis(1_800_000_000_000 + seconds * 1000),
    }
}

fn engine() -> Engine {
    Engine::restore(at(0), []).unwrap()
}

fn keep(kind: Kind, id: &str, kept: Kept) -> Alteration {
    Alteration::Keep(kind, id.into(), kept, Expectation::Nothing)
}

fn named(alias: &str) -> Kept {
    Kept {
        alias: Some(alias.into()),
        ..Kept::default()
    }
}

fn alter(engine: &mut Engine, alteration: Alteration) -> Answer {
    engine.step(at(1), Input::Alter(vec![alteration])).answer
}

fn ids(engine: &Engine, kind: Kind) -> Vec<String> {
    let Output::Objects(objects) = engine.look(&Query::Objects(kind)).0 else {
        panic!("no objects");
    };
    objects.iter().map(|(id, _)| id.to_string()).collect()
}

#[test]
fn a_name_is_one_objects_and_no_id() {
    let mut engine = engine();
    let query = |id, alias| keep(Kind::Query, id, named(alias));
    assert_eq!(alter(&mut engine, query("1", "web")), Answer::Done(true));
    assert_eq!(
        alter(&mut engine, query("2", "web")),
        Answer::Refused(Refusal::AliasTaken("web".into()))
    );
    assert_eq!(
        alter(&mut engine, query("2", "1")),
        Answer::Refused(Refusal::AliasIsId("1".into()))
    );
    assert_eq!(alter(&mut engine, query("1", "shop")), Answer::Done(true));
    assert_eq!(alter(&mut engine, query("2", "web")), Answer::Done(true));
}

#[test]
fn what_is_expected_must_hold() {
    let mut engine = engine();
    let query = |expected| Alteration::Keep(Kind::Query, "1".into(), named("a"), expected);
    let refused = Answer::Refused(Refusal::Unexpected("1".into()));
    assert_eq!(alter(&mut engine, query(Expectation::Present)), refused);
    assert_eq!(
        alter(&mut engine, query(Expectation::Absent)),
        Answer::Done(true)
    );
    assert_eq!(alter(&mut engine, query(Expectation::Absent)), refused);
    let index = engine.look(&Query::Objects(Kind::Query)).1;
    let forget = |expected| Alteration::Forget(Kind::Query, "1".into(), expected);
    let stale = forget(Expectation::At(Revision::FIRST));
    assert_eq!(alter(&mut engine, stale), refused);
    let right = forget(Expectation::At(index));
    assert_eq!(alter(&mut engine, right), Answer::Done(true));
    assert!(ids(&engine, Kind::Query).is_empty());
}

#[test]
fn alterations_are_done_together_or_not_at_all() {
    let mut engine = engine();
    let both = vec![
        keep(Kind::Node, "n", Kept::default()),
        Alteration::Forget(Kind::Check, "c".into(), Expectation::Present),
    ];
    let step = engine.step(at(1), Input::Alter(both));
    assert_eq!(
        step.answer,
        Answer::Refused(Refusal::Unexpected("c".into()))
    );
    assert!(step.writes.is_empty());
    assert!(ids(&engine, Kind::Node).is_empty());
    assert_eq!(engine.counts(), super::super::Counts::default());
}

#[test]
fn a_session_takes_its_objects_with_it() {
    let mut engine = engine();
    let id = SessionId::new("one").unwrap();
    let of_it = Kept {
        session: Some(id.clone()),
        ..Kept::default()
    };
    let query = keep(Kind::Query, "1", of_it);
    assert_eq!(
        alter(&mut engine, query.clone()),
        Answer::Refused(Refusal::NoSession(id.clone()))
    );
    let begin = Input::Begin {
        id: id.clone(),
        terms: Terms::default(),
    };
    engine.step(at(1), begin);
    assert_eq!(alter(&mut engine, query), Answer::Done(true));
    let ended = engine.step(at(2), Input::End(id));
    assert_eq!(ended.kinds_changed, [Kind::Query]);
    assert!(ids(&engine, Kind::Query).is_empty());
}

#[test]
fn one_event_too_many_takes_the_place_of_the_oldest_and_a_node_is_refused() {
    let mut engine = engine();
    for number in 0..=Kind::Event.max() {
        // Ids are in another order than the events.
        let id = format!("{:04}", 9_999 - number);
        alter(&mut engine, keep(Kind::Event, &id, Kept::default()));
    }
    let events = ids(&engine, Kind::Event);
    assert_eq!(events.len(), Kind::Event.max());
    assert!(!events.contains(&"9999".to_owned()), "the first one");
    for number in 0..Kind::Query.max() {
        let id = number.to_string();
        alter(&mut engine, keep(Kind::Query, &id, Kept::default()));
    }
    assert_eq!(
        alter(&mut engine, keep(Kind::Query, "more", Kept::default())),
        Answer::Refused(Refusal::TooManyObjects(Kind::Query.max()))
    );
    let again = keep(Kind::Query, "0", named("x"));
    assert_eq!(alter(&mut engine, again), Answer::Done(true));
}

#[test]
fn an_object_is_refused_one_byte_past_the_limit() {
    let mut engine = engine();
    let sized = |size: usize| Kept {
        body: "x".repeat(size).into(),
        ..Kept::default()
    };
    let at_limit = keep(Kind::Query, "1", sized(OBJECT_BYTES_MAX));
    assert_eq!(alter(&mut engine, at_limit), Answer::Done(true));
    let past = keep(Kind::Query, "2", sized(OBJECT_BYTES_MAX + 1));
    assert_eq!(
        alter(&mut engine, past),
        Answer::Refused(Refusal::ObjectTooLarge(OBJECT_BYTES_MAX + 1))
    );
}
