//! Claims about reading requests; what is refused is in `tests/common/probes.rs`.

use portolan_model::http::Version;

use super::*;

#[test]
fn a_request_is_read_into_its_parts() {
    let text = "POST /a/../b?c=d HTTP/1.1\r\nHost: Shop.Example:8080\r\nX-A:  b \t\r\nx-b:\r\nContent-Length: 12\r\n\r\n";
    let (head, info) = request(&format!("{text}hello world!"));
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.scheme, Scheme::Http);
    assert_eq!(head.authority, "shop.example:8080");
    assert_eq!(head.target.as_str(), "/b?c=d");
    assert_eq!(head.fields, fields(&[("X-A", "b"), ("x-b", "")]));
    let expected = RequestInfo {
        head_bytes: text.len(),
        framing: Framing::Length(12),
        persistence: Persistence::KeepAlive,
        expects_continue: false,
        upgrade: None,
        accepts_trailers: false,
    };
    assert_eq!(info, expected);
}

#[test]
fn every_beginning_of_a_request_is_partial() {
    let text = "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n";
    let mut head = RequestHead::default();
    for cut in 0..text.len() {
        let seen = &text.as_bytes()[..cut];
        let parsed = parse_request(seen, &HeadLimits::default(), Scheme::Http, &mut head);
        assert_eq!(parsed, Ok(Parsed::Partial), "{cut}");
    }
    assert_eq!(request(text).1.head_bytes, text.len());
}

#[test]
fn a_head_is_refilled_without_a_trace_of_the_former_one() {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    for text in [
        "DELETE /a?b HTTP/1.0\r\nHost: a\r\nX-A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b\r\nX-B: c\r\n\r\n",
    ] {
        parse_request(text.as_bytes(), &limits, Scheme::Https, &mut head).unwrap();
        let (fresh, _) = request(text);
        assert_eq!(
            (&head.method, &head.authority),
            (&fresh.method, &fresh.authority)
        );
        assert_eq!((head.version, &head.target), (fresh.version, &fresh.target));
        assert_eq!(head.fields, fresh.fields);
        assert_eq!(head.scheme, Scheme::Https);
    }
}

#[test]
fn bodies_are_framed() {
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length: 007\r\n", Framing::Length(7)),
        (
            "Content-Length: 9223372036854775807\r\n",
            Framing::Length(i64::MAX.cast_unsigned()),
        ),
        ("transfer-encoding: Chunked\r\n", Framing::Chunked),
    ] {
        assert_eq!(request_with(lines).1.framing, framing, "{lines:?}");
    }
}

#[test]
fn connections_persist_as_both_versions_say() {
    use Persistence::{Close, KeepAlive};
    for (version, lines, persistence) in [
        ("1.1", "", KeepAlive),
        ("1.1", "Connection: close\r\n", Close),
        ("1.1", "Connection: CLOSE\r\n", Close),
        ("1.1", "Connection: keep-alive, close\r\n", Close),
        (
            "1.1",
            "Connection: close\r\nConnection: keep-alive\r\n",
            Close,
        ),
        ("1.1", "Connection: closed\r\n", KeepAlive),
        ("1.1", "Proxy-Connection: close\r\n", KeepAlive),
        ("1.0", "", Close),
        ("1.0", "Connection: Keep-Alive\r\n", KeepAlive),
        ("1.0", "Connection: keep-alive, close\r\n", Close),
        ("1.0", "Proxy-Connection: keep-alive\r\n", Close),
    ] {
        let (_, info) = request(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(info.persistence, persistence, "{version} {lines:?}");
    }
}

#[test]
fn fields_of_the_hop_do_not_travel_further() {
    let (head, _) = request_with(concat!(
        "Connection: keep-alive, x-a, X-Forwarded-For\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\n",
        "Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: websocket\r\nHTTP2-Settings: AAMA\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nTrailer: x-c\r\nCookie: d\r\nContent-Length: 1\r\nExpect: 100-continue\r\n",
    ));
    assert_eq!(names(&head.fields), ["X-B", "Trailer", "Cookie"]);
}

#[test]
fn connection_has_no_hold_on_host_and_framing() {
    let lines =
        "Connection: host, content-length, transfer-encoding, connection\r\nContent-Length: 3\r\n";
    let (head, info) = request_with(lines);
    assert_eq!(
        (head.authority.as_str(), info.framing),
        ("a", Framing::Length(3))
    );
}

#[test]
fn upgrades_are_offered_only_in_order() {
    for (version, lines, upgrade) in [
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            Some("websocket"),
        ),
        (
            "1.1",
            "Connection: keep-alive, upgrade\r\nUpgrade: foo/2\r\n",
            Some("foo/2"),
        ),
        ("1.1", "Upgrade: websocket\r\n", None),
        ("1.1", "Connection: Upgrade\r\n", None),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", None),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", None),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: H2C, websocket\r\n",
            Some("websocket"),
        ),
        ("1.1", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", None),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
            Some("websocket"),
        ),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: web socket\r\n",
            None,
        ),
    ] {
        let (_, info) = request(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(info.upgrade.as_deref(), upgrade, "{version} {lines:?}");
    }
}

#[test]
fn expectations_wait_only_for_a_body() {
    for (version, lines, expects) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", true),
        (
            "1.1",
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
            true,
        ),
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 0\r\n",
            false,
        ),
        ("1.1", "Expect: 100-continue\r\n", false),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            false,
        ),
    ] {
        let (_, info) = request(&format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(info.expects_continue, expects, "{version} {lines:?}");
    }
}

#[test]
fn clients_take_trailers_when_they_say_so() {
    for (lines, accepts) in [
        ("", false),
        ("TE: trailers\r\n", true),
        ("TE: gzip;q=0.5, Trailers\r\n", true),
        ("TE: gzip\r\n", false),
    ] {
        assert_eq!(request_with(lines).1.accepts_trailers, accepts, "{lines:?}");
    }
}

#[test]
fn every_form_of_target_is_understood() {
    for (method, target, host, authority, path) in [
        ("GET", "/a?b", "a", "a", "/a?b"),
        ("GET", "/?b", "a", "a", "/?b"),
        ("GET", "http://A:80/b?c", "a:80", "a:80", "/b?c"),
        ("GET", "HTTP://a", "a", "a", "/"),
        ("GET", "http://a?b", "a", "a", "/?b"),
        ("OPTIONS", "http://a", "a", "a", "*"),
        ("OPTIONS", "*", "a", "a", "*"),
        ("GET", "/http://b/", "a", "a", "/http://b/"),
        ("GET", "/", "[::1]:80", "[::1]:80", "/"),
    ] {
        let (head, _) = request(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        let read = (head.authority.as_str(), head.target.as_str());
        assert_eq!(read, (authority, path), "{method} {target}");
    }
    let (head, _) = request("GET http://a/b HTTP/1.0\r\n\r\n");
    assert_eq!((head.authority.as_str(), head.target.as_str()), ("a", "/b"));
    let (head, _) = request("GET /b HTTP/1.0\r\n\r\n");
    assert_eq!((head.authority.as_str(), head.target.as_str()), ("", "/b"));
}

#[test]
fn unknown_methods_are_kept() {
    let (head, _) = request("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.method.as_str(), "PROPFIND");
}
