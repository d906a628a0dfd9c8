//! Claims about the fold, its guard and its journal.

use portolan_model::{
    Health, InstanceId, Name, NamedPort, Override, Ruling, State, Verdict, Weight,
};
use proptest::prelude::*;

mod guard;
mod simulation;

use super::*;
use crate::SourceStatus;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1000)
}

fn fold() -> Fold {
    Fold::new(
        GuardSettings::default(),
        RevisionClock::new(Revision::FIRST),
        at(0),
    )
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::parse(name).unwrap()
}

fn id(name: &str) -> InstanceId {
    InstanceId::parse(name).unwrap()
}

fn source(name: &str) -> SourceId {
    SourceId::new(name)
}

fn instance(service: &str, name: &str) -> Arc<Instance> {
    Arc::new(Instance {
        key: key(service),
        id: id(name),
        endpoints: Box::new([NamedPort {
            name: Name::parse("default").unwrap(),
            address: "127.0.0.1:9001".parse().unwrap(),
        }]),
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: BTreeMap::new(),
        source: source("whoever"),
        state: State::default(),
    })
}

fn critical(service: &str, name: &str) -> Arc<Instance> {
    let mut instance = Instance::clone(&instance(service, name));
    instance.state.health = Health::Critical;
    Arc::new(instance)
}

fn put(service: &str, name: &str) -> Change {
    Change::Put {
        instance: instance(service, name),
    }
}

fn remove(service: &str, name: &str, departure: Departure) -> Change {
    Change::Remove {
        key: key(service),
        id: id(name),
        departure,
    }
}

fn reset(services: &[&str], instances: &[(&str, &str)]) -> Change {
    let instances = instances
        .iter()
        .map(|(service, name)| instance(service, name));
    Change::Reset {
        services: services.iter().map(|name| key(name)).collect(),
        instances: instances.collect(),
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n:03}")).collect()
}

fn reset_of(service: &str, names: &[String]) -> Change {
    let instances: Vec<_> = names.iter().map(|name| (service, name.as_str())).collect();
    reset(&[], &instances)
}

fn stale(reason: &str) -> Change {
    Change::Stale {
        reason: reason.into(),
    }
}

/// The state of one that nobody says anything of but that it is there.
fn seen_first_at(seconds: u64) -> State {
    State {
        first_seen: at(seconds),
        ..State::default()
    }
}

impl Fold {
    fn says(&mut self, now: Timestamp, name: &str, change: Change) -> Applied {
        self.news(now, name, News::Said(change))
    }

    fn news(&mut self, now: Timestamp, name: &str, news: News) -> Applied {
        let source = source(name);
        let actor = None;
        self.apply(
            now,
            Saying {
                source,
                actor,
                news,
            },
        )
    }

    /// Ids of a service; suspects have a question mark, stale ones a tilde.
    fn ids(&self, service: &str) -> Option<Vec<String>> {
        let catalog = self.catalog();
        let service = catalog.service(&key(service))?;
        let show = |instance: &Arc<Instance>| {
            let suspect = if share::is_held(instance) { "?" } else { "" };
            let stale = if instance.state.stale { "~" } else { "" };
            format!("{}{suspect}{stale}", instance.id)
        };
        Some(service.instances.iter().map(show).collect())
    }

    /// Does what is due up to a time, as the publisher would. The answer is all that changed.
    fn run(&mut self, until: Timestamp) -> (BTreeSet<ServiceKey>, Vec<Event>) {
        let (mut changed, mut events) = (BTreeSet::new(), Vec::new());
        while let Some(due) = self.next_deadline().filter(|due| *due <= until) {
            let applied = self.tick(due);
            changed.extend(applied.changed);
            events.extend(applied.events);
        }
        (changed, events)
    }

    fn status(&self, name: &str) -> SourceStatus {
        let catalog = self.catalog();
        let mut statuses = catalog.sources().iter();
        statuses
            .find(|status| status.id == source(name))
            .unwrap()
            .clone()
    }

    fn held(&self, service: &str) -> usize {
        let ids = self.ids(service).unwrap_or_default();
        ids.iter().filter(|id| id.contains('?')).count()
    }
}

#[test]
fn a_put_is_seen_and_named_once() {
    let mut fold = fold();
    let first = fold.says(at(1), "registry", put("orders", "a"));
    assert_eq!(first.changed, [key("orders")]);
    assert_eq!(first.events.len(), 1);
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
    let again = fold.says(at(2), "registry", put("orders", "a"));
    assert_eq!(
        (again.revision, again.changed.len(), again.events.len()),
        (first.revision, 0, 0)
    );
    assert_eq!(fold.status("registry").heard_at, Some(at(2)));
    assert_eq!(fold.status("registry").changed_at, Some(at(1)));
}

#[test]
fn a_catalogue_that_was_handed_out_never_changes() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    let kept = fold.catalog();
    fold.says(at(2), "registry", put("orders", "b"));
    assert_eq!(kept.service(&key("orders")).unwrap().instances.len(), 1);
    assert_eq!(
        fold.catalog()
            .service(&key("orders"))
            .unwrap()
            .instances
            .len(),
        2
    );
    assert!(fold.catalog().revision() > kept.revision());
}

