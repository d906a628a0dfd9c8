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

/// Framing, persistence and declared length of a response with these lines.
fn told(method: &Method, status: u16, lines: &str) -> String {
    let (_, info) = response_to(method, &format!("HTTP/1.1 {status} X\r\n{lines}\r\n"));
    let declared = info.declared_length;
    format!("{:?} {:?} {declared:?}", info.framing, info.persistence)
}

#[test]
fn the_fields_say_where_a_body_ends() {
    for (lines, expected) in [
        ("Content-Length: 2\r\n", "Length(2) KeepAlive Some(2)"),
        ("Content-Length: 0\r\n", "Length(0) KeepAlive Some(0)"),
        ("Transfer-Encoding: chunked\r\n", "Chunked KeepAlive None"),
        (
            "Connection: close\r\nContent-Length: 0\r\n",
            "Length(0) Close Some(0)",
        ),
        ("", "UntilClose Close None"),
    ] {
        assert_eq!(told(&Method::Get, 200, lines), expected, "{lines:?}");
    }
}

#[test]
fn answers_to_head_have_no_body() {
    for (lines, expected) in [
        ("Content-Length: 2\r\n", "None KeepAlive Some(2)"),
        ("Transfer-Encoding: chunked\r\n", "None KeepAlive None"),
        ("", "None KeepAlive None"),
    ] {
        assert_eq!(told(&Method::Head, 200, lines), expected, "{lines:?}");
    }
}

#[test]
fn some_statuses_have_no_body() {
    for (status, lines, expected) in [
        (304, "Content-Length: 2\r\n", "None KeepAlive Some(2)"),
        (304, "", "None KeepAlive None"),
        (204, "", "None KeepAlive None"),
        (204, "Content-Length: 0\r\n", "None KeepAlive None"),
        (204, "Content-Length: 2\r\n", "None Close None"),
        (204, "Transfer-Encoding: chunked\r\n", "None Close None"),
        (103, "Link: a\r\n", "None KeepAlive None"),
        (101, "Content-Length: 0\r\n", "None KeepAlive None"),
    ] {
        assert_eq!(
            told(&Method::Get, status, lines),
            expected,
            "{status} {lines:?}"
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
