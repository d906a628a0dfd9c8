//! Claims about writing.

use portolan_model::http::{Status, Version};

use super::*;

fn head(method: Method, list: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead {
        method,
        fields: fields(list),
        ..RequestHead::default()
    };
    head.authority.push_str("a:80");
    head.target.set(b"/b?c").unwrap();
    head
}

fn answer(status: u16, list: &[(&str, &str)]) -> ResponseHead {
    let status = Status::new(status).unwrap();
    ResponseHead {
        status,
        fields: fields(list),
        ..ResponseHead::default()
    }
}

#[test]
fn requests_are_written_anew() {
    let get = head(Method::Get, &[("X-A", "b")]);
    let post = head(Method::Post, &[]);
    let start = "GET /b?c HTTP/1.1\r\nhost: a:80\r\nX-A: b\r\n";
    for (framing, connection, expects, rest) in [
        (Framing::None, Wanted::KeepAlive, false, ""),
        (
            Framing::Length(0),
            Wanted::KeepAlive,
            false,
            "content-length: 0\r\n",
        ),
        (
            Framing::Length(12),
            Wanted::Close,
            false,
            "content-length: 12\r\nconnection: close\r\n",
        ),
        (
            Framing::Chunked,
            Wanted::KeepAlive,
            true,
            "transfer-encoding: chunked\r\nexpect: 100-continue\r\n",
        ),
        (
            Framing::None,
            Wanted::Upgrade("websocket"),
            false,
            "connection: upgrade\r\nupgrade: websocket\r\n",
        ),
    ] {
        let written = text(|out| write_request(out, &get, framing, connection, expects));
        assert_eq!(written, format!("{start}{rest}\r\n"));
    }
    let written = text(|out| write_request(out, &post, Framing::None, Wanted::KeepAlive, false));
    assert_eq!(
        written,
        "POST /b?c HTTP/1.1\r\nhost: a:80\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn fields_of_the_hop_are_never_forwarded() {
    let list = [
        ("Host", "b"),
        ("Connection", "x"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "x"),
        ("Proxy-Connection", "x"),
        ("TE", "gzip"),
        ("Upgrade", "x"),
        ("Expect", "x"),
        ("HTTP2-Settings", "x"),
        ("X-A", "b"),
    ];
    let request = head(Method::Get, &list);
    let written = text(|out| write_request(out, &request, Framing::None, Wanted::KeepAlive, false));
    assert_eq!(written, "GET /b?c HTTP/1.1\r\nhost: a:80\r\nX-A: b\r\n\r\n");
    let response = answer(103, &list);
    let written = text(|out| write_interim(out, &response));
    assert_eq!(written, "HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n");
}

#[test]
fn the_wish_for_trailers_is_nominated() {
    let request = head(Method::Get, &[("te", "trailers")]);
    let written = text(|out| write_request(out, &request, Framing::None, Wanted::KeepAlive, false));
    assert!(
        written.ends_with("\r\nte: trailers\r\nconnection: te\r\n\r\n"),
        "{written}"
    );
}

#[test]
fn responses_are_written_for_their_client() {
    use Framing::{Chunked, Length, None, UntilClose};
    use Version::{Http10, Http11};
    let keep = Wanted::KeepAlive;
    for (framing, declared, connection, client, rest) in [
        (
            Length(12),
            Option::None,
            keep,
            Http11,
            "content-length: 12\r\n",
        ),
        (Length(12), Some(13), keep, Http11, "content-length: 12\r\n"),
        (None, Some(13), keep, Http11, "content-length: 13\r\n"),
        (None, Option::None, keep, Http11, ""),
        (
            Chunked,
            Option::None,
            keep,
            Http11,
            "transfer-encoding: chunked\r\n",
        ),
        (
            Length(0),
            Option::None,
            Wanted::Close,
            Http11,
            "content-length: 0\r\nconnection: close\r\n",
        ),
        (
            Length(0),
            Option::None,
            keep,
            Http10,
            "content-length: 0\r\nconnection: keep-alive\r\n",
        ),
        (
            UntilClose,
            Option::None,
            Wanted::Close,
            Http10,
            "connection: close\r\n",
        ),
        (UntilClose, Some(3), keep, Http10, "connection: close\r\n"),
        (
            UntilClose,
            Option::None,
            keep,
            Http11,
            "connection: close\r\n",
        ),
    ] {
        let head = answer(200, &[("X-A", "b")]);
        let written = text(|out| write_response(out, &head, framing, declared, connection, client));
        assert_eq!(written, format!("HTTP/1.1 200 OK\r\nX-A: b\r\n{rest}\r\n"));
    }
    let head = answer(101, &[]);
    let wanted = Wanted::Upgrade("websocket");
    let written = text(|out| write_response(out, &head, None, Option::None, wanted, Http11));
    assert_eq!(
        written,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
}

#[test]
fn a_status_without_a_phrase_keeps_its_blank() {
    let written = text(|out| write_interim(out, &answer(199, &[])));
    assert_eq!(written, "HTTP/1.1 199 \r\n\r\n");
}

#[test]
fn chunks_are_written_in_hexadecimal() {
    for (len, expected) in [
        (1, "1\r\n"),
        (0xf, "f\r\n"),
        (0x10, "10\r\n"),
        (0xabc0, "abc0\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        assert_eq!(text(|out| write_chunk_head(out, len)), expected);
    }
}

#[test]
fn only_trailers_are_written_as_such() {
    let trailers = fields(&[
        ("X-Sum", "1"),
        ("Content-Length", "2"),
        ("Authorization", "3"),
    ]);
    assert_eq!(
        text(|out| write_last_chunk(out, &trailers)),
        "0\r\nX-Sum: 1\r\n\r\n"
    );
    assert_eq!(
        text(|out| write_last_chunk(out, &Fields::default())),
        "0\r\n\r\n"
    );
}