#[test]
fn an_instance_belongs_to_the_source_that_says_it() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    let catalog = fold.catalog();
    let service = catalog.service(&key("orders")).unwrap();
    assert_eq!(service.instances[0].source, source("registry"));
    assert_eq!(service.modified, catalog.revision());
}

#[test]
fn a_service_outlives_its_last_instance_for_an_hour() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(
        at(2),
        "registry",
        remove("orders", "a", Departure::Explicit),
    );
    assert_eq!(fold.ids("orders"), Some(vec![]));
    assert_eq!(fold.next_deadline(), Some(at(3602)));
    assert!(fold.tick(at(3601)).changed.is_empty());
    assert_eq!(fold.tick(at(3602)).changed, [key("orders")]);
    assert_eq!((fold.ids("orders"), fold.next_deadline()), (None, None));
}

#[test]
fn a_service_that_fills_again_is_not_forgotten() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(
        at(2),
        "registry",
        remove("orders", "a", Departure::Explicit),
    );
    fold.says(at(3), "registry", put("orders", "a"));
    fold.says(
        at(9),
        "registry",
        remove("orders", "a", Departure::Explicit),
    );
    fold.tick(at(3602));
    assert_eq!(fold.ids("orders"), Some(vec![]));
    fold.tick(at(3609));
    assert_eq!(fold.ids("orders"), None);
}

#[test]
fn empty_services_are_bounded() {
    let mut fold = fold();
    for n in 0..=EMPTY_SERVICES_MAX {
        let name = format!("s{n}");
        fold.says(at(1), "registry", put(&name, "a"));
        fold.says(at(1), "registry", remove(&name, "a", Departure::Explicit));
        if n + 1 == EMPTY_SERVICES_MAX {
            assert_eq!(fold.ids("s0"), Some(vec![]));
        }
    }
    assert_eq!((fold.ids("s0"), fold.ids("s1")), (None, Some(vec![])));
}

#[test]
fn what_a_predecessor_held_and_knew_is_held_and_known() {
    let mut fold = fold();
    fold.says(
        at(1),
        "registry",
        reset(&[], &[("orders", "a"), ("orders", "b")]),
    );
    let bequest = Bequest {
        suspects: vec![(key("orders"), id("b")), (key("orders"), id("c"))],
        services: vec![key("orders"), key("quiet")],
    };
    let inherited = fold.news(at(2), "registry", News::Bequeathed(bequest.clone()));
    assert_eq!(inherited.changed, [key("orders"), key("quiet")]);
    assert_eq!(fold.ids("orders").unwrap(), ["a", "b?"]);
    assert_eq!(fold.ids("quiet"), Some(vec![]));
    let again = fold.news(at(3), "registry", News::Bequeathed(bequest));
    assert_eq!((again.changed, again.events), (vec![], vec![]));
    let hold = GuardSettings::default().hold.as_secs();
    fold.run(at(2 + hold));
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
    fold.tick(at(3602));
    assert_eq!(fold.ids("quiet"), None);
}

#[test]
fn a_reset_may_name_services_without_instances() {
    let mut fold = fold();
    let named = fold.says(at(1), "file", reset(&["empty"], &[("orders", "a")]));
    assert_eq!(named.changed, [key("empty"), key("orders")]);
    assert_eq!(fold.ids("empty"), Some(vec![]));
    let dropped = fold.says(at(2), "file", reset(&[], &[("orders", "a")]));
    assert_eq!(
        (dropped.changed, fold.ids("empty")),
        (vec![key("empty")], None)
    );
}

#[test]
fn a_reset_that_says_nothing_new_makes_no_revision() {
    let mut fold = fold();
    let first = fold.says(at(1), "dns", reset(&["orders"], &[("orders", "a")]));
    let second = fold.says(at(2), "dns", reset(&["orders"], &[("orders", "a")]));
    assert_eq!((second.revision, second.events.len()), (first.revision, 0));
}

#[test]
fn a_reset_is_journaled_by_what_it_changes() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset_of("orders", &names("a", 20)));
    let mut moved = names("a", 19);
    moved.push("new".to_owned());
    let changes = fold.says(at(2), "dns", reset_of("orders", &moved)).events;
    assert_eq!(changes.len(), 2);
    assert_eq!(
        changes[1].change,
        remove("orders", "a019", Departure::Inferred)
    );
    let Change::Put { instance } = &changes[0].change else {
        panic!("{changes:?}");
    };
    assert_eq!(instance.id, id("new"));
}

#[test]
fn a_reset_that_changes_too_much_is_journaled_whole() {
    for (count, events) in [(256, 256), (257, 1)] {
        let said = fold().says(at(1), "dns", reset_of("orders", &names("a", count)));
        assert_eq!(said.events.len(), events);
    }
    let mut fold = fold();
    let shaped = fold.says(at(1), "dns", reset(&["empty"], &[("orders", "a")]));
    assert!(matches!(shaped.events[0].change, Change::Reset { .. }));
}

#[test]
fn a_source_speaks_only_of_its_own_instances() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(at(1), "registry", put("orders", "b"));
    fold.says(at(2), "file", reset(&[], &[("orders", "c")]));
    fold.says(at(3), "file", remove("orders", "a", Departure::Explicit));
    assert_eq!(fold.ids("orders").unwrap(), ["a", "b", "c"]);
}

