//! Claims about `headers`.

use portolan_model::http::{Fields, ResponseHead};

use super::KIND;
use crate::tests::{build, exchange, passes, problems};

fn told(fields: &Fields) -> Vec<String> {
    let text = |value| String::from_utf8_lossy(value).into_owned();
    fields
        .iter()
        .map(|field| format!("{}: {}", field.name, text(field.value)))
        .collect()
}

#[test]
fn request_fields_are_removed_then_set_then_added() {
    let policy = build(
        &KIND,
        "{request: {remove: [x-c, X-D], set: {x-a: 1}, add: {x-b: [2, two], x-c: new}}}",
    );
    let mut exchange = exchange("a.x/");
    for name in ["X-A", "x-a", "x-b", "x-c", "x-d", "x-e"] {
        exchange.head.fields.push(name, b"old").unwrap();
    }
    passes(&*policy, &mut exchange);
    assert_eq!(
        told(&exchange.head.fields),
        [
            "x-b: old", "x-e: old", "x-a: 1", "x-b: 2", "x-b: two", "x-c: new"
        ]
    );
}

#[test]
fn answer_fields_are_changed_on_the_way_back_only() {
    let policy = build(&KIND, "{response: {remove: [server], set: {x-a: true}}}");
    let mut exchange = exchange("a.x/");
    exchange.head.fields.push("server", b"mine").unwrap();
    passes(&*policy, &mut exchange);
    assert_eq!(told(&exchange.head.fields), ["server: mine"]);
    let mut head = ResponseHead::default();
    head.fields.push("Server", b"secret/1.0").unwrap();
    policy.response(&exchange, &mut head);
    assert_eq!(told(&head.fields), ["x-a: true"]);
}

#[test]
fn fields_that_frame_a_message_or_belong_to_one_hop_are_refused() {
    for name in [
        "Host",
        "connection",
        "Content-Length",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
    ] {
        for settings in [
            format!("{{request: {{set: {{{name}: x}}}}}}"),
            format!("{{response: {{add: {{{name}: x}}}}}}"),
            format!("{{request: {{remove: [{name}]}}}}"),
        ] {
            let told = problems(&KIND, &settings);
            assert_eq!(told.len(), 1, "{settings}");
            assert!(told[0].contains("the gateway's own"), "{told:?}");
        }
    }
}

#[test]
fn bad_settings_are_all_told_with_their_place() {
    let told = problems(
        &KIND,
        r#"{request: {set: {"a b": 1, x-a: [1, 2], x-b: {}}, add: {x-c: [1, "a\nb: c"]}, remove: [x-d]},
            response: {set: {x-e: 1}, remove: [X-E], change: 1}}"#,
    );
    assert_eq!(
        told,
        [
            "/request/set/a b: `a b: 1` is no field: a field name is not a token",
            "/request/set/x-a: `x-a` is set to several values",
            "/request/set/x-b: this must be a single value",
            "/request/add/x-c/1: `x-c: a\nb: c` is no field: a field value holds a forbidden \
             character",
            "/response/change: there is no setting `change`",
            "/response/remove: `x-e` is both removed and set; setting alone will do",
        ]
    );
    assert_eq!(problems(&KIND, "{}"), [": this changes nothing"]);
}
