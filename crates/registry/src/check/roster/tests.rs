//! Claims about the roster.

use std::num::NonZeroU32;

use portolan_model::{Health, InstanceId, route::Place};

use super::*;

const HOME: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

fn subject(id: &str) -> Subject {
    Subject {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
    }
}

fn probe(id: &str, interval: u64) -> Probe {
    let tcp = Means::Tcp {
        at: Place::Home,
        tls: None,
    };
    Probe {
        interval: Duration::from_secs(interval),
        fall: NonZeroU32::MIN,
        ..Probe::new(id, tcp)
    }
}

fn check(interval: u64) -> Arc<Probe> {
    Arc::new(probe("tcp", interval))
}

fn good() -> Outcome {
    Outcome::good("")
}

fn roster() -> Roster {
    Roster::new(Dice::new(1))
}

fn set_own(roster: &mut Roster, probes: Vec<Probe>) -> Option<Judgement> {
    let wanted: Vec<_> = probes.into_iter().map(|p| (HOME, Arc::new(p))).collect();
    roster.set(0, &subject("a"), HOME, (Wish::Own, &wanted))
}

/// The serial of the next probe that is due.
fn take(roster: &mut Roster, now: u64) -> Option<u64> {
    match roster.take_due(now)? {
        Due::Probe(serial, ..) => {
            roster.begin(now, serial).unwrap();
            Some(serial)
        }
        Due::Look(_) | Due::Found(_) => panic!("only probes are due here"),
    }
}

/// The health that is told, and why.
fn told(judgement: Option<Judgement>) -> Option<(Health, String)> {
    let verdict = judgement?.verdict?;
    Some((
        verdict.health,
        verdict.note.as_deref().unwrap_or_default().to_owned(),
    ))
}

#[test]
fn an_own_check_is_due_at_once_then_within_the_interval_then_every_interval() {
    let mut roster = roster();
    set_own(&mut roster, vec![probe("tcp", 10)]);
    let mut begun = 5;
    for earliest in [0, 9000, 9000] {
        let serial = take(&mut roster, begun).unwrap();
        assert!(roster.take_due(begun + 60_000).is_none(), "one at a time");
        roster.ended(begun, serial, &good());
        let next = roster.next_due().unwrap();
        assert!(
            (begun + earliest..=begun + 11_000).contains(&next),
            "{next}"
        );
        begun = next;
    }
}

#[test]
fn instances_that_come_together_do_not_stay_together() {
    let mut roster = roster();
    for n in 0..1000 {
        let wanted = [(HOME, check(10))];
        roster.set(0, &subject(&n.to_string()), HOME, (Wish::Own, &wanted));
    }
    while let Some(serial) = take(&mut roster, 0) {
        roster.ended(0, serial, &good());
    }
    for second in 1..10 {
        let due = std::iter::from_fn(|| take(&mut roster, second * 1000)).count();
        assert!((60..=200).contains(&due), "{due} in second {second}");
    }
}

#[test]
fn the_checks_of_a_service_are_spread() {
    let mut roster = roster();
    for n in 0..100 {
        let wanted = [(HOME, check(10))];
        roster.set(0, &subject(&n.to_string()), HOME, (Wish::Upstream, &wanted));
    }
    let at_once = std::iter::from_fn(|| take(&mut roster, 10)).count();
    assert!(at_once < 10, "{at_once}");
    assert!(std::iter::from_fn(|| take(&mut roster, 1000)).count() > 80);
}

#[test]
fn the_worst_of_several_checks_is_told_and_told_once() {
    let mut roster = roster();
    set_own(&mut roster, vec![probe("tcp", 10)]);
    let own = take(&mut roster, 0).unwrap();
    let other = [(HOME, check(20))];
    roster.set(0, &subject("a"), HOME, (Wish::Upstream, &other));
    let other = take(&mut roster, 1000).unwrap();
    let passing = Some((Health::Passing, String::new()));
    assert_eq!(told(roster.ended(0, own, &good())), passing);
    let failed = Outcome::bad("connection refused");
    let refused = Some((Health::Critical, "tcp: connection refused".to_owned()));
    assert_eq!(told(roster.ended(1000, other, &failed)), refused);
    let gone = roster.set(0, &subject("a"), HOME, (Wish::Upstream, &[]));
    assert_eq!(told(gone), passing);
    set_own(&mut roster, vec![]);
    assert_eq!(roster.next_due(), None);
    assert!(roster.ended(2000, own, &good()).is_none());
}