#[test]
fn the_first_source_in_order_wins_and_the_conflict_is_listed() {
    let mut fold = fold();
    fold.arrange(at(0), &[source("registry"), source("file")]);
    fold.says(at(1), "file", put("orders", "a"));
    fold.says(at(1), "another", put("orders", "a"));
    fold.says(
        at(2),
        "registry",
        Change::Put {
            instance: critical("orders", "a"),
        },
    );
    let catalog = fold.catalog();
    let service = catalog.service(&key("orders")).unwrap();
    assert_eq!(service.instances.len(), 1);
    assert_eq!(service.instances[0].state.health, Health::Critical);
    assert_eq!(
        service.conflicts,
        [crate::Conflict {
            id: id("a"),
            winner: source("registry"),
            losers: vec![source("file"), source("another")],
        }]
    );
    let changed = fold.arrange(at(3), &[source("another")]).changed;
    assert_eq!(changed, [key("orders")]);
    let catalog = fold.catalog();
    assert_eq!(
        catalog.service(&key("orders")).unwrap().conflicts[0].winner,
        source("another")
    );
    fold.says(at(4), "another", remove("orders", "a", Departure::Explicit));
    let catalog = fold.catalog();
    assert_eq!(
        catalog.service(&key("orders")).unwrap().conflicts[0].winner,
        source("file")
    );
}

#[test]
fn a_stale_source_keeps_its_instances_and_marks_them() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset(&[], &[("orders", "a"), ("users", "b")]));
    let applied = fold.says(at(2), "dns", stale("timeout"));
    assert_eq!(applied.changed, [key("orders"), key("users")]);
    assert_eq!(fold.ids("orders").unwrap(), ["a~"]);
    fold.says(at(3), "dns", stale("refused"));
    let status = fold.status("dns").stale.unwrap();
    assert_eq!((status.since, &*status.reason), (at(2), "refused"));
    assert!(fold.says(at(4), "dns", stale("refused")).events.is_empty());
    let back = fold.says(at(5), "dns", reset(&[], &[("orders", "a"), ("users", "b")]));
    assert_eq!((back.changed.len(), back.events.len()), (2, 1));
    assert_eq!(
        (fold.ids("orders").unwrap(), fold.status("dns").stale),
        (vec!["a".to_owned()], None)
    );
}

fn remembered(instances: &[(&str, &str)]) -> News {
    let instances = instances.iter().map(|(service, id)| instance(service, id));
    News::Remembered(instances.collect())
}

#[test]
fn what_is_remembered_is_served_and_marked_until_the_source_speaks() {
    let mut fold = fold();
    let applied = fold.news(
        at(1),
        "etcd",
        remembered(&[("orders", "a"), ("orders", "b")]),
    );
    assert_eq!(applied.changed, [key("orders")]);
    assert_eq!(fold.ids("orders").unwrap(), ["a~", "b~"]);
    assert!(fold.status("etcd").stale.is_some());
    fold.says(at(2), "etcd", stale("connection refused"));
    let status = fold.status("etcd").stale.unwrap();
    assert_eq!(
        (status.since, &*status.reason),
        (at(1), "connection refused")
    );
    fold.says(
        at(3),
        "etcd",
        reset(&[], &[("orders", "a"), ("orders", "c")]),
    );
    assert_eq!(fold.ids("orders").unwrap(), ["a", "c"]);
    assert_eq!(fold.status("etcd").stale, None);
}

#[test]
fn an_empty_list_after_what_is_remembered_is_held() {
    let mut fold = fold();
    fold.news(
        at(1),
        "etcd",
        remembered(&[("orders", "a"), ("orders", "b")]),
    );
    fold.says(at(2), "etcd", reset(&[], &[]));
    assert_eq!(fold.ids("orders").unwrap(), ["a?", "b?"]);
}

#[test]
fn a_source_with_the_last_word_overrules_what_is_remembered() {
    let mut fold = fold();
    fold.news(
        at(1),
        "file",
        remembered(&[("orders", "a"), ("orders", "b")]),
    );
    fold.news(at(1), "file", News::Replaced);
    fold.says(at(2), "file", reset(&[], &[("orders", "b")]));
    assert_eq!(fold.ids("orders").unwrap(), ["b"]);
}

#[test]
fn a_word_about_one_instance_is_no_word_about_what_is_only_remembered() {
    let mut fold = fold();
    fold.news(
        at(1),
        "dns",
        remembered(&[("orders", "a"), ("orders", "b")]),
    );
    fold.says(at(2), "dns", put("orders", "a"));
    assert_eq!(fold.ids("orders").unwrap(), ["a", "b~"]);
    assert!(fold.status("dns").stale.is_some());
    fold.says(
        at(3),
        "dns",
        reset(&[], &[("orders", "a"), ("orders", "b")]),
    );
    assert_eq!(fold.ids("orders").unwrap(), ["a", "b"]);
    assert_eq!(fold.status("dns").stale, None);
}

#[test]
fn nothing_is_remembered_of_a_source_that_has_said_everything() {
    let mut fold = fold();
    fold.says(at(1), "etcd", reset(&[], &[("orders", "a")]));
    let applied = fold.news(at(2), "etcd", remembered(&[("orders", "b")]));
    assert_eq!(applied.changed, []);
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
}

