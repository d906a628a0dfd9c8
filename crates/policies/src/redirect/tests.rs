//! Claims about `redirect`.

use portolan_model::{Cause, http::Scheme};

use super::KIND;
use crate::tests::{build, exchange, fault, problems, reply};

#[test]
fn location_changes_what_is_given_and_keeps_the_rest() {
    for (settings, url, expected) in [
        ("{scheme: https}", "a.x/p?q=1", "https://a.x/p?q=1"),
        ("{scheme: https}", "a.x:8080/", "https://a.x/"),
        (
            "{scheme: https, port: 8443}",
            "a.x:8080/",
            "https://a.x:8443/",
        ),
        ("{scheme: https, port: 443}", "a.x:8080/", "https://a.x/"),
        ("{port: 80}", "a.x:8080/", "http://a.x/"),
        ("{host: B.x}", "a.x:8080/p", "http://b.x/p"),
        ("{path: /new}", "a.x:8080/p?q", "http://a.x:8080/new?q"),
        ("{prefix: /new}", "a.x/old/p", "http://a.x/new/p"),
        ("{path: '/v2/{id}'}", "[::1]:81/p", "http://[::1]:81/v2/7"),
        ("{path: /new}", "a.x//evil.example/", "http://a.x/new"),
        (
            "{port: 81}",
            "a.x//evil.example/",
            "http://a.x:81//evil.example/",
        ),
    ] {
        let policy = build(&KIND, settings);
        let mut exchange = exchange(url);
        exchange.prefix_bytes = 4;
        exchange.captures.push(("id".into(), "7".into()));
        let reply = reply(&*policy, &mut exchange);
        assert_eq!(reply.status.as_u16(), 302);
        let location = reply.fields.get("location").map(String::from_utf8_lossy);
        assert_eq!(location.as_deref(), Some(expected), "{settings} {url}");
    }
}

#[test]
fn scheme_of_the_request_is_kept() {
    let policy = build(&KIND, "{status: 308, path: /new}");
    let mut exchange = exchange("a.x/old");
    exchange.head.scheme = Scheme::Https;
    let reply = reply(&*policy, &mut exchange);
    assert_eq!(reply.status.as_u16(), 308);
    assert_eq!(reply.fields.get("location"), Some(&b"https://a.x/new"[..]));
}

#[test]
fn request_without_host_is_a_fault_unless_one_is_given() {
    let policy = build(&KIND, "{path: /new}");
    let fault = fault(&*policy, &mut exchange("//evil.example/"));
    assert_eq!(fault.cause, Cause::RequestMalformed);
    let policy = build(&KIND, "{host: a.x}");
    let reply = reply(&*policy, &mut exchange("/p"));
    assert_eq!(reply.fields.get("location"), Some(&b"http://a.x/p"[..]));
}

#[test]
fn bad_settings_are_refused_with_their_place() {
    for (settings, expected) in [
        ("{}", ": this redirects every request to itself"),
        ("{status: 301}", ": this redirects every request to itself"),
        ("{scheme: ftp}", "/scheme: `ftp` is not `http` or `https`"),
        ("{port: 0}", "/port: `0` is no port"),
        ("{port: 65536}", "/port: `65536` is no port"),
        (
            "{host: 'a.x:80'}",
            "/host: `a.x:80` has a port; it is a setting of its own",
        ),
        (
            "{path: /, status: 304}",
            "/status: `304` is not 301, 302, 303, 307 or 308",
        ),
    ] {
        assert_eq!(problems(&KIND, settings), [expected], "{settings}");
    }
    assert!((KIND.parse)(&crate::tests::yaml("{host: '[::1]'}")).is_ok());
}
