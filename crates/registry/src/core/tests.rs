//! Claims about the engine.

use std::{collections::HashMap, sync::Arc};

use portolan_catalog::Bequest;
use portolan_dialects::native::Registration;
use portolan_model::{
    Guard, Health, Instance, InstanceId, Override, Ruling, ServiceKey, SourceId, Timestamp,
};
use portolan_runtime::Dice;

use super::*;

fn at(millis: u64) -> Moment {
    Moment {
        uptime: Duration::from_millis(millis),
        at: Timestamp::from_millis(1_780_272_000_000 + millis),
    }
}

fn subject(id: &str) -> Subject {
    Subject {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
    }
}

fn described(id: &str, json: &str) -> Box<Described> {
    let registration: Registration = serde_json::from_str(json).unwrap();
    let Subject { key, id } = subject(id);
    let caller = "127.0.0.1".parse().unwrap();
    let source = SourceId::new("registry");
    Box::new(
        registration
            .describe(key, Some(id), caller, &source)
            .unwrap(),
    )
}

fn engine() -> Engine {
    Engine::new(Bounds::default())
}

fn register(engine: &mut Engine, now: u64, json: &str) -> Step {
    engine.step(at(now), Input::Register(described("a", json)))
}

fn departures(step: &Step) -> Vec<Departure> {
    let departure = |change: &Change| match change {
        Change::Remove { departure, .. } => Some(*departure),
        Change::Put { .. } | Change::Reset { .. } | Change::Stale { .. } => None,
    };
    step.changes.iter().filter_map(departure).collect()
}

fn put(step: &Step) -> &Instance {
    match step.changes.as_slice() {
        [Change::Put { instance }] => instance,
        other => panic!("{other:?}"),
    }
}

const CHECKED: &str = r#"{"port": 1, "check": {"tcp": {}}}"#;

fn judged(health: Health) -> Input {
    let verdict = Verdict { health, note: None };
    let address = "127.0.0.1:1".parse().unwrap();
    Input::Judge(subject("a"), address, Some(verdict))
}

#[test]
fn a_silent_instance_goes_by_inference_and_never_early() {
    let mut engine = engine();
    let created = register(&mut engine, 0, r#"{"port": 1, "ttl": "10s"}"#);
    assert_eq!(created.answer, Answer::Created(Duration::from_secs(10)));
    assert_eq!(engine.step(at(9_999), Input::Tick).changes, []);
    let expired = engine.step(at(10_000), Input::Tick);
    assert_eq!(departures(&expired), [Departure::Inferred]);
    assert!(engine.is_empty());
}

#[test]
fn a_heartbeat_moves_the_deadline_and_tells_nobody() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1, "ttl": "10s"}"#);
    let beat = engine.step(at(8_000), Input::Renew(subject("a"), None));
    assert_eq!((beat.changes.len(), beat.orders.len()), (0, 0));
    assert_eq!(engine.step(at(17_999), Input::Tick).changes, []);
    assert_eq!(engine.step(at(18_000), Input::Tick).changes.len(), 1);
}

#[test]
fn a_heartbeat_of_a_stranger_is_unknown() {
    let beat = engine().step(at(0), Input::Renew(subject("a"), None));
    assert_eq!(beat.answer, Answer::Unknown);
}

#[test]
fn the_same_registration_again_changes_nothing() {
    let mut engine = engine();
    register(&mut engine, 0, CHECKED);
    let again = register(&mut engine, 5, CHECKED);
    assert_eq!(again.answer, Answer::Kept(CHECKED_TTL));
    assert_eq!((again.changes.len(), again.orders.len()), (0, 0));
    let other = register(&mut engine, 6, r#"{"port": 2, "check": {"tcp": {}}}"#);
    assert_eq!((other.changes.len(), other.orders.len()), (1, 1));
}

#[test]
fn a_report_is_told_once() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1}"#);
    let report = Report {
        health: Some(Health::Critical),
        note: Some("disk full".into()),
    };
    let told = engine.step(at(7), Input::Renew(subject("a"), Some(report.clone())));
    let state = &put(&told).state;
    assert_eq!((state.health, state.since), (Health::Critical, at(7).at));
    assert_eq!(state.note.as_deref(), Some("disk full"));
    let again = engine.step(at(9), Input::Renew(subject("a"), Some(report)));
    assert_eq!(again.changes, []);
}