#[test]
fn what_a_source_said_already_counts_more_than_what_is_remembered() {
    let mut fold = fold();
    fold.says(
        at(1),
        "etcd",
        Change::Put {
            instance: critical("orders", "a"),
        },
    );
    fold.news(
        at(2),
        "etcd",
        remembered(&[("orders", "a"), ("orders", "b")]),
    );
    assert_eq!(fold.ids("orders").unwrap(), ["a", "b~"]);
    let catalog = fold.catalog();
    let service = catalog.service(&key("orders")).unwrap();
    assert_eq!(service.instances[0].state.health, Health::Critical);
}

#[test]
fn a_put_ends_staleness_even_if_it_says_nothing_new() {
    let mut fold = fold();
    fold.says(at(1), "dns", put("orders", "a"));
    fold.says(at(2), "dns", stale("timeout"));
    let applied = fold.says(at(3), "dns", put("orders", "a"));
    assert_eq!(
        (applied.changed, applied.events.len()),
        (vec![key("orders")], 1)
    );
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
}

#[test]
fn a_closed_source_takes_all_of_its_instances_along() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(
        at(1),
        "file",
        reset(&["empty"], &[("orders", "b"), ("users", "c")]),
    );
    let closed = fold.news(at(2), "file", News::Closed);
    assert_eq!(closed.changed, [key("empty"), key("orders"), key("users")]);
    assert_eq!(fold.ids("orders").unwrap(), ["a"]);
    assert_eq!(
        (fold.ids("users"), fold.catalog().sources().len()),
        (None, 1)
    );
    assert!(fold.news(at(3), "file", News::Closed).events.is_empty());
}

#[test]
fn a_replaced_source_may_drop_everything_at_once() {
    let mut fold = fold();
    fold.says(at(1), "file", reset_of("orders", &names("a", 4)));
    fold.says(at(2), "file", reset_of("orders", &names("a", 1)));
    assert_eq!(fold.held("orders"), 3);
    fold.news(at(3), "file", News::Replaced);
    assert_eq!(fold.ids("orders").unwrap().len(), 4);
    fold.says(at(4), "file", reset_of("orders", &names("b", 1)));
    assert_eq!(fold.ids("orders").unwrap(), ["b000"]);
    fold.says(at(5), "file", reset(&["orders"], &[]));
    assert_eq!(fold.ids("orders").unwrap(), ["b000?"]);
}

#[test]
fn a_short_list_is_held_until_the_hold_ends() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset_of("orders", &names("a", 10)));
    let short = fold.says(at(2), "dns", reset_of("orders", &names("a", 8)));
    assert_eq!(fold.held("orders"), 2);
    assert_eq!(short.events.len(), 2);
    assert_eq!(short.events[0].origin.actor.as_deref(), Some("guard"));
    assert_eq!(
        (fold.status("dns").held, fold.status("dns").instances),
        (2, 10)
    );
    fold.says(at(100), "dns", reset_of("orders", &names("a", 8)));
    assert!(fold.run(at(301)).0.is_empty());
    let ended = fold.run(at(302));
    assert_eq!(ended.0, BTreeSet::from([key("orders")]));
    assert_eq!(ended.1.len(), 1, "one of ten a pass");
    fold.run(at(307));
    assert_eq!(
        (fold.held("orders"), fold.ids("orders").unwrap().len()),
        (0, 8)
    );
    assert_eq!(
        (fold.status("dns").held, fold.status("dns").instances),
        (0, 8)
    );
}

#[test]
fn one_of_ten_may_go_by_inference() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset_of("orders", &names("a", 10)));
    fold.says(at(2), "dns", reset_of("orders", &names("a", 9)));
    assert_eq!(
        (fold.held("orders"), fold.ids("orders").unwrap().len()),
        (0, 9)
    );
    fold.says(at(3), "dns", reset_of("orders", &names("a", 8)));
    assert_eq!(
        (fold.held("orders"), fold.ids("orders").unwrap().len()),
        (1, 9)
    );
}

#[test]
fn a_deployment_is_not_an_outage() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset_of("orders", &names("a", 3)));
    fold.says(at(2), "dns", reset_of("orders", &names("b", 3)));
    assert_eq!(fold.ids("orders").unwrap(), ["b000", "b001", "b002"]);
}

#[test]
fn a_source_that_loses_many_services_a_little_is_held() {
    let mut fold = fold();
    let all: Vec<_> = names("s", 10)
        .into_iter()
        .flat_map(|s| [(s.clone(), "a"), (s, "b")])
        .collect();
    let all: Vec<_> = all
        .iter()
        .map(|(service, name)| (service.as_str(), *name))
        .collect();
    fold.says(at(1), "dns", reset(&[], &all));
    let half: Vec<_> = all
        .iter()
        .copied()
        .filter(|(_, name)| *name == "a")
        .collect();
    fold.says(at(2), "dns", reset(&[], &half));
    assert_eq!(fold.status("dns").held, 10);
}

#[test]
fn being_heard_of_ends_a_hold() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(
        at(2),
        "registry",
        remove("orders", "a", Departure::Inferred),
    );
    assert_eq!(fold.ids("orders").unwrap(), ["a?"]);
    assert!(
        fold.says(
            at(3),
            "registry",
            remove("orders", "a", Departure::Inferred)
        )
        .events
        .is_empty()
    );
    fold.says(at(4), "registry", put("orders", "a"));
    assert_eq!(
        (fold.ids("orders").unwrap(), fold.watch.next_pass),
        (vec!["a".to_owned()], None)
    );
}

