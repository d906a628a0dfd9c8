//! Claims about reading responses; what is refused is in `tests/common/probes.rs`.

use portolan_model::http::Version;

use super::*;

#[test]
fn a_response_is_read_into_its_parts() {
    let text = "HTTP/1.1 404 Nothing here\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\n";
    let (head, info) = response(&format!("{text}abc"));
    assert_eq!((head.status.as_u16(), head.version), (404, Version::Http11));
    let expected = [("Server", "x"), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
    assert_eq!(head.fields, fields(&expected));
    let expected = ResponseInfo {
        head_bytes: text.len(),
        framing: Framing::Length(3),
        persistence: Persistence::KeepAlive,
        declared_length: Some(3),
        upgrade: None,
    };
    assert_eq!(info, expected);
}

#[test]
fn every_beginning_of_a_response_is_partial() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n";
    let mut head = ResponseHead::default();
    for cut in 0..text.len() {
        let seen = &text.as_bytes()[..cut];
        let parsed = parse_response(seen, &HeadLimits::default(), &Method::Get, &mut head);
        assert_eq!(parsed, Ok(Parsed::Partial), "{cut}");
    }
}

#[test]
fn the_end_of_a_body_follows_from_method_status_and_fields() {
    use Framing::{Chunked, Length, None, UntilClose};
    use Persistence::{Close, KeepAlive};
    let (get, head) = (Method::Get, Method::Head);
    for (method, status, lines, framing, persistence, declared) in [
        (
            &get,
            200,
            "Content-Length: 2\r\n",
            Length(2),
            KeepAlive,
            Some(2),
        ),
        (
            &get,
            200,
            "Transfer-Encoding: chunked\r\n",
            Chunked,
            KeepAlive,
            Option::None,
        ),
        (&get, 200, "", UntilClose, Close, Option::None),
        (
            &get,
            500,
            "Connection: close\r\nContent-Length: 0\r\n",
            Length(0),
            Close,
            Some(0),
        ),
        (
            &head,
            200,
            "Content-Length: 2\r\n",
            None,
            KeepAlive,
            Some(2),
        ),
        (
            &head,
            200,
            "Transfer-Encoding: chunked\r\n",
            None,
            KeepAlive,
            Option::None,
        ),
        (&head, 200, "", None, KeepAlive, Option::None),
        (&get, 304, "Content-Length: 2\r\n", None, KeepAlive, Some(2)),
        (&get, 304, "", None, KeepAlive, Option::None),
        (&get, 204, "", None, KeepAlive, Option::None),
        (
            &get,
            204,
            "Content-Length: 0\r\n",
            None,
            KeepAlive,
            Option::None,
        ),
        (
            &get,
            204,
            "Content-Length: 2\r\n",
            None,
            Close,
            Option::None,
        ),
        (
            &get,
            204,
            "Transfer-Encoding: chunked\r\n",
            None,
            Close,
            Option::None,
        ),
        (&get, 103, "Link: a\r\n", None, KeepAlive, Option::None),
        (
            &get,
            101,
            "Content-Length: 0\r\n",
            None,
            KeepAlive,
            Option::None,
        ),
    ] {
        let (_, info) = response_to(method, &format!("HTTP/1.1 {status} X\r\n{lines}\r\n"));
        let read = (info.framing, info.persistence, info.declared_length);
        assert_eq!(
            read,
            (framing, persistence, declared),
            "{method} {status} {lines:?}"
        );
    }
}

#[test]
fn old_servers_keep_a_connection_only_on_request() {
    for (lines, persistence) in [
        ("Content-Length: 0\r\n", Persistence::Close),
        (
            "Content-Length: 0\r\nConnection: keep-alive\r\n",
            Persistence::KeepAlive,
        ),
        ("Connection: keep-alive\r\n", Persistence::Close),
    ] {
        let (head, info) = response(&format!("HTTP/1.0 200 OK\r\n{lines}\r\n"));
        assert_eq!(
            (head.version, info.persistence),
            (Version::Http10, persistence),
            "{lines:?}"
        );
    }
}

#[test]
fn only_101_switches() {
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let (head, info) = response(&format!("HTTP/1.1 101 Switching\r\n{lines}X-A: b\r\n\r\n"));
    assert_eq!(info.upgrade.as_deref(), Some("websocket"));
    assert_eq!(names(&head.fields), ["X-A"]);
    let (_, info) = response(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    assert_eq!(info.upgrade, None);
    let (_, info) = response("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(info.upgrade, None);
}

#[test]
fn fields_of_the_hop_end_here() {
    let (head, _) = response(concat!(
        "HTTP/1.1 200 OK\r\nConnection: X-A, Transfer-Encoding\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\n",
        "Trailer: X-B\r\nTransfer-Encoding: chunked\r\nDate: d\r\n\r\n",
    ));
    assert_eq!(names(&head.fields), ["Trailer", "Date"]);
}