#[test]
fn nobody_passes_by_one_check_while_another_of_its_own_has_not_ended() {
    let mut roster = roster();
    set_own(&mut roster, vec![probe("a", 10), probe("b", 10)]);
    let (a, b) = (take(&mut roster, 0).unwrap(), take(&mut roster, 0).unwrap());
    assert_eq!(roster.ended(0, a, &good()), None);
    assert_eq!(
        told(roster.ended(0, a, &Outcome::bad("refused"))),
        Some((Health::Critical, "a: refused".to_owned()))
    );
    assert_eq!(
        told(roster.ended(0, a, &good())),
        Some((
            Health::Starting,
            "b: waiting for its first check".to_owned()
        ))
    );
    assert_eq!(
        told(roster.ended(0, b, &good())),
        Some((Health::Passing, String::new()))
    );
}

#[test]
fn a_good_word_to_begin_with_is_told_at_once_and_a_bad_one_is_not() {
    let mut roster = roster();
    let with = |initial| Probe {
        initial: Some(initial),
        ..probe("tcp", 10)
    };
    let begun = set_own(&mut roster, vec![with(Health::Passing)]);
    assert_eq!(told(begun), Some((Health::Passing, String::new())));
    set_own(&mut roster, vec![]);
    let begun = set_own(&mut roster, vec![with(Health::Critical)]);
    assert_eq!(begun, None);
    let state = roster.targets(&subject("a"))[0].counter.verdict().unwrap();
    assert_eq!(state.health, Health::Critical);
}

#[test]
fn whoever_registers_anew_is_told_again_what_the_upstream_s_check_found() {
    let mut roster = roster();
    let wanted = [(HOME, check(10))];
    roster.set(0, &subject("a"), HOME, (Wish::Upstream, &wanted));
    let serial = take(&mut roster, 1000).unwrap();
    let first = roster.ended(1000, serial, &good());
    let again = set_own(&mut roster, vec![]);
    assert_eq!(again, first);
}

#[test]
fn a_check_that_is_done_otherwise_keeps_what_was_found() {
    let mut roster = roster();
    set_own(&mut roster, vec![probe("tcp", 10)]);
    let serial = take(&mut roster, 0).unwrap();
    roster.ended(0, serial, &Outcome::good("fine"));
    let passing = Some((Health::Passing, String::new()));
    assert_eq!(told(set_own(&mut roster, vec![probe("tcp", 20)])), passing);
    assert_eq!(&*roster.targets(&subject("a"))[0].output, "fine");
    let serial = take(&mut roster, 0).unwrap();
    let refused = Outcome::bad("refused");
    assert!(
        roster.ended(0, serial, &refused).is_some(),
        "until it is found anew"
    );
}

#[test]
fn what_was_found_before_the_process_began_holds_until_something_else_is() {
    let mut roster = roster();
    let ttl = Probe::new("ttl", Means::Ttl(Duration::from_millis(100)));
    let wanted = [(HOME, Arc::new(ttl))];
    let resumed = |roster: &mut Roster, name: &str, health| {
        let found = Verdict { health, note: None };
        told(roster.resume(0, &subject(name), HOME, (&wanted, found)))
    };
    let passing = Some((Health::Passing, String::new()));
    assert_eq!(resumed(&mut roster, "a", Health::Passing), passing);
    let bad = resumed(&mut roster, "b", Health::Critical);
    assert_eq!(bad, None, "the registry knows that already");
    let state = roster.targets(&subject("b"))[0].counter.verdict().unwrap();
    assert_eq!(state.health, Health::Critical);
    assert!(
        matches!(roster.take_due(100), Some(Due::Found(Some(_)))),
        "it fell silent"
    );
}

#[test]
fn a_probe_takes_its_turn_with_the_host_that_it_goes_to() {
    let mut roster = roster();
    let elsewhere: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let tcp = Means::Tcp {
        at: Place::Address(elsewhere),
        tls: None,
    };
    set_own(&mut roster, vec![Probe::new("tcp", tcp)]);
    assert!(matches!(roster.take_due(0), Some(Due::Probe(_, host, _)) if host == elsewhere.ip()));
}

#[test]
fn another_address_is_counted_anew() {
    let mut roster = roster();
    let elsewhere = SocketAddr::new(HOME.ip(), 2);
    set_own(&mut roster, vec![probe("tcp", 10)]);
    let serial = take(&mut roster, 0).unwrap();
    roster.ended(0, serial, &good());
    let wanted = [(elsewhere, check(10))];
    let moved = roster.set(1, &subject("a"), elsewhere, (Wish::Own, &wanted));
    assert_eq!(moved, None, "the registry has forgotten the verdict, too");
    assert_eq!(roster.take_gone(), [serial]);
    assert!(matches!(roster.take_due(1), Some(Due::Probe(_, host, _)) if host == elsewhere.ip()));
}