#[test]
fn a_suspect_goes_when_somebody_says_so() {
    let mut fold = fold();
    fold.says(at(1), "registry", put("orders", "a"));
    fold.says(
        at(2),
        "registry",
        remove("orders", "a", Departure::Inferred),
    );
    fold.says(
        at(3),
        "registry",
        remove("orders", "a", Departure::Explicit),
    );
    assert_eq!(fold.ids("orders"), Some(vec![]));
    assert_eq!(fold.status("registry").held, 0);
}

#[test]
fn the_guard_does_not_keep_what_gets_no_traffic() {
    let mut fold = fold();
    fold.says(
        at(1),
        "registry",
        Change::Put {
            instance: critical("orders", "a"),
        },
    );
    fold.says(
        at(2),
        "registry",
        remove("orders", "a", Departure::Inferred),
    );
    assert_eq!(fold.ids("orders"), Some(vec![]));
}

#[test]
fn a_hold_stands_still_while_its_source_is_stale() {
    let mut fold = fold();
    fold.says(at(1), "dns", reset_of("orders", &names("a", 1)));
    fold.says(at(2), "dns", reset(&["orders"], &[]));
    fold.says(at(3), "dns", stale("timeout"));
    assert_eq!(fold.watch.next_pass, None);
    fold.tick(at(1000));
    assert_eq!(fold.ids("orders").unwrap(), ["a000?~"]);
    fold.says(at(1001), "dns", reset(&["orders"], &[]));
    assert_eq!(fold.next_deadline(), Some(at(1006)));
    fold.run(at(1300));
    assert_eq!(fold.ids("orders").unwrap(), ["a000?"]);
    fold.run(at(1301));
    assert_eq!(fold.ids("orders").unwrap(), [""; 0]);
}

#[test]
fn the_journal_tells_what_happened_since() {
    let mut fold = fold();
    let start = fold.catalog().revision();
    let first = fold.says(at(1), "registry", put("orders", "a"));
    let second = fold.says(at(2), "registry", put("orders", "b"));
    let catalog = fold.catalog();
    assert_eq!(catalog.journal().since(start).unwrap().len(), 2);
    assert_eq!(
        catalog.journal().since(first.revision).unwrap(),
        second.events
    );
    assert_eq!(catalog.journal().since(second.revision).unwrap(), []);
    assert!(catalog.journal().since(Revision::FIRST).is_err());
    assert_eq!(catalog.journal().revision_at(at(1)), Some(first.revision));
    assert_eq!(catalog.journal().revision_at(at(9)), Some(second.revision));
    assert_eq!(catalog.journal().revision_at(at(0)), None);
}

#[test]
fn the_journal_forgets_at_its_limit() {
    let mut fold = fold();
    let start = fold.catalog().revision();
    let mut revisions = vec![start];
    for n in 0..=crate::JOURNAL_ENTRIES_MAX {
        let applied = fold.says(at(1), "registry", put("orders", &format!("{}", n % 3)));
        let again = fold.says(
            at(1),
            "registry",
            remove("orders", &format!("{}", n % 3), Departure::Explicit),
        );
        revisions.extend([applied.revision, again.revision]);
        if revisions.len() == crate::JOURNAL_ENTRIES_MAX + 1 {
            assert!(fold.catalog().journal().since(start).is_ok());
        }
    }
    let catalog = fold.catalog();
    let oldest = revisions[revisions.len() - 1 - crate::JOURNAL_ENTRIES_MAX];
    assert_eq!(catalog.journal().oldest(), oldest);
    assert_eq!(
        catalog.journal().since(oldest).unwrap().len(),
        crate::JOURNAL_ENTRIES_MAX
    );
    assert!(catalog.journal().since(start).is_err());
}

#[test]
fn a_step_that_is_too_heavy_for_the_journal_is_forgotten_at_once() {
    let mut fold = fold();
    let names = names("a", crate::JOURNAL_WEIGHT_MAX + 1);
    let fits = fold.says(at(1), "file", reset_of("orders", &names[1..]));
    assert_eq!(
        fold.catalog().journal().oldest(),
        fold.catalog().journal().oldest().min(fits.revision)
    );
    assert!(fold.catalog().journal().oldest() < fits.revision);
    let heavy = fold.says(at(2), "dns", reset_of("users", &names));
    assert_eq!(fold.catalog().journal().oldest(), heavy.revision);
    assert!(
        fold.catalog()
            .journal()
            .since(heavy.revision)
            .unwrap()
            .is_empty()
    );
}

const SOURCES: [&str; 3] = ["registry", "file", "dns"];
const SERVICES: [&str; 2] = ["orders", "users"];

