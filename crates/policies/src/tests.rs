//! The shelf as a whole, and what the tests of its policies share.

use std::net::{IpAddr, Ipv4Addr};

use portolan_model::{
    Problem,
    http::{ResponseHead, normalise_authority},
};
use portolan_policy::{Answer, Exchange, Fault, Flow, Policy, PolicyKind, Reply};
use portolan_runtime::Env;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use crate::KINDS;

/// YAML as the configuration hands it on.
pub(crate) fn yaml(text: &str) -> Value {
    json(&Yaml::load_from_str(text).unwrap()[0])
}

fn json(yaml: &Yaml<'_>) -> Value {
    if let Some(map) = yaml.as_mapping() {
        let key = |key: &Yaml<'_>| key.as_str().unwrap().to_owned();
        return map.iter().map(|(k, v)| (key(k), json(v))).collect();
    }
    if let Some(items) = yaml.as_sequence() {
        return items.iter().map(json).collect();
    }
    let number = yaml.as_integer().map(Value::from);
    let flag = yaml.as_bool().map(Value::from);
    let text = yaml.as_str().map(Value::from);
    number.or(flag).or(text).unwrap_or(Value::Null)
}

/// The problems of settings that are refused, as `path: message`.
pub(crate) fn problems(kind: &PolicyKind, settings: &str) -> Vec<String> {
    let told = |problem: Problem| format!("{}: {}", problem.path, problem.message);
    let refused = (kind.parse)(&yaml(settings)).map(drop);
    refused.unwrap_err().into_iter().map(told).collect()
}

pub(crate) fn exchange(url: &str) -> Exchange {
    let mut exchange = Exchange::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let (host, target) = url.split_at(url.find('/').unwrap());
    assert!(host.is_empty() || normalise_authority(&mut exchange.head.authority, host.as_bytes()));
    exchange.head.target.set(target.as_bytes()).unwrap();
    exchange
}

/// A policy from settings that are accepted.
pub(crate) fn build(kind: &PolicyKind, settings: &str) -> std::sync::Arc<dyn Policy> {
    let spec = (kind.parse)(&yaml(settings)).unwrap();
    spec.build(&Env::system())
}

pub(crate) fn flow(policy: &dyn Policy, exchange: &mut Exchange) -> Flow {
    match policy.request(exchange) {
        Answer::Now(flow) => flow,
        Answer::Later(_) => panic!("these policies wait for nothing"),
    }
}

pub(crate) fn passes(policy: &dyn Policy, exchange: &mut Exchange) {
    assert!(matches!(flow(policy, exchange), Flow::Next));
}

pub(crate) fn reply(policy: &dyn Policy, exchange: &mut Exchange) -> Reply {
    match flow(policy, exchange) {
        Flow::Reply(reply) => *reply,
        other @ (Flow::Next | Flow::Fail(_)) => panic!("{other:?}"),
    }
}

pub(crate) fn fault(policy: &dyn Policy, exchange: &mut Exchange) -> Fault {
    match flow(policy, exchange) {
        Flow::Fail(fault) => *fault,
        other @ (Flow::Next | Flow::Reply(_)) => panic!("{other:?}"),
    }
}

/// The settings of an example, below the word of its kind.
fn settings(kind: &PolicyKind, example: &str) -> Value {
    let example = yaml(example);
    let map = example.as_object().unwrap();
    assert_eq!(map.keys().collect::<Vec<_>>(), [kind.name]);
    example[kind.name].clone()
}

#[test]
fn every_kind_accepts_its_example_and_refuses_its_bad_one() {
    for kind in KINDS {
        let parsed = (kind.parse)(&settings(kind, kind.example));
        assert!(parsed.is_ok(), "{}: {parsed:?}", kind.name);
        let refused = (kind.parse)(&settings(kind, kind.bad_example));
        let problems = refused.map(drop).unwrap_err();
        assert!(!problems.is_empty(), "{}", kind.name);
    }
}

#[test]
fn every_kind_has_a_name_of_its_own_and_describes_its_settings() {
    let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
    for kind in KINDS {
        let schema = (kind.schema)();
        assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
        for (name, setting) in schema["properties"].as_object().unwrap() {
            assert!(setting["description"].is_string(), "{} {name}", kind.name);
        }
        assert!(kind.summary.ends_with('.'), "{}", kind.name);
    }
}

#[test]
fn unknown_settings_and_wrong_shapes_are_refused_with_their_place() {
    for kind in KINDS {
        let told = problems(kind, "{nonsense: 1}");
        assert!(
            told[0].starts_with("/nonsense: there is no setting"),
            "{told:?}"
        );
        let told = problems(kind, "[1]");
        assert!(told[0].starts_with(": this must be a map"), "{told:?}");
    }
}

#[test]
fn policies_leave_answers_alone_unless_told() {
    for kind in KINDS {
        let spec = (kind.parse)(&settings(kind, kind.example)).unwrap();
        let mut head = ResponseHead::default();
        let policy = spec.build(&Env::system());
        policy.response(&exchange("a/"), &mut head);
        assert_eq!(head.fields.is_empty(), kind.name != "headers");
    }
}
