//! Claims about holds: their causes, what ends them, and how fast they go.

use std::{sync::Mutex, time::Duration};

use portolan_model::Guard;

use super::*;
use crate::{
    Evidence, GuardReport, HoldStatus, Keeping, Scope, Selector, Sign, Traces, guard::Absence,
};

/// What a test says that requests met.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<(ServiceKey, InstanceId), Traces>>);

impl Told {
    pub(super) fn answered(&self, now: Timestamp, service: &str, name: &str) {
        let mut told = self.0.lock().unwrap();
        told.entry((key(service), id(name))).or_default().answered = Some(now);
    }

    pub(super) fn refused(&self, now: Timestamp, service: &str, name: &str) {
        let mut told = self.0.lock().unwrap();
        told.entry((key(service), id(name))).or_default().refused = Some(now);
    }
}

impl Evidence for Told {
    fn traces(&self, _now: Timestamp, instance: &Instance) -> Traces {
        let told = self.0.lock().unwrap();
        let subject = (instance.key.clone(), instance.id.clone());
        told.get(&subject).copied().unwrap_or_default()
    }
}

/// An instance at an address of its own.
pub(super) fn instance_in(service: &str, name: &str, zone: Option<&str>) -> Arc<Instance> {
    let mut instance = Instance::clone(&instance(service, name));
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let port = 10_000 + digits.parse::<u16>().unwrap_or(0);
    instance.endpoints[0].address.set_port(port);
    instance.zone = zone.map(Into::into);
    Arc::new(instance)
}

fn put_in(service: &str, name: &str, zone: Option<&str>) -> Change {
    Change::Put {
        instance: instance_in(service, name, zone),
    }
}

fn watched() -> (Fold, Arc<Told>) {
    let (mut fold, told) = (fold(), Arc::new(Told::default()));
    let evidence: Arc<dyn Evidence> = Arc::clone(&told) as Arc<dyn Evidence>;
    fold.set_evidence(evidence);
    (fold, told)
}

/// A fold with so many instances of `orders` that registered.
fn registered(count: usize) -> (Fold, Arc<Told>) {
    let (mut fold, told) = watched();
    for name in names("a", count) {
        fold.says(at(0), "registry", put_in("orders", &name, None));
    }
    (fold, told)
}

impl Fold {
    fn falls_silent(&mut self, seconds: u64, service: &str, name: &str) {
        let gone = remove(service, name, Departure::Inferred);
        self.says(at(seconds), "registry", gone);
    }

    fn report(&self) -> GuardReport {
        self.catalog().guard().clone()
    }

    fn only_hold(&self) -> HoldStatus {
        let [hold] = &self.report().holds[..] else {
            panic!("{:?}", self.report());
        };
        hold.clone()
    }

    fn resolves(&mut self, seconds: u64, selector: Selector, word: Word) -> Applied {
        let saying = Saying {
            source: source("guard"),
            actor: Some("127.0.0.1".into()),
            news: News::Resolved(Resolution { selector, word }),
        };
        self.apply(at(seconds), saying)
    }
}

#[test]
fn a_hold_says_what_would_have_gone_of_how_many_and_until_when() {
    let (mut fold, told) = registered(10);
    told.answered(at(1), "orders", "a001");
    told.refused(at(2), "orders", "a001");
    fold.falls_silent(50, "orders", "a000");
    fold.falls_silent(60, "orders", "a001");
    let hold = fold.only_hold();
    assert_eq!((hold.key, hold.id), (key("orders"), id("a001")));
    assert_eq!(
        (hold.keeping, hold.absence),
        (Keeping::Suspect, Absence::Silent)
    );
    let cause = hold.cause;
    assert_eq!(
        (cause.scope, cause.gone, cause.expected),
        (Scope::Service, 2, 10)
    );
    assert_eq!((hold.since, hold.until), (at(60), Some(at(360))));
    assert_eq!(hold.traces.refused, Some(at(2)));
    let totals = fold.report().totals;
    assert_eq!((totals.within_share, totals.held), (1, 1));
}