fn changes() -> impl Strategy<Value = News> {
    let which = (0..SERVICES.len(), 0..6_usize);
    let some = prop::collection::vec(which.clone(), 0..10);
    let departure = prop_oneof![Just(Departure::Explicit), Just(Departure::Inferred)];
    let health = prop_oneof![4 => Just(Health::Passing), 1 => Just(Health::Critical)];
    let put = (which.clone(), health).prop_map(|((service, n), health)| {
        let mut instance = Instance::clone(&instance(SERVICES[service], &format!("i{n}")));
        instance.state.health = health;
        let instance = Arc::new(instance);
        Change::Put { instance }
    });
    let remove = (which, departure).prop_map(|((service, n), departure)| {
        remove(SERVICES[service], &format!("i{n}"), departure)
    });
    let reset = some.prop_map(|some| {
        let names: Vec<_> = some
            .iter()
            .map(|(s, n)| (SERVICES[*s], format!("i{n}")))
            .collect();
        let names: Vec<_> = names.iter().map(|(s, n)| (*s, n.as_str())).collect();
        reset(&["orders"], &names)
    });
    let said = prop_oneof![4 => put, 4 => remove, 3 => reset, 1 => Just(stale("lost"))];
    prop_oneof![20 => said.prop_map(News::Said), 1 => Just(News::Closed), 1 => Just(News::Replaced)]
}

fn steps() -> impl Strategy<Value = Vec<(u64, usize, News)>> {
    prop::collection::vec((0..200_u64, 0..SOURCES.len(), changes()), 1..60)
}

fn sure_of(catalog: &Catalog, source: &str) -> BTreeMap<ServiceKey, usize> {
    let mut sure = BTreeMap::new();
    for instance in catalog.services().flat_map(|service| &service.instances) {
        if instance.source.as_str() == source && share::is_sure(instance) {
            *sure.entry(instance.key.clone()).or_default() += 1;
        }
    }
    sure
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn inference_never_takes_the_last_instance_in_one_pass(steps in steps()) {
        // One source, so that precedence does not hide what the guard did.
        let (mut fold, mut now) = (fold(), 1);
        let mut replaced = false;
        for (pause, _, news) in steps {
            now += pause;
            fold.tick(at(now));
            let before = fold.catalog();
            let explicit = match &news {
                News::Said(Change::Reset { .. }) => std::mem::take(&mut replaced),
                News::Said(Change::Remove { departure, .. }) => *departure == Departure::Explicit,
                News::Said(_)
                | News::Judged(_)
                | News::Ruled(_)
                | News::Bequeathed(_)
                | News::Remembered(_) | News::Recalled(_)
                | News::Seen(_)
                | News::Resolved(_) => false,
                News::Replaced => { replaced = true; false }
                News::Closed => { replaced = false; true }
            };
            fold.news(at(now), "dns", news.clone());
            let after = fold.catalog();
            for key in sure_of(&before, "dns").keys().filter(|_| !explicit) {
                let left = after.service(key).map_or(0, |service| service.instances.len());
                prop_assert!(left > 0, "{key} went to zero by {news:?}");
            }
        }
    }

    #[test]
    fn what_is_said_to_be_gone_is_gone(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        for (pause, n, news) in steps {
            now += pause;
            fold.news(at(now), SOURCES[n], news.clone());
            if let News::Said(Change::Remove { key, id, departure: Departure::Explicit }) = news {
                prop_assert!(fold.find(&source(SOURCES[n]), &key, &id).is_none());
            }
        }
    }

    #[test]
    fn the_books_agree_with_the_instances(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        for (pause, n, news) in steps {
            now += pause;
            fold.tick(at(now));
            fold.news(at(now), SOURCES[n], news);
            for (source, holder) in &fold.holders {
                let shares = holder.keys.iter().map(|key| fold.claims[key].share(source).unwrap());
                let shares: Vec<_> = shares.collect();
                let sure = |share: &share::Share| share.instances.iter().filter(|i| share::is_sure(i)).count();
                let held = |share: &share::Share| share.instances.iter().filter(|i| share::is_held(i)).count();
                prop_assert_eq!(holder.instances, shares.iter().map(|s| s.instances.len()).sum::<usize>());
                prop_assert_eq!(holder.sure, shares.iter().map(|s| sure(s)).sum::<usize>());
                prop_assert!(shares.iter().all(|s| s.sure == sure(s) && s.held.len() == held(s)));
                prop_assert_eq!(holder.held, shares.iter().map(|s| s.held.len()).sum::<usize>());
                for (key, share) in holder.keys.iter().zip(&shares) {
                    let watched = fold.watch.held.contains(&(key.clone(), source.clone()));
                    prop_assert_eq!(watched, !share.held.is_empty());
                }
            }
            let mut knowing = fold.watch.held.iter().map(|(_, source)| &fold.holders[source]);
            let is_due = knowing.any(|holder| holder.stale.is_none());
            prop_assert!(!is_due || fold.watch.next_pass.is_some());
            prop_assert!(!fold.watch.held.is_empty() || fold.watch.next_pass.is_none());
            prop_assert_eq!(fold.watch.wards.counts().0, fold.holders.values().map(|h| h.sure).sum::<usize>());
            let shares: usize = fold.holders.values().map(|holder| holder.keys.len()).sum();
            prop_assert_eq!(shares, fold.claims.values().map(Claims::len).sum::<usize>());
        }
    }

    #[test]
    fn no_hold_outlives_its_time(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        for (pause, n, news) in steps {
            now += pause;
            fold.news(at(now), SOURCES[n], news);
        }
        for name in SOURCES {
            fold.says(at(now), name, put("ending", "stale"));
        }
        // Twelve instances, one a pass.
        let end = GuardSettings::default().hold + 3 * 12 * GuardSettings::default().pass();
        fold.run(at(now).after(end));
        prop_assert!(fold.holders.values().all(|holder| holder.held == 0));
        prop_assert!(fold.watch.held.is_empty());
    }

    #[test]
    fn every_earlier_state_can_be_replayed(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        let mut seen = vec![fold.catalog()];
        for (pause, n, news) in steps {
            now += pause;
            fold.tick(at(now));
            seen.push(fold.catalog());
            fold.news(at(now), SOURCES[n], news);
            seen.push(fold.catalog());
        }
        let today = fold.catalog();
        for (past, service) in seen.iter().flat_map(|past| SERVICES.map(|name| (past, key(name)))) {
            let replayed = today.instances_at(&service, past.revision()).unwrap();
            let then = past.service(&service).map_or(vec![], |service| service.instances.clone());
            prop_assert_eq!(replayed, then);
        }
    }

    #[test]
    fn events_survive_a_round_trip_through_json(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        for (pause, n, news) in steps {
            now += pause;
            for event in fold.news(at(now), SOURCES[n], news).events {
                let text = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            }
        }
    }

    #[test]
    fn revisions_rise_with_every_change(steps in steps()) {
        let (mut fold, mut now) = (fold(), 1);
        for (pause, n, news) in steps {
            now += pause;
            let before = fold.catalog().revision();
            let applied = fold.news(at(now), SOURCES[n], news);
            let changed = !applied.events.is_empty();
            prop_assert_eq!(applied.revision > before, changed);
            prop_assert_eq!(applied.revision, fold.catalog().revision());
            prop_assert!(changed || applied.changed.is_empty());
        }
    }
}

