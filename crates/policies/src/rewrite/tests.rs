//! Claims about `rewrite`.

use portolan_model::Cause;

use super::KIND;
use crate::tests::{build, exchange, fault, passes, problems};

#[test]
fn prefix_takes_the_place_of_what_the_route_matched() {
    for (prefix, url, bytes, expected) in [
        ("/new", "a/old/x?q=1", 4, "/new/x?q=1"),
        ("/new/", "a/old", 4, "/new"),
        ("/", "a/old/x", 4, "/x"),
        ("/", "a/old", 4, "/"),
        ("/new", "a/x", 0, "/new/x"),
        ("/n%65w", "a/old/x", 4, "/new/x"),
    ] {
        let policy = build(&KIND, &format!("{{prefix: {prefix}}}"));
        let mut exchange = exchange(url);
        exchange.prefix_bytes = bytes;
        passes(&*policy, &mut exchange);
        assert_eq!(exchange.head.target.as_str(), expected, "{prefix} {url}");
        assert_eq!(exchange.prefix_bytes, prefix_bytes(prefix), "{prefix}");
    }
}

fn prefix_bytes(prefix: &str) -> usize {
    prefix.replace("%65", "e").trim_end_matches('/').len()
}

#[test]
fn path_is_made_of_captures_and_keeps_the_query() {
    let policy = build(&KIND, "{path: '/v2/{id}/full/{*rest}'}");
    let mut exchange = exchange("a/users/7/x/y?q=1");
    exchange.captures.push(("id".into(), "7%2F8".into()));
    exchange.captures.push(("rest".into(), "x/y".into()));
    passes(&*policy, &mut exchange);
    let target = exchange.head.target.as_str();
    assert_eq!(target, "/v2/7%2F8/full/x/y?q=1");
}

#[test]
fn captured_dots_do_not_climb() {
    let policy = build(&KIND, "{path: '/v2{rest}'}");
    let mut exchange = exchange("a/x");
    exchange.captures.push(("rest".into(), "/../../etc".into()));
    assert_eq!(fault(&*policy, &mut exchange).cause, Cause::Misconfigured);
    assert_eq!(exchange.head.target.as_str(), "/x");
}

#[test]
fn path_that_asks_for_what_is_not_captured_is_a_fault() {
    let policy = build(&KIND, "{path: '/{id}'}");
    let fault = fault(&*policy, &mut exchange("a/x"));
    assert_eq!(fault.cause, Cause::Misconfigured);
    assert!(fault.detail.unwrap().contains("`id`"));
}

#[test]
fn host_takes_the_place_of_the_authority() {
    let policy = build(&KIND, "{host: 'New.Example.com:8080'}");
    let mut exchange = exchange("old.example.com:80/x");
    passes(&*policy, &mut exchange);
    assert_eq!(exchange.head.authority, "new.example.com:8080");
    assert_eq!(exchange.head.target.as_str(), "/x");
}

#[test]
fn bad_settings_are_refused_with_their_place() {
    for (settings, expected) in [
        ("{}", ": this rewrites nothing"),
        (
            "{prefix: /a, path: /b}",
            "/path: `prefix` and `path` can't both replace the path",
        ),
        (
            "{prefix: a}",
            "/prefix: `a` is no path: a path does not begin with a slash",
        ),
        ("{prefix: '/{id}'}", "/prefix: `/{id}` is no plain path"),
        ("{path: '/a?b'}", "/path: `/a?b` is no plain path"),
        (
            "{path: '/{id'}",
            "/path: `/{id` opens a capture and does not close it",
        ),
        ("{path: '/{a-b}'}", "/path: `a-b` can't name a capture"),
        (
            "{path: '/../a'}",
            "/path: `/../a` is no path: a path climbs above its root",
        ),
        ("{host: 'a b'}", "/host: `a b` is no host"),
    ] {
        assert_eq!(problems(&KIND, settings), [expected], "{settings}");
    }
}