#[test]
fn a_zone_that_loses_too_much_is_held_across_services() {
    let (mut fold, _) = watched();
    for name in names("s", 20) {
        for n in 0..3 {
            let zone = format!("z{n}");
            let change = put_in(&name, &format!("i{n}"), Some(&zone));
            fold.says(at(0), "registry", change);
        }
    }
    // 20 instances in the zone: three may go.
    for name in names("s", 5) {
        fold.falls_silent(1, &name, "i1");
    }
    let holds = fold.report().holds;
    assert_eq!(holds.len(), 2);
    assert_eq!((holds[0].cause.gone, holds[0].cause.expected), (4, 20));
    for hold in &holds {
        assert_eq!(hold.cause.scope, Scope::Zone("z1".into()));
        assert_eq!(hold.zone.as_deref(), Some("z1"));
    }
}

#[test]
fn a_list_that_forgets_a_zone_is_held() {
    let (mut fold, _) = watched();
    let all: Vec<_> = names("s", 20)
        .into_iter()
        .flat_map(|s| (0..10).map(move |n| (s.clone(), n)))
        .collect();
    let list = |left_out: &dyn Fn(&str, usize) -> bool| Change::Reset {
        services: Vec::new(),
        instances: all
            .iter()
            .filter(|(s, n)| !left_out(s, *n))
            .map(|(s, n)| instance_in(s, &format!("i{n}"), Some(if *n == 0 { "a" } else { "b" })))
            .collect(),
    };
    fold.says(at(0), "dns", list(&|_, _| false));
    // One of ten of each service may go, and twenty of two hundred, but not all of a zone.
    fold.says(at(1), "dns", list(&|_, n| n == 0));
    let holds = fold.report().holds;
    assert_eq!(holds.len(), 20);
    assert_eq!(holds[0].cause.scope, Scope::Zone("a".into()));
    assert_eq!((holds[0].cause.gone, holds[0].cause.expected), (20, 20));
}

#[test]
fn many_services_that_lose_one_each_are_held_as_a_whole() {
    let (mut fold, _) = watched();
    for name in names("s", 20) {
        fold.says(at(0), "registry", put_in(&name, "i1", None));
        fold.says(at(0), "file", put_in(&name, "i2", None));
    }
    for name in names("s", 5) {
        fold.falls_silent(1, &name, "i1");
        let gone = remove(&name, "i2", Departure::Inferred);
        fold.says(at(1), "file", gone);
    }
    // Each is the last that its source has of its service.
    assert_eq!(fold.report().holds.len(), 10);
    for name in names("t", 100) {
        fold.says(at(2), "registry", put_in(&name, "i1", None));
        fold.says(at(2), "registry", put_in(&name, "i2", None));
        fold.says(at(2), "file", put_in(&name, "i3", None));
        fold.says(at(2), "file", put_in(&name, "i4", None));
    }
    for (n, name) in names("t", 100).iter().enumerate() {
        let (who, which) = if n % 2 == 0 {
            ("registry", "i1")
        } else {
            ("file", "i3")
        };
        fold.says(at(3), who, remove(name, which, Departure::Inferred));
    }
    let scopes: BTreeSet<_> = fold
        .report()
        .holds
        .into_iter()
        .map(|hold| hold.cause.scope)
        .collect();
    // 215 and 215 instances, of which 32 may go each: 64 of 430 altogether.
    assert!(scopes.contains(&Scope::Source), "{scopes:?}");
}

#[test]
fn a_good_answer_keeps_a_silent_instance_and_all_of_its_traffic() {
    let (mut fold, told) = registered(2);
    told.answered(at(40), "orders", "a000");
    fold.falls_silent(60, "orders", "a000");
    assert_eq!(fold.ids("orders").unwrap(), ["a000", "a001"]);
    let hold = fold.only_hold();
    assert_eq!(
        (hold.keeping, hold.cause.scope, hold.until),
        (Keeping::Vouched, Scope::Evidence, None)
    );
    assert_eq!(fold.report().totals.vouched, 1);
    // It goes on as long as it answers, and is judged when it does no longer.
    for seconds in (65..500).step_by(5) {
        told.answered(at(seconds), "orders", "a000");
        fold.run(at(seconds));
    }
    assert_eq!(fold.ids("orders").unwrap(), ["a000", "a001"]);
    fold.run(at(520));
    assert_eq!(fold.ids("orders").unwrap(), ["a000", "a001"]);
    fold.run(at(530));
    assert_eq!(fold.ids("orders").unwrap(), ["a001"]);
    assert_eq!(fold.report().holds, []);
}