fn judged(service: &str, name: &str, health: Option<Health>) -> News {
    News::Judged(Judgement {
        key: key(service),
        id: id(name),
        address: "127.0.0.1:9001".parse().unwrap(),
        verdict: health.map(|health| Verdict {
            health,
            note: Some("connection refused".into()),
        }),
    })
}

#[test]
fn a_verdict_lies_over_the_word_of_any_source_until_it_is_taken_back() {
    let mut fold = fold();
    fold.says(at(0), "file", put("orders", "a"));
    let mut hear = |seconds, news| {
        let saying = Saying {
            source: source("checks"),
            actor: None,
            news,
        };
        let applied = fold.apply(at(seconds), saying);
        let service = fold.catalog().service(&key("orders")).cloned().unwrap();
        let instance = &service.instances[0];
        assert_eq!(instance.source, source("file"));
        (applied, instance.state.clone())
    };
    let (applied, state) = hear(1, judged("orders", "a", Some(Health::Critical)));
    assert_eq!((state.health, state.since), (Health::Critical, at(1)));
    assert_eq!(state.note.as_deref(), Some("connection refused"));
    assert_eq!(applied.changed, [key("orders")]);
    assert_eq!(applied.events[0].origin.actor.as_deref(), Some("check"));
    let (applied, _) = hear(2, judged("orders", "a", Some(Health::Critical)));
    assert!(applied.events.is_empty(), "the same again is no news");
    let (_, state) = hear(3, judged("orders", "a", None));
    assert_eq!(state.health, Health::Passing);
    let (applied, _) = hear(4, judged("strangers", "a", Some(Health::Critical)));
    assert!(applied.changed.is_empty());
}

#[test]
fn a_verdict_stays_while_its_service_changes_and_ends_with_the_address() {
    let mut fold = fold();
    fold.says(at(0), "file", put("orders", "a"));
    let saying = Saying {
        source: source("checks"),
        actor: None,
        news: judged("orders", "a", Some(Health::Critical)),
    };
    fold.apply(at(1), saying);
    let applied = fold.says(at(2), "file", put("orders", "b"));
    assert_eq!(applied.events.len(), 1);
    let health = |fold: &Fold| {
        let service = fold.catalog().service(&key("orders")).cloned().unwrap();
        service.instances[0].state.health
    };
    assert_eq!(health(&fold), Health::Critical);
    let mut moved = Instance::clone(&instance("orders", "a"));
    moved.endpoints[0].address = "127.0.0.1:9002".parse().unwrap();
    let instance = Arc::new(moved);
    fold.says(at(3), "file", Change::Put { instance });
    assert_eq!(health(&fold), Health::Passing);
}

fn ruling(traffic: Override, weight: Option<u16>) -> Arc<Ruling> {
    Arc::new(Ruling {
        traffic,
        weight: weight.and_then(Weight::new),
        reason: Some("disk swap".into()),
        actor: Some("ann".into()),
        at: at(1),
    })
}

fn ruled(service: &str, name: &str, ruling: Option<Arc<Ruling>>) -> News {
    News::Ruled(Ruled {
        key: key(service),
        id: id(name),
        ruling,
    })
}

fn only(fold: &Fold, service: &str) -> Arc<Instance> {
    let service = fold.catalog().service(&key(service)).cloned().unwrap();
    Arc::clone(&service.instances[0])
}

