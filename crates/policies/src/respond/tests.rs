//! Claims about `respond`.

use portolan_model::http::Known;

use super::{KIND, settings::BODY_BYTES_MAX};
use crate::tests::{build, exchange, problems, reply, yaml};

#[test]
fn answer_is_what_the_settings_say() {
    let settings = "{status: 503, body: 'back soon', headers: {retry-after: 60, x-a: [1, 2]}}";
    let reply = reply(&*build(&KIND, settings), &mut exchange("a.x/"));
    assert_eq!(reply.status.as_u16(), 503);
    assert_eq!(&reply.body[..], b"back soon");
    assert_eq!(reply.fields.get("retry-after"), Some(&b"60"[..]));
    assert_eq!(reply.fields.get_all("x-a").count(), 2);
    let content_type = reply.fields.known(Known::ContentType);
    assert_eq!(content_type, Some(&b"text/plain; charset=utf-8"[..]));
}

#[test]
fn answer_is_empty_by_default_and_keeps_a_given_type() {
    for settings in ["{}", "~"] {
        let reply = reply(&*build(&KIND, settings), &mut exchange("a.x/"));
        assert_eq!(reply.status.as_u16(), 200);
        assert!(reply.body.is_empty() && reply.fields.is_empty());
    }
    let settings = "{body: '{}', headers: {Content-Type: application/json}}";
    let reply = reply(&*build(&KIND, settings), &mut exchange("a.x/"));
    assert_eq!(reply.fields.get_all("content-type").count(), 1);
}

#[test]
fn bad_settings_are_refused_with_their_place() {
    for (settings, expected) in [
        (
            "{status: 199}",
            "/status: `199` is not a status from 200 to 599",
        ),
        (
            "{status: 600}",
            "/status: `600` is not a status from 200 to 599",
        ),
        (
            "{status: 204, body: x}",
            "/body: an answer with status 204 has no body",
        ),
        (
            "{headers: {te: x}}",
            "/headers/te: the field `te` is the gateway's own",
        ),
    ] {
        assert_eq!(problems(&KIND, settings), [expected], "{settings}");
    }
}

#[test]
fn long_body_is_refused_at_one_past_the_limit() {
    let body = |bytes: usize| format!("{{body: {}}}", "a".repeat(bytes));
    assert!((KIND.parse)(&yaml(&body(BODY_BYTES_MAX))).is_ok());
    assert_eq!(problems(&KIND, &body(BODY_BYTES_MAX + 1)).len(), 1);
}