#[test]
fn an_old_answer_does_not_keep_a_silent_instance() {
    let (mut fold, told) = registered(2);
    told.answered(at(30), "orders", "a000");
    fold.falls_silent(60, "orders", "a000");
    assert_eq!(fold.ids("orders").unwrap(), ["a001"]);
}

#[test]
fn a_refusal_after_an_answer_speaks_against_it() {
    let (mut fold, told) = registered(2);
    told.answered(at(50), "orders", "a000");
    told.refused(at(51), "orders", "a000");
    fold.falls_silent(60, "orders", "a000");
    assert_eq!(fold.ids("orders").unwrap(), ["a001"]);
}

#[test]
fn an_answer_at_an_address_that_somebody_else_has_now_counts_for_nobody() {
    let (mut fold, told) = watched();
    fold.says(at(0), "registry", put("orders", "old"));
    fold.says(at(0), "registry", put("orders", "new"));
    told.answered(at(59), "orders", "old");
    fold.falls_silent(60, "orders", "old");
    assert_eq!(fold.ids("orders").unwrap(), ["new"]);
}

#[test]
fn a_held_instance_that_refuses_connections_goes_early() {
    let (mut fold, told) = registered(3);
    for name in ["a000", "a001", "a002"] {
        fold.falls_silent(60, "orders", name);
    }
    assert_eq!(fold.held("orders"), 2);
    told.refused(at(61), "orders", "a001");
    told.refused(at(61), "orders", "a002");
    fold.run(at(65));
    assert_eq!(fold.ids("orders").unwrap(), ["a002?"]);
    // The last one stays, whatever speaks against it, until its time is over.
    fold.run(at(359));
    told.refused(at(359), "orders", "a002");
    assert_eq!(fold.ids("orders").unwrap(), ["a002?"]);
    fold.run(at(360));
    assert_eq!(fold.ids("orders").unwrap(), [""; 0]);
    let totals = fold.report().totals;
    assert_eq!((totals.found_dead, totals.hold_over), (1, 1));
}

#[test]
fn a_hold_ends_by_itself_when_a_request_is_answered() {
    let (mut fold, told) = registered(1);
    fold.falls_silent(60, "orders", "a000");
    assert_eq!(fold.ids("orders").unwrap(), ["a000?"]);
    told.answered(at(70), "orders", "a000");
    fold.run(at(75));
    assert_eq!(fold.ids("orders").unwrap(), ["a000"]);
    assert_eq!(fold.only_hold().keeping, Keeping::Vouched);
    let events = fold.says(at(76), "registry", put_in("orders", "a000", None));
    assert_eq!(events.events.len(), 0, "nothing else changed");
    assert_eq!(fold.report().holds, []);
}

#[test]
fn a_sign_of_life_ends_a_hold_at_once() {
    let (mut fold, _) = registered(1);
    fold.falls_silent(60, "orders", "a000");
    let seen = |sign| {
        News::Seen(Seen {
            key: key("orders"),
            id: id("a000"),
            sign,
        })
    };
    let applied = fold.news(at(61), "registry", seen(Sign::Dead));
    assert!(applied.changed.is_empty());
    fold.news(at(62), "registry", seen(Sign::Alive));
    assert_eq!(fold.ids("orders").unwrap(), ["a000"]);
    // It is not repeated, so after a while it counts no more.
    fold.run(at(100));
    assert_eq!(fold.ids("orders").unwrap(), ["a000?"]);
}

#[test]
fn a_good_check_of_a_foreign_instance_ends_its_hold() {
    let (mut fold, _) = watched();
    fold.says(at(0), "consul", put("orders", "a"));
    fold.says(at(1), "consul", remove("orders", "a", Departure::Inferred));
    assert_eq!(fold.ids("orders").unwrap(), ["a?"]);
    fold.news(
        at(2),
        "checks",
        judged("orders", "a", Some(Health::Passing)),
    );
    fold.run(at(6));
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
    fold.run(at(1000));
    assert_eq!(fold.ids("orders").unwrap(), ["a"], "it is checked still");
    fold.news(at(1001), "checks", judged("orders", "a", None));
    fold.run(at(1020));
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
    fold.run(at(1035));
    assert_eq!(fold.ids("orders").unwrap(), ["a?"]);
}