#[test]
fn a_ruling_can_not_be_undone_by_a_source() {
    let mut fold = fold();
    fold.says(at(0), "file", put("orders", "a"));
    let applied = fold.news(
        at(1),
        "registry",
        ruled("orders", "a", Some(ruling(Override::Drain, Some(7)))),
    );
    assert_eq!(applied.changed, [key("orders")]);
    for change in [
        put("orders", "a"),
        remove("orders", "a", Departure::Explicit),
        put("orders", "a"),
        reset(&[], &[("orders", "a"), ("orders", "b")]),
    ] {
        fold.says(at(2), "file", change.clone());
        if matches!(change, Change::Remove { .. }) {
            continue;
        }
        let instance = only(&fold, "orders");
        assert_eq!(instance.state.overridden, Override::Drain, "{change:?}");
        assert_eq!(instance.weight.as_u16(), 7);
        let said = instance.state.ruling.as_ref().unwrap();
        assert_eq!(said.reason.as_deref(), Some("disk swap"));
    }
    fold.news(at(3), "registry", ruled("orders", "a", None));
    let instance = only(&fold, "orders");
    assert_eq!(instance.state, seen_first_at(2));
    assert_eq!(instance.weight, Weight::NORMAL);
}

#[test]
fn a_ruling_waits_for_its_instance() {
    let mut fold = fold();
    let applied = fold.news(
        at(0),
        "registry",
        ruled("orders", "a", Some(ruling(Override::Maintenance, None))),
    );
    assert!(applied.changed.is_empty() && applied.events.is_empty());
    fold.says(at(1), "file", put("orders", "a"));
    assert_eq!(
        only(&fold, "orders").state.traffic(),
        portolan_model::Traffic::Overridden
    );
}

#[test]
fn a_source_can_not_rule() {
    let mut fold = fold();
    let mut claimed = Instance::clone(&instance("orders", "a"));
    claimed.state.overridden = Override::Drain;
    claimed.state.ruling = Some(ruling(Override::Drain, None));
    let instance = Arc::new(claimed);
    fold.says(at(0), "file", Change::Put { instance });
    assert_eq!(only(&fold, "orders").state, seen_first_at(0));
}

#[test]
fn what_was_taken_out_over_there_gets_no_traffic_here() {
    let mut fold = fold();
    let mut out = Instance::clone(&instance("orders", "a"));
    out.state.overridden = Override::Maintenance;
    let instance = Arc::new(out);
    let said = Change::Put { instance };
    fold.says(at(0), "consul", said.clone());
    let closed = portolan_model::Traffic::Overridden;
    assert_eq!(only(&fold, "orders").state.traffic(), closed);
    // A ruling of ours lies over it; it is there again when that is taken back.
    let rule = |traffic, weight| ruled("orders", "a", Some(ruling(traffic, weight)));
    fold.news(at(1), "registry", rule(Override::Drain, None));
    assert_eq!(only(&fold, "orders").state.overridden, Override::Drain);
    fold.news(at(2), "registry", rule(Override::None, Some(7)));
    assert_eq!(
        only(&fold, "orders").state.overridden,
        Override::Maintenance
    );
    fold.news(at(3), "registry", ruled("orders", "a", None));
    assert_eq!(only(&fold, "orders").state.traffic(), closed);
    fold.says(at(4), "consul", put("orders", "a"));
    assert_eq!(only(&fold, "orders").state, seen_first_at(0));
}

#[test]
fn a_ruling_said_twice_is_no_news() {
    let mut fold = fold();
    fold.says(at(0), "file", put("orders", "a"));
    let said = || ruled("orders", "a", Some(ruling(Override::Drain, None)));
    fold.news(at(1), "registry", said());
    assert!(fold.news(at(2), "registry", said()).events.is_empty());
    let applied = fold.says(at(3), "file", put("orders", "b"));
    assert_eq!(applied.events.len(), 1);
}

#[test]
fn an_instance_is_as_old_as_its_presence() {
    let mut fold = fold();
    let since = |fold: &Fold| only(fold, "orders").state.first_seen;
    fold.says(at(1), "file", put("orders", "a"));
    assert_eq!(since(&fold), at(1));
    // Neither another word nor everything told anew is another instance.
    fold.says(
        at(2),
        "file",
        Change::Put {
            instance: critical("orders", "a"),
        },
    );
    fold.says(at(3), "file", reset(&[], &[("orders", "a")]));
    assert_eq!(since(&fold), at(1));
    let again = fold.says(at(4), "file", reset(&[], &[("orders", "a")]));
    assert!(again.changed.is_empty() && again.events.is_empty());
    fold.says(at(5), "file", remove("orders", "a", Departure::Explicit));
    fold.says(at(6), "file", put("orders", "a"));
    assert_eq!(since(&fold), at(6));
}

#[test]
fn what_is_remembered_is_older_than_what_its_source_knows() {
    let mut fold = fold();
    let mut known = Instance::clone(&instance("orders", "a"));
    known.state.first_seen = at(1);
    fold.news(at(10), "file", News::Remembered(vec![known.into()]));
    let mut told = Instance::clone(&instance("orders", "a"));
    told.state.first_seen = at(11);
    let instances = vec![Arc::new(told)];
    let services = Vec::new();
    let whole = Change::Reset {
        services,
        instances,
    };
    fold.says(at(12), "file", whole.clone());
    assert_eq!(only(&fold, "orders").state, seen_first_at(1));
    assert!(fold.says(at(13), "file", whole).changed.is_empty());
}