#[test]
fn a_note_alone_leaves_the_status_as_it_was() {
    let noted = Report {
        health: None,
        note: Some("the disk is full".into()),
    };
    for (registration, health) in [
        (r#"{"port": 1}"#, Health::Passing),
        (
            r#"{"port": 1, "status": "warning", "note": "slow"}"#,
            Health::Warning,
        ),
        (CHECKED, Health::Starting),
    ] {
        let mut engine = engine();
        register(&mut engine, 0, registration);
        let step = engine.step(at(1), Input::Renew(subject("a"), Some(noted.clone())));
        let lease = engine.leases.find(&subject("a")).unwrap();
        assert_eq!(lease.shown().state.health, health, "{registration}");
        let is_told = health != Health::Starting;
        assert_eq!(step.changes.len(), usize::from(is_told), "{registration}");
    }
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1, "note": "new"}"#);
    let critical = Report {
        health: Some(Health::Critical),
        note: None,
    };
    let step = engine.step(at(1), Input::Renew(subject("a"), Some(critical)));
    assert_eq!(put(&step).state.note, None, "a note explains one status");
}

#[test]
fn a_checked_instance_starts_until_its_first_verdict() {
    let mut engine = engine();
    let created = register(&mut engine, 0, CHECKED);
    assert_eq!(put(&created).state.health, Health::Starting);
    assert!(matches!(created.orders.as_slice(), [CheckOrder::Set(..)]));
    let passed = engine.step(at(3), judged(Health::Passing));
    assert_eq!(put(&passed).state.health, Health::Passing);
}

#[test]
fn an_instance_known_by_its_check_stays_while_the_check_is_good() {
    let mut engine = engine();
    register(&mut engine, 0, CHECKED);
    engine.step(at(1), judged(Health::Passing));
    let day = 86_400_000;
    assert_eq!(engine.step(at(day), Input::Tick).changes, []);
    engine.step(at(day), judged(Health::Critical));
    let hour = 3_600_000;
    assert_eq!(engine.step(at(day + hour - 1), Input::Tick).changes, []);
    let expired = engine.step(at(day + hour), Input::Tick);
    assert_eq!(departures(&expired), [Departure::Inferred]);
    assert_eq!(expired.orders, [CheckOrder::Clear(subject("a"))]);
}

#[test]
fn the_worse_of_report_and_verdict_counts() {
    let mut engine = engine();
    register(
        &mut engine,
        0,
        r#"{"port": 1, "status": "warning", "check": {"tcp": {}}}"#,
    );
    assert_eq!(engine.step(at(1), judged(Health::Passing)).changes, []);
    let failed = engine.step(at(2), judged(Health::Critical));
    assert_eq!(put(&failed).state.health, Health::Critical);
}

#[test]
fn a_verdict_about_an_address_that_was_left_is_not_heard() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 2, "check": {"tcp": {}}}"#);
    assert_eq!(engine.step(at(1), judged(Health::Critical)).changes, []);
}

#[test]
fn a_drain_marks_then_removes_by_word() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1}"#);
    let leaving = engine.step(at(1), Input::Leave(subject("a"), Duration::from_secs(5)));
    assert!(put(&leaving).state.leaving);
    let Answer::Leaving(drain) = leaving.answer else {
        panic!("{leaving:?}")
    };
    let gone = engine.step(at(2), Input::Drained(subject("a"), drain));
    assert_eq!(departures(&gone), [Departure::Explicit]);
}

#[test]
fn a_drain_that_nobody_ends_is_ended_by_word_and_heartbeats_do_not_prolong_it() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1}"#);
    engine.step(at(0), Input::Leave(subject("a"), Duration::from_secs(5)));
    engine.step(at(4_000), Input::Renew(subject("a"), None));
    assert_eq!(engine.step(at(5_999), Input::Tick).changes, []);
    let gone = engine.step(at(6_000), Input::Tick);
    assert_eq!(departures(&gone), [Departure::Explicit]);
}