#[test]
fn an_unlisted_instance_that_answers_goes_all_the_same_if_others_are_listed() {
    let (mut fold, told) = watched();
    let list = |count| Change::Reset {
        services: vec![key("orders")],
        instances: names("a", count)
            .iter()
            .map(|name| instance_in("orders", name, None))
            .collect(),
    };
    fold.says(at(0), "dns", list(4));
    fold.says(at(1), "dns", list(2));
    for seconds in (5..320).step_by(5) {
        told.answered(at(seconds), "orders", "a002");
        told.answered(at(seconds), "orders", "a003");
        fold.run(at(seconds));
    }
    assert_eq!(fold.ids("orders").unwrap(), ["a000", "a001"]);
}

#[test]
fn an_empty_list_is_not_believed_while_the_instances_answer() {
    let (mut fold, told) = watched();
    let list = |count| Change::Reset {
        services: vec![key("orders")],
        instances: names("a", count)
            .iter()
            .map(|name| instance_in("orders", name, None))
            .collect(),
    };
    fold.says(at(0), "dns", list(2));
    fold.says(at(1), "dns", list(0));
    for seconds in (5..1000).step_by(5) {
        told.answered(at(seconds), "orders", "a000");
        told.answered(at(seconds), "orders", "a001");
        fold.run(at(seconds));
    }
    assert_eq!(fold.ids("orders").unwrap(), ["a000?", "a001?"]);
    fold.run(at(1100));
    assert_eq!(fold.ids("orders").unwrap(), [""; 0]);
}

#[test]
fn holds_that_are_over_go_a_share_a_pass() {
    let (mut fold, _) = registered(100);
    for name in names("a", 100) {
        fold.falls_silent(60, "orders", &name);
    }
    let left = |fold: &Fold| fold.ids("orders").unwrap().len();
    assert_eq!((left(&fold), fold.held("orders")), (85, 85));
    fold.run(at(359));
    assert_eq!(left(&fold), 85);
    let mut seen = Vec::new();
    for seconds in (360..).step_by(5).take(20) {
        fold.run(at(seconds));
        seen.push(left(&fold));
    }
    let first = [
        73, 63, 54, 46, 40, 34, 29, 25, 22, 19, 17, 15, 13, 12, 11, 10,
    ];
    assert_eq!(seen[..16], first);
    fold.run(at(600));
    assert_eq!(left(&fold), 0);
}

#[test]
fn one_call_releases_all_holds_and_says_who_called() {
    let (mut fold, _) = registered(100);
    for name in names("a", 100) {
        fold.falls_silent(60, "orders", &name);
    }
    let applied = fold.resolves(61, Selector::default(), Word::Release);
    assert_eq!(fold.ids("orders"), Some(vec![]));
    assert_eq!(applied.events.len(), 85);
    let event = &applied.events[0];
    assert_eq!(event.origin.source, source("registry"));
    assert_eq!(event.origin.actor.as_deref(), Some("127.0.0.1"));
    assert!(matches!(
        event.change,
        Change::Remove {
            departure: Departure::Explicit,
            ..
        }
    ));
    assert_eq!(fold.report().totals.released, 85);
    assert_eq!(fold.watch.next_pass, None);
}

#[test]
fn what_is_to_be_kept_stays_until_it_is_heard_of() {
    let (mut fold, told) = registered(2);
    fold.falls_silent(60, "orders", "a000");
    fold.falls_silent(60, "orders", "a001");
    let one = Selector {
        service: Some(key("orders")),
        id: Some(id("a001")),
        ..Selector::default()
    };
    let applied = fold.resolves(61, one.clone(), Word::Keep);
    assert_eq!(applied.events.len(), 1, "the journal says who decided");
    assert_eq!(fold.only_hold().keeping, Keeping::Told);
    told.refused(at(400), "orders", "a001");
    fold.run(at(10_000));
    assert_eq!(fold.ids("orders").unwrap(), ["a001?"]);
    assert_eq!(fold.only_hold().until, None);
    fold.says(at(10_001), "registry", put_in("orders", "a001", None));
    assert_eq!(fold.ids("orders").unwrap(), ["a001"]);
    assert_eq!(fold.report().holds, []);
}

