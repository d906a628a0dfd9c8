//! One bad object is set aside, and never takes the others down.

use portolan_model::route::PathMatch;

use super::*;
use crate::{ObjectKind, ObjectRef, Origin, RawObjects, StoredObject, fold};

const GOOD: &str =
    "routes:\n  good: {target: u, match: {exact: /good}}\nupstreams: {u: {service: s}}\n";

/// The routes of a text with whether they are in quarantine.
fn routes(text: &str) -> Vec<(String, bool)> {
    let plan = reading(text).0.unwrap();
    let route = |planned: &crate::PlannedRoute| {
        (planned.route.name.to_string(), planned.quarantine.is_some())
    };
    plan.routes.iter().map(route).collect()
}

fn with_route(route: &str) -> String {
    GOOD.replacen("routes:\n", &format!("routes:\n  bad: {route}\n"), 1)
}

#[test]
fn a_bad_route_keeps_its_matches_and_answers_with_an_error() {
    for bad in [
        "{match: {exact: /bad}, target: u, colour: red}",
        "{match: {exact: /bad}, target: u, policies: [{mark: {level: x}}]}",
        "{match: {exact: /bad}, target: u, policies: [{unknown: {}}]}",
        "{match: {exact: /bad}, targets: [{upstream: u, weight: 0}]}",
        "{match: {exact: /bad}, target: nobody}",
        "{match: {exact: /bad}}",
        "{match: [{exact: /bad}, {exact: bad}], target: u}",
        "{match: [{exact: /bad}, {regex: '('}], target: u}",
        "{match: {exact: /bad}, target: u, hosts: [a.example, 'b:80']}",
        "{match: {exact: /bad}, target: [u, v]}",
    ] {
        let text = with_route(bad);
        let wanted = [("bad".to_owned(), true), ("good".to_owned(), false)];
        assert_eq!(routes(&text), wanted, "{bad} {:#?}", told(&text));
        let plan = reading(&text).0.unwrap();
        let planned = &plan.routes[0];
        let paths: Vec<_> = planned.route.matches.iter().map(|one| &one.path).collect();
        assert_eq!(paths, [&PathMatch::Exact("/bad".into())], "{bad}");
        assert!(planned.route.targets.is_empty() && planned.policies.is_empty());
        assert!(
            planned
                .quarantine
                .as_ref()
                .unwrap()
                .contains("portolan.yaml:"),
            "{bad}"
        );
        let object = ObjectRef::new(ObjectKind::Route, planned.route.name.clone());
        assert_eq!(plan.quarantined().collect::<Vec<_>>(), [&object]);
    }
}

#[test]
fn a_match_with_an_error_is_left_out_since_it_would_be_too_wide() {
    let text = with_route("{match: [{prefix: /, metod: GET}, {exact: /b}], target: u}");
    let plan = reading(&text).0.unwrap();
    let paths: Vec<_> = plan.routes[0]
        .route
        .matches
        .iter()
        .map(|one| &one.path)
        .collect();
    assert_eq!(paths, [&PathMatch::Exact("/b".into())]);
}

#[test]
fn a_route_that_nobody_can_tell_the_requests_of_is_left_out() {
    for bad in [
        "{match: {exact: bad}, target: u}",
        "{match: [], target: u}",
        "{match: {regex: '('}, target: u}",
        "{hosts: ['a b'], target: u}",
        "{listeners: [nowhere], target: u}",
        "text",
        "[]",
    ] {
        let text = with_route(bad);
        assert_eq!(
            routes(&text),
            [("good".to_owned(), false)],
            "{bad} {:#?}",
            told(&text)
        );
        assert_eq!(reading(&text).0.unwrap().quarantined().count(), 1);
    }
}

#[test]
fn a_route_keeps_the_targets_that_are_left() {
    let bad =
        "{match: {exact: /bad}, targets: [{upstream: u}, {upstream: broken}, {upstream: nobody}]}";
    let text = format!(
        "{}  broken: {{service: s, port: '!'}}\n",
        with_route(bad).replace(
            "upstreams: {u: {service: s}}",
            "upstreams:\n  u: {service: s}"
        )
    );
    let plan = reading(&text).0.unwrap();
    assert!(plan.routes[0].quarantine.is_none());
    let targets: Vec<_> = plan.routes[0]
        .route
        .targets
        .iter()
        .map(|t| t.upstream.as_str())
        .collect();
    assert_eq!(targets, ["u"]);
    let told = told(&text);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told.iter()
            .any(|told| told.contains("there is no upstream `nobody`")),
        "{told:#?}"
    );
    assert!(
        told.iter()
            .any(|told| told.contains("warning: route bad: upstream broken is set aside"))
    );
}

#[test]
fn a_route_whose_only_upstream_is_set_aside_is_set_aside() {
    let text = "routes: {a: {target: u}}\nupstreams: {u: {service: s, colour: red}}";
    let plan = reading(text).0.unwrap();
    assert_eq!(
        &**plan.routes[0].quarantine.as_ref().unwrap(),
        "its upstream is set aside"
    );
    assert!(plan.upstreams.is_empty());
}