#[test]
fn whoever_registers_while_leaving_stays() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1}"#);
    let leaving = engine.step(at(1), Input::Leave(subject("a"), Duration::from_secs(5)));
    let Answer::Leaving(drain) = leaving.answer else {
        panic!("{leaving:?}")
    };
    let back = register(&mut engine, 2, r#"{"port": 1}"#);
    assert!(!put(&back).state.leaving);
    let ended = engine.step(at(3), Input::Drained(subject("a"), drain));
    assert_eq!((ended.answer, ended.changes.len()), (Answer::Returned, 0));
    assert_eq!(engine.step(at(29_000), Input::Tick).changes, []);
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let mut engine = Engine::new(Bounds {
        instances_max: 1,
        ..Bounds::default()
    });
    for (ttl, is_fine) in [
        ("999ms", false),
        ("1s", true),
        ("1d", true),
        ("86400001ms", false),
    ] {
        let step = register(&mut engine, 0, &format!(r#"{{"port": 1, "ttl": "{ttl}"}}"#));
        let refused = matches!(step.answer, Answer::Refused(Refusal::Ttl { .. }));
        assert_eq!(refused, !is_fine, "{ttl}");
    }
    let second = engine.step(at(0), Input::Register(described("b", r#"{"port": 1}"#)));
    assert_eq!(second.answer, Answer::Refused(Refusal::Full { limit: 1 }));
}

/// What a simple-minded reader of the API expects.
#[derive(Default)]
struct Expected {
    /// Last sign of life and TTL, by instance.
    alive: HashMap<String, (u64, u64)>,
    /// As the changes say.
    told: HashMap<String, Instance>,
}

impl Expected {
    fn read(&mut self, now: u64, step: &Step) {
        for change in &step.changes {
            match change {
                Change::Put { instance } => {
                    let before = self
                        .told
                        .insert(instance.id.to_string(), (**instance).clone());
                    assert_ne!(before.as_ref(), Some(&**instance), "a change changes");
                }
                Change::Remove { id, departure, .. } => {
                    assert!(self.told.remove(id.as_str()).is_some(), "{id} was there");
                    if *departure == Departure::Inferred {
                        let (seen, ttl) = self.alive.remove(id.as_str()).unwrap();
                        assert!(seen + ttl <= now, "{id} was expired early");
                    }
                }
                Change::Reset { .. } | Change::Stale { .. } => panic!("{change:?}"),
            }
        }
    }
}

fn simulate(seed: u64) {
    let mut dice = Dice::new(seed);
    let (mut engine, mut expected, mut now) = (engine(), Expected::default(), 0);
    for _ in 0..20_000 {
        now += u64::from(dice.u32_below(400));
        let id = format!("i{}", dice.u32_below(40));
        let input = match dice.u32_below(10) {
            0..=2 => {
                let (ttl, port) = (1000 + dice.u32_below(20_000), 1 + dice.u32_below(2));
                expected.alive.insert(id.clone(), (now, u64::from(ttl)));
                let json = format!(r#"{{"port": {port}, "ttl": "{ttl}ms"}}"#);
                Input::Register(described(&id, &json))
            }
            3..=6 => {
                if let Some(lease) = expected.alive.get_mut(&id) {
                    lease.0 = now;
                }
                Input::Renew(subject(&id), None)
            }
            7 => {
                expected.alive.remove(&id);
                Input::Deregister(subject(&id))
            }
            _ => Input::Tick,
        };
        let is_tick = input == Input::Tick;
        let step = engine.step(at(now), input.clone());
        expected.read(now, &step);
        if let Input::Renew(..) = input {
            let known = expected.alive.contains_key(&id);
            assert_eq!(matches!(step.answer, Answer::Kept(_)), known, "seed {seed}");
        }
        if is_tick {
            let zombie = expected
                .alive
                .values()
                .find(|(seen, ttl)| seen + ttl <= now);
            assert_eq!(zombie, None, "seed {seed} at {now}");
        }
        assert_eq!(engine.len(), expected.told.len(), "seed {seed} at {now}");
        assert_eq!(engine.len(), expected.alive.len(), "seed {seed} at {now}");
        let soonest = expected.alive.values().map(|(seen, ttl)| seen + ttl).min();
        let next = engine.next_deadline().map(|next| next.as_millis());
        assert!(
            next <= soonest.map(u128::from) || soonest.is_none(),
            "seed {seed}"
        );
    }
}

#[test]
fn nobody_is_expired_early_stays_as_a_zombie_or_comes_back_unasked() {
    for seed in 0..4 {
        simulate(seed);
    }
}

#[test]
fn a_successor_goes_on_where_its_predecessor_stopped() {
    let mut old = engine();
    for (id, json) in [
        ("a", r#"{"port": 1, "ttl": "10s"}"#),
        ("b", r#"{"port": 2, "ttl": "10s", "check": {"tcp": {}}}"#),
    ] {
        old.step(at(0), Input::Register(described(id, json)));
    }
    old.step(at(4000), Input::Leave(subject("b"), Duration::from_secs(2)));
    let Answer::Exported(handed) = old.step(at(6000), Input::Export).answer else {
        panic!("an export exports");
    };
    let renewed = old.step(at(6000), Input::Renew(subject("a"), None));
    assert_eq!(renewed.answer, Answer::Refused(Refusal::HandedOver));
    let text = serde_json::to_string(&handed).unwrap();
    let handed: Handed = serde_json::from_str(&text).unwrap();

    let mut new = engine();
    let step = new.step(at(100), Input::Adopt(Box::new(handed)));
    assert!(matches!(&step.changes[..], [Change::Reset { instances, .. }] if instances.len() == 2));
    assert!(matches!(&step.orders[..], [CheckOrder::Set(..)]));
    let gone = |step: Step| step.changes.len();
    assert_eq!(gone(new.step(at(1000), Input::Tick)), 0);
    assert_eq!(
        gone(new.step(at(1100), Input::Tick)),
        1,
        "the drain's grace is over"
    );
    assert_eq!(gone(new.step(at(4099), Input::Tick)), 0);
    assert_eq!(
        gone(new.step(at(4100), Input::Tick)),
        1,
        "silent for ten seconds"
    );
}

#[test]
fn a_successor_tells_the_catalogue_who_was_held_and_gives_them_no_lease() {
    let mut suspect = described("a", r#"{"port": 1}"#).instance;
    suspect.state.guard = Guard::Suspect;
    let quiet = ServiceKey::parse("quiet").unwrap();
    let handed = Handed {
        suspects: vec![suspect.into()],
        services: vec![quiet.clone()],
        ..Handed::default()
    };
    let mut engine = engine();
    let step = engine.step(at(0), Input::Adopt(Box::new(handed)));
    assert!(matches!(&step.changes[..], [Change::Reset { instances, .. }] if instances.len() == 1));
    let bequest = Bequest {
        suspects: vec![(subject("a").key, subject("a").id)],
        services: vec![quiet],
    };
    assert_eq!((step.bequest, engine.len()), (Some(bequest), 0));
}

fn ruling(traffic: Override) -> Arc<Ruling> {
    Arc::new(Ruling {
        traffic,
        weight: None,
        reason: Some("disk swap".into()),
        actor: Some("ann".into()),
        at: at(0).at,
    })
}

#[test]
fn a_ruling_needs_no_instance_and_is_a_fact() {
    let mut engine = engine();
    let drained = Some(ruling(Override::Drain));
    let step = engine.step(at(0), Input::Rule(subject("a"), drained.clone()));
    assert_eq!(step.answer, Answer::Ruled);
    assert_eq!(step.rulings[0].ruling, drained);
    assert!(
        matches!(step.facts.as_slice(), [Fact::Ruling(record)] if record.subject == subject("a"))
    );
    register(&mut engine, 1, r#"{"port": 1}"#);
    engine.step(at(2), Input::Deregister(subject("a")));
    let Answer::Rulings(records) = engine.step(at(3), Input::Rulings).answer else {
        panic!("rulings are asked for");
    };
    assert_eq!(
        records.len(),
        1,
        "it stays while the instance comes and goes"
    );
    let step = engine.step(at(4), Input::Rule(subject("a"), None));
    assert_eq!(step.rulings[0].ruling, None);
    assert_eq!(step.facts, [Fact::NoRuling(subject("a"))]);
    let step = engine.step(at(5), Input::Rule(subject("a"), None));
    assert_eq!(step.answer, Answer::Unknown);
}

#[test]
fn rulings_have_a_limit() {
    let mut engine = engine();
    let mut rule = |number: usize| {
        let drained = Some(ruling(Override::Drain));
        engine
            .step(at(0), Input::Rule(subject(&format!("i{number}")), drained))
            .answer
    };
    for number in 0..RULINGS_MAX {
        assert_eq!(rule(number), Answer::Ruled);
    }
    let limit = RULINGS_MAX;
    assert_eq!(
        rule(RULINGS_MAX),
        Answer::Refused(Refusal::RulingsFull { limit })
    );
    assert_eq!(rule(0), Answer::Ruled, "one that is there can be changed");
}

#[test]
fn a_patch_changes_what_it_names_until_the_next_registration() {
    let mut engine = engine();
    let json = r#"{"port": 1, "version": "v1", "metadata": {"a": "1", "b": "2"}}"#;
    register(&mut engine, 0, json);
    let patch: Patch = serde_json::from_str(
        r#"{"version": null, "zone": "z", "metadata": {"a": null, "c": "3"}, "weight": 7}"#,
    )
    .unwrap();
    let step = engine.step(at(1), Input::Patch(subject("a"), Box::new(patch)));
    let instance = put(&step);
    assert_eq!(
        (instance.version.as_deref(), instance.zone.as_deref()),
        (None, Some("z"))
    );
    let keys: Vec<_> = instance.metadata.keys().map(|key| &**key).collect();
    assert_eq!(keys, ["b", "c"]);
    assert_eq!(instance.weight.as_u16(), 7);
    assert_eq!(step.facts.len(), 1);
    let step = register(&mut engine, 2, json);
    assert_eq!(put(&step).version.as_deref(), Some("v1"));
}

#[test]
fn a_patch_that_makes_too_much_changes_nothing() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1}"#);
    let labels = |count: usize| Patch {
        metadata: (0..count)
            .map(|key| (key.to_string().into(), Some("".into())))
            .collect(),
        ..Patch::default()
    };
    let step = engine.step(at(1), Input::Patch(subject("a"), Box::new(labels(257))));
    assert!(
        matches!(step.answer, Answer::Refused(Refusal::Misfit(_))),
        "{step:?}"
    );
    assert!(step.changes.is_empty() && step.facts.is_empty());
    let step = engine.step(at(1), Input::Patch(subject("a"), Box::new(labels(256))));
    assert_eq!(put(&step).metadata.len(), 256);
}

#[test]
fn many_beat_at_once_and_strangers_are_named() {
    let mut engine = engine();
    register(&mut engine, 0, r#"{"port": 1, "ttl": "10s"}"#);
    let beat = engine.step(at(8_000), Input::RenewAll(vec![subject("a"), subject("b")]));
    assert_eq!(beat.answer, Answer::Missing(vec![subject("b")]));
    assert!(beat.changes.is_empty() && beat.facts.is_empty());
    assert_eq!(engine.step(at(17_999), Input::Tick).changes, []);
    assert_eq!(engine.step(at(18_000), Input::Tick).changes.len(), 1);
}

#[test]
fn what_was_stored_comes_back_with_a_whole_ttl() {
    let mut engine = engine();
    let created = register(&mut engine, 0, r#"{"port": 1, "ttl": "10s"}"#);
    let mut handed = Handed::default();
    for fact in created.facts {
        handed.take(Some(fact));
    }
    handed.take(Some(Fact::Ruling(RulingRecord {
        subject: subject("a"),
        ruling: ruling(Override::Drain),
    })));
    let text = serde_json::to_string(&handed).unwrap();
    let handed: Handed = serde_json::from_str(&text).unwrap();
    let mut next = Engine::new(Bounds::default());
    let step = next.step(at(50_000), Input::Adopt(Box::new(handed)));
    assert!(step.facts.is_empty(), "what is stored is not stored again");
    assert_eq!((step.changes.len(), step.rulings.len()), (1, 1));
    assert_eq!(next.step(at(59_999), Input::Tick).changes, []);
    assert_eq!(next.step(at(60_000), Input::Tick).changes.len(), 1);
}

#[test]
fn only_a_sign_of_life_without_news_is_heard_on_the_spot() {
    let at = |seconds: u64| at(seconds * 1_000);
    let mut engine = engine();
    let report = |health, note: Option<&str>| Report {
        health,
        note: note.map(Into::into),
    };
    assert_eq!(engine.hear(at(0), &subject("a"), None, 0), None, "unknown");
    register(&mut engine, 0, r#"{"port": 1, "ttl": "10s"}"#);
    let ttl = Some(Duration::from_secs(10));
    assert_eq!(engine.hear(at(5), &subject("a"), None, 0), ttl);
    let is_there = |engine: &mut Engine, now| {
        engine.step(at(now), Input::Tick);
        engine.has(&subject("a"))
    };
    assert!(is_there(&mut engine, 14));
    let critical = report(Some(Health::Critical), Some("disk full"));
    assert_eq!(engine.hear(at(14), &subject("a"), Some(&critical), 0), None);
    engine.step(at(14), Input::Renew(subject("a"), Some(critical.clone())));
    let written = engine.written(&subject("a")).unwrap();
    let mut hear = |settled| engine.hear(at(15), &subject("a"), Some(&critical), settled);
    assert_eq!(hear(written - 1), None, "may be lost");
    assert_eq!(hear(written), ttl);
    let other = report(None, Some("disk nearly full"));
    assert_eq!(engine.hear(at(15), &subject("a"), Some(&other), 0), None);
    engine.step(at(15), Input::Export);
    assert_eq!(engine.hear(at(16), &subject("a"), None, 0), None, "sealed");
    engine.step(at(16), Input::Resume);
    assert_eq!(engine.hear(at(17), &subject("a"), None, 0), ttl);
    assert!(is_there(&mut engine, 26));
    assert!(!is_there(&mut engine, 27));
    assert_eq!(engine.hear(at(27), &subject("a"), None, 0), None, "expired");
}

#[test]
fn instances_of_a_service_share_what_they_have_in_common() {
    let mut engine = engine();
    let text = r#"{"port": 1, "zone": "z", "tags": ["t"], "metadata": {"k": "v"}}"#;
    let mut register = |id: &str| {
        let step = engine.step(at(0), Input::Register(described(id, text)));
        put(&step).clone()
    };
    let (first, second) = (register("a"), register("b"));
    let shared = |one: &Instance| {
        let (key, value) = one.metadata.first_key_value().unwrap();
        [
            one.key.name.to_shared(),
            one.key.namespace.to_shared(),
            one.endpoints[0].name.to_shared(),
            one.zone.clone().unwrap(),
            Arc::clone(&one.tags[0]),
            Arc::clone(key),
            Arc::clone(value),
        ]
    };
    for (one, other) in shared(&first).iter().zip(&shared(&second)) {
        assert!(Arc::ptr_eq(one, other), "{one}");
    }
    assert_ne!(first.id, second.id);
}

#[test]
fn a_lease_is_found_by_its_subject_however_many_came_and_went() {
    let mut engine = engine();
    let subjects: Vec<_> = (0..3000)
        .map(|n| Subject {
            // Ids are unique in a service only.
            key: ServiceKey::parse(&format!("s{}/orders", n % 3)).unwrap(),
            id: InstanceId::parse(&format!("i{}", n / 3)).unwrap(),
        })
        .collect();
    let register = |engine: &mut Engine, subject: &Subject| {
        let mut described = described("a", r#"{"port": 1}"#);
        (described.instance.key, described.instance.id) = (subject.key.clone(), subject.id.clone());
        engine.step(at(0), Input::Register(described)).answer
    };
    for subject in &subjects {
        assert!(matches!(register(&mut engine, subject), Answer::Created(_)));
    }
    let leavers = || subjects.iter().step_by(2);
    for subject in leavers() {
        engine.step(at(0), Input::Deregister(subject.clone()));
    }
    assert_eq!(engine.len(), 1500);
    for (n, subject) in subjects.iter().enumerate() {
        assert_eq!(engine.has(subject), n % 2 == 1);
        assert_eq!(engine.hear(at(0), subject, None, 0).is_some(), n % 2 == 1);
    }
    for subject in leavers() {
        assert!(matches!(register(&mut engine, subject), Answer::Created(_)));
    }
    assert!(subjects.iter().all(|subject| engine.has(subject)));
    assert_eq!(engine.len(), 3000);
}
