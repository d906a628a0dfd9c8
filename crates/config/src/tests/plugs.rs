//! Settings of kinds: unknown ones, and what their tables show as examples.

use super::{SHELVES, plan, reading, refused};
use crate::Severity;

/// The only finding of a text: its line, column, message and help.
fn only(text: &str) -> (String, String, String) {
    let (_, findings) = reading(text);
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let [finding] = findings.as_slice() else {
        panic!("{told:#?}\n{text}");
    };
    assert_eq!(finding.severity, Severity::Error);
    (
        finding.origin.to_string(),
        finding.message.clone(),
        finding.help.clone().unwrap_or_default(),
    )
}

#[test]
fn an_unknown_setting_is_marked_at_its_key_with_the_nearest_known_one() {
    let expected = |place: &str, key: &str, help: &str| {
        (
            format!("portolan.yaml:{place}"),
            format!("there is no setting `{key}`"),
            help.to_owned(),
        )
    };
    assert_eq!(
        only("policies: [{mark: {levl: 1}}]"),
        expected("1:20", "levl", "did you mean `level`?")
    );
    assert_eq!(
        only("policies: [{mark: {level: 1, colour: {a: 1}}}]"),
        expected("1:30", "colour", "known are: level, path")
    );
    assert_eq!(
        only("sources: {s: {still: {pth: x}}}"),
        expected("1:23", "pth", "did you mean `path`?")
    );
    let upstream =
        "routes: {a: {target: u}}\nupstreams: {u: {service: s, balance: {random: {a: 1}}}}";
    let (_, findings) = reading(upstream);
    assert_eq!(findings[1].origin.to_string(), "portolan.yaml:2:48");
    assert_eq!(findings[1].help.as_deref(), Some("there is nothing to set"));
}

#[test]
fn other_problems_of_the_same_settings_are_told_as_well() {
    let (_, findings) = reading("policies: [{mark: {level: x, colour: 1}}]");
    let told: Vec<_> = findings.iter().map(|finding| &*finding.message).collect();
    assert_eq!(
        told,
        ["a level is a number", "there is no setting `colour`"]
    );
}

#[test]
fn a_field_in_the_singular_is_meant_in_the_plural() {
    refused(
        "routes: {a: {target: u, policy: []}}\nupstreams: {u: {service: s}}",
        "did you mean `policies`?",
    );
}

#[test]
fn a_match_on_bodies_is_not_there_yet() {
    let text =
        "routes: {a: {target: u, match: {exact: /a, body: x}}}\nupstreams: {u: {service: s}}";
    let (plan, findings) = reading(text);
    assert!(plan.unwrap().routes.is_empty());
    assert_eq!(findings[0].message, "unknown field `body`");
}

#[test]
fn every_balance_kind_accepts_its_example_and_refuses_its_bad_one() {
    for kind in SHELVES.balancers {
        let with = |balance: &str| {
            format!(
                "routes: {{a: {{target: u}}}}\nupstreams: {{u: {{service: s, balance: {balance}}}}}"
            )
        };
        let good = plan(&with(kind.example));
        assert_eq!(good.upstreams[0].upstream.balance.kind, kind.name);
        let (bad, findings) = reading(&with(kind.bad_example));
        assert!(
            kind.bad_example.contains(kind.name) && bad.is_some_and(|bad| bad.upstreams.is_empty()),
            "{}: {findings:#?}",
            kind.name
        );
    }
}