#[test]
fn whoever_does_not_report_in_time_is_critical() {
    let mut roster = roster();
    let ttl = Probe::new("ttl", Means::Ttl(Duration::from_millis(100)));
    assert_eq!(set_own(&mut roster, vec![ttl]), None);
    let says = (&subject("a"), "ttl");
    assert_eq!(
        told(roster.report(50, says, &good()).unwrap()),
        Some((Health::Passing, String::new()))
    );
    assert!(roster.take_due(149).is_none());
    let Some(Due::Found(late)) = roster.take_due(150) else {
        panic!("the time is over")
    };
    assert_eq!(
        told(late),
        Some((Health::Critical, "no report within 100ms".to_owned()))
    );
    assert!(roster.take_due(100_000).is_none(), "it is told once");
    assert!(roster.report(200, says, &good()).unwrap().is_some());
    assert_eq!(roster.next_due(), Some(300));
}

#[test]
fn a_report_needs_a_check_that_takes_it() {
    let mut roster = roster();
    set_own(&mut roster, vec![probe("tcp", 10)]);
    let report = |roster: &mut Roster, id: &str, check| {
        roster
            .report(0, (&subject(id), check), &good())
            .unwrap_err()
    };
    assert_eq!(report(&mut roster, "z", "tcp"), ReportError::Unknown);
    assert_eq!(report(&mut roster, "a", "ttl"), ReportError::Unknown);
    assert_eq!(report(&mut roster, "a", "tcp"), ReportError::NotReported);
}

#[test]
fn whoever_is_critical_for_too_long_is_doomed_unless_it_recovers() {
    let mut roster = roster();
    let doomed = Probe {
        deregister_after: Some(Duration::from_mins(1)),
        ..probe("tcp", 10)
    };
    set_own(&mut roster, vec![doomed]);
    let serial = take(&mut roster, 0).unwrap();
    let bad = Outcome::bad("refused");
    roster.ended(1000, serial, &bad);
    roster.ended(30_000, serial, &good());
    assert_eq!(roster.take_doomed(100_000), None);
    roster.ended(100_000, serial, &bad);
    roster.ended(130_000, serial, &bad);
    assert_eq!(roster.take_doomed(159_999), None);
    assert_eq!(roster.take_doomed(160_000), Some(subject("a")));
    assert_eq!(roster.take_doomed(160_000), None);
    assert_eq!(
        roster.take_doomed(170_000),
        Some(subject("a")),
        "again, if that failed"
    );
    set_own(&mut roster, vec![]);
    assert_eq!(roster.take_doomed(1_000_000), None);
}

#[test]
fn whoever_looks_at_itself_in_the_end_is_told_so() {
    use portolan_catalog::{Fold, GuardSettings};
    use portolan_model::{Revision, RevisionClock, Timestamp};
    let mut roster = roster();
    let alias = |service: &str| {
        let means = Means::Alias {
            service: ServiceKey::parse(service).unwrap(),
            instance: None,
        };
        [(HOME, Arc::new(Probe::new("alias", means)))]
    };
    let payments = Subject {
        key: ServiceKey::parse("payments").unwrap(),
        ..subject("p")
    };
    roster.set(0, &subject("a"), HOME, (Wish::Own, &alias("payments")));
    let Some(Due::Look(serial)) = roster.take_due(0) else {
        panic!("it is due at once")
    };
    let clock = RevisionClock::new(Revision::FIRST);
    let catalog = Fold::new(GuardSettings::default(), clock, Timestamp::default()).catalog();
    let absent = (Health::Critical, "payments is not there".to_owned());
    assert_eq!(told(roster.look(0, serial, &catalog)), Some(absent));
    roster.set(0, &payments, HOME, (Wish::Own, &alias("orders")));
    let (_, note) = told(roster.look(0, serial, &catalog)).unwrap();
    assert_eq!(note, "the aliases go in a circle");
    let key = ServiceKey::parse("payments").unwrap();
    assert_eq!(roster.watchers(&key), [serial]);
    roster.set(0, &payments, HOME, (Wish::Own, &[]));
    roster.set(0, &subject("a"), HOME, (Wish::Own, &alias("orders")));
    let Some(Due::Look(serial)) = roster.take_due(0) else {
        panic!("it is due at once")
    };
    let (_, note) = told(roster.look(0, serial, &catalog)).unwrap();
    assert_eq!(note, "orders is not there", "it does not look at itself");
}