#[test]
fn a_bad_listener_or_source_is_left_out() {
    let text = "listeners:\n  a: {address: 127.0.0.1:81}\n  b: {address: localhost}\n\
                sources:\n  s: {still: {path: x}}\n  t: {still: {}}\n  v: {stil: {path: x}}\n";
    let plan = reading(text).0.unwrap();
    assert_eq!(plan.listeners.len(), 1);
    assert_eq!(plan.sources.len(), 1);
    assert_eq!(plan.quarantined().count(), 3);
    let told = told(text);
    assert!(told[1].contains("source t: a path is needed"), "{told:#?}");
    assert!(told[2].contains("did you mean `still`?"), "{told:#?}");
}

#[test]
fn an_error_in_what_there_is_once_leaves_no_plan() {
    for bad in [
        "gateway: {workers: 0}",
        "admin: {address: 9070}",
        "policies: [{mark: {}}]",
        "guard: {share: 101}",
        "registry: {ttl: {min: 1m}}",
        "access_log: {format: xml}",
        "status: {}",
        "colour: red",
        "routes: []",
        "routes: {a b: {}}",
        "- a",
    ] {
        let (plan, findings) = reading(&format!("{bad}\n"));
        assert!(plan.is_none(), "{bad}");
        assert_eq!(findings.len(), 1, "{bad} {findings:#?}");
    }
}

#[test]
fn all_findings_come_at_once_and_in_order() {
    let text = "routes:\n  a: {target: u, matches: x}\n  b: {tagret: u}\nupstreams:\n  u: {service: s, port: '!'}\n";
    let told = told(text);
    assert_eq!(
        told,
        [
            "portolan.yaml:2:15: warning: route a: upstream u is set aside because of its errors",
            "portolan.yaml:2:18: error: route a: unknown field `matches` (did you mean `match`?)",
            "portolan.yaml:3:7: error: route b: unknown field `tagret` (did you mean `target`?)",
            "portolan.yaml:5:25: error: upstream u: `!` holds '!'; a name has letters, digits, `-`, `_`, `.` and `:`",
        ]
    );
}

fn stored(id: &str, kind: ObjectKind, name: &str, value: Value) -> StoredObject {
    let object = ObjectRef::new(kind, portolan_model::Name::parse(name).unwrap());
    StoredObject {
        id: id.into(),
        object,
        value,
    }
}

fn folded(text: &str, objects: Vec<StoredObject>) -> Plan {
    let raw = RawObjects::parse("portolan.yaml", text).unwrap();
    fold(raw, objects, &outside()).unwrap()
}

#[test]
fn stored_objects_join_those_of_the_file() {
    let route = stored(
        "7",
        ObjectKind::Route,
        "b",
        json!({"target": "u", "match": {"exact": "/b"}}),
    );
    let plan = folded(
        "routes: {a: {target: u}}\nupstreams: {u: {service: s}}",
        vec![route.clone()],
    );
    assert!(plan.findings.is_empty(), "{:#?}", plan.findings);
    assert_eq!(plan.routes.len(), 2);
    let routes = plan
        .objects
        .iter()
        .filter(|(object, _)| object.kind == ObjectKind::Route);
    let origins: Vec<_> = routes
        .map(|(_, described)| described.origin.to_string())
        .collect();
    assert_eq!(origins, ["portolan.yaml:1:10", "stored:7"]);
}

#[test]
fn a_name_in_file_and_store_is_a_finding_and_the_file_applies() {
    let route = stored("7", ObjectKind::Route, "a", json!({"target": "u"}));
    let plan = folded(
        "routes: {a: {target: u}}\nupstreams: {u: {service: s}}",
        vec![route],
    );
    assert_eq!(plan.routes.len(), 1);
    let [finding] = plan.findings.as_slice() else {
        panic!("{:#?}", plan.findings)
    };
    assert_eq!(finding.origin, Origin::Stored("7".into()));
    assert!(finding.message.contains("portolan.yaml:1:10"), "{finding}");
}

#[test]
fn a_stored_object_replaces_a_default_and_does_not_read_the_environment() {
    let objects = vec![
        stored("1", ObjectKind::Section, "guard", json!({"share": 30})),
        stored(
            "2",
            ObjectKind::Listener,
            "l",
            json!({"address": "127.0.0.1:81"}),
        ),
        stored(
            "3",
            ObjectKind::Source,
            "s",
            json!({"still": {"path": "/${env:SECRET}"}}),
        ),
    ];
    let plan = folded("", objects);
    assert_eq!(plan.guard.share_percent, 30);
    assert_eq!(plan.listeners.len(), 1);
    assert!(
        plan.sources[0]
            .spec
            .same_as(&Still("/${env:SECRET}".into()))
    );
}