#[test]
fn a_call_may_mean_a_service_an_instance_a_zone_or_a_source() {
    let build = || {
        let (mut fold, _) = watched();
        for (service, zone) in [("orders", "a"), ("users", "b")] {
            for who in ["registry", "consul"] {
                let name = format!("{who}-1");
                fold.says(at(0), who, put_in(service, &name, Some(zone)));
                let gone = remove(service, &name, Departure::Inferred);
                fold.says(at(1), who, gone);
            }
        }
        assert_eq!(fold.report().holds.len(), 4);
        fold
    };
    let left = |selector: Selector| {
        let mut fold = build();
        fold.resolves(2, selector, Word::Release);
        let holds = fold.report().holds;
        let show = |hold: &HoldStatus| format!("{}/{}", hold.key.name, hold.id);
        holds.iter().map(show).collect::<Vec<_>>()
    };
    let none = Selector::default;
    let users = ["users/consul-1", "users/registry-1"];
    let service = Some(key("orders"));
    assert_eq!(left(Selector { service, ..none() }), users);
    let zone = Some("a".into());
    assert_eq!(left(Selector { zone, ..none() }), users);
    let source = Some(source("consul"));
    let registry = ["orders/registry-1", "users/registry-1"];
    assert_eq!(left(Selector { source, ..none() }), registry);
    let (service, id) = (Some(key("orders")), Some(id("consul-1")));
    let one = Selector {
        service,
        id,
        ..none()
    };
    assert_eq!(left(one).len(), 3);
    assert_eq!(left(none()), [""; 0]);
}

#[test]
fn a_guard_that_is_switched_off_holds_nobody_and_lets_go() {
    let (mut fold, told) = registered(2);
    fold.falls_silent(60, "orders", "a000");
    fold.falls_silent(60, "orders", "a001");
    assert_eq!(fold.held("orders"), 1);
    fold.set_guard(GuardSettings {
        hold: Duration::ZERO,
        ..GuardSettings::default()
    });
    told.answered(at(61), "orders", "a001");
    fold.run(at(65));
    assert_eq!(fold.ids("orders").unwrap(), [""; 0]);
    fold.says(at(70), "registry", put_in("orders", "a001", None));
    fold.falls_silent(71, "orders", "a001");
    assert_eq!(fold.ids("orders").unwrap(), [""; 0]);
}

fn reports(fold: &mut Fold, seconds: u64, health: Health) {
    let mut instance = Instance::clone(&instance_in("orders", "a000", None));
    instance.state.health = health;
    let instance = Arc::new(instance);
    fold.says(at(seconds), "registry", Change::Put { instance });
}

#[test]
fn whoever_goes_down_again_and_again_gets_less_until_it_has_been_steady() {
    let (mut fold, _) = registered(2);
    let guard = |fold: &Fold| {
        let service = fold.catalog().service(&key("orders")).cloned().unwrap();
        service.instances[0].state.guard
    };
    for n in 0..3 {
        assert_eq!(guard(&fold), Guard::None);
        reports(&mut fold, 10 * n, Health::Critical);
        reports(&mut fold, 10 * n + 5, Health::Passing);
    }
    assert_eq!(guard(&fold), Guard::Flapping);
    let [flap] = &fold.report().flaps[..] else {
        panic!("{:?}", fold.report().flaps);
    };
    assert!(flap.is_damped && flap.score > 2.5, "{flap:?}");
    let until = flap.until;
    assert!(until > at(20 + 300) && until < at(20 + 600), "{until}");
    assert!(fold.run(at(300)).0.is_empty());
    let (changed, _) = fold.run(until);
    assert_eq!(changed, BTreeSet::from([key("orders")]));
    assert_eq!(guard(&fold), Guard::None);
}

#[test]
fn who_leaves_in_good_order_does_not_flap() {
    let (mut fold, _) = registered(2);
    for n in 0..20 {
        fold.says(
            at(n),
            "registry",
            remove("orders", "a000", Departure::Explicit),
        );
        fold.says(at(n), "registry", put_in("orders", "a000", None));
        reports(&mut fold, n, Health::Starting);
        reports(&mut fold, n, Health::Passing);
    }
    assert_eq!(fold.report().flaps, []);
}

#[test]
fn damping_that_is_switched_off_ends() {
    let (mut fold, _) = registered(2);
    for n in 0..3 {
        reports(&mut fold, 10 * n, Health::Critical);
        reports(&mut fold, 10 * n + 5, Health::Passing);
    }
    fold.set_guard(GuardSettings {
        half_life: Duration::ZERO,
        ..GuardSettings::default()
    });
    assert_eq!(fold.arrange(at(30), &[]).changed, [key("orders")]);
    assert_eq!(fold.report().flaps, []);
}
