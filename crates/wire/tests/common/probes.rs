//! Malformed and ambiguous messages, and what becomes of them.
//!
//! The requests can be sent to a running gateway as they are: a refused one must get
//! the status of its cause and a closed connection, and must not reach an origin.

use portolan_model::Cause;

/// One message.
#[derive(Debug)]
pub struct Probe {
    /// What is odd about it.
    pub name: &'static str,
    /// The message.
    pub bytes: &'static [u8],
    /// Why it is refused; `None` if it is harmless and accepted.
    pub refused: Option<Cause>,
}

const fn refused(name: &'static str, cause: Cause, bytes: &'static [u8]) -> Probe {
    Probe {
        name,
        bytes,
        refused: Some(cause),
    }
}

const fn bad(name: &'static str, bytes: &'static [u8]) -> Probe {
    refused(name, Cause::RequestMalformed, bytes)
}

const fn good(name: &'static str, bytes: &'static [u8]) -> Probe {
    Probe {
        name,
        bytes,
        refused: None,
    }
}

/// Requests. The host is `a` throughout.
#[rustfmt::skip]
pub const REQUESTS: &[Probe] = &[
    // Two framings.
    bad("Content-Length and Transfer-Encoding", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("Transfer-Encoding and Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    bad("Content-Length and another coding", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\nabcd"),
    bad("two different Content-Lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    bad("two equal Content-Lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    bad("a list of equal Content-Lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd"),
    // Lengths that are no numbers.
    bad("Content-Length with a plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab"),
    bad("Content-Length with a minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nab"),
    bad("hexadecimal Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab"),
    bad("Content-Length with a fraction", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2.0\r\n\r\nab"),
    bad("Content-Length of two words", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2 2\r\n\r\nab"),
    bad("empty Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nab"),
    bad("Content-Length over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618\r\n\r\nab"),
    bad("Content-Length over signed 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nab"),
    bad("Content-Length with a vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \x0b2\r\n\r\nab"),
    // Codings.
    bad("unknown coding xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    bad("quoted chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    bad("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    bad("chunked with a control character", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    bad("chunked, then identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    bad("chunked, then identity in a second field", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    bad("identity alone", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    bad("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("chunked and a comma", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    bad("empty Transfer-Encoding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    bad("gzip without chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    refused("gzip, chunked", Cause::CodingUnsupported, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    refused("gzip, chunked in two fields", Cause::CodingUnsupported, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("Transfer-Encoding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Lines and fields.
    bad("blank before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    bad("tab before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    bad("blank before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    bad("folded line", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
    bad("folded Transfer-Encoding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    bad("field without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n"),
    bad("field without a name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    bad("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
    bad("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX-\0A: b\r\n\r\n"),
    bad("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-B: c\r\n\r\n"),
    bad("bare CR before CRLF", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\r\n\r\n"),
    bad("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x7f\r\n\r\n"),
    bad("byte above ASCII in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX-\xe4: b\r\n\r\n"),
    bad("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n"),
    bad("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    bad("bare LF behind a field", b"GET / HTTP/1.1\r\nX-A: b\nHost: a\r\n\r\n"),
    bad("bare LF behind an empty field", b"GET / HTTP/1.1\r\nX-A:\nHost: a\r\n\r\n"),
    bad("bare LF behind the last field", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    bad("bare LF for the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    good("one empty line before the request", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("two empty lines before the request", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("bare LF before the request", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    good("bytes above ASCII in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \xe4\r\n\r\n"),
    // Request lines.
    bad("raw space in the path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("two blanks in the request line", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    bad("blank before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("no version", b"GET /\r\nHost: a\r\n\r\n"),
    bad("lower-case version", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    bad("fragment in the target", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("NUL in the target", b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("encoded NUL in the target", b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("broken escape in the target", b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("target above the root", b"GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("target without a slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("asterisk for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("authority for GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("method with a colon", b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("method of 33 characters", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("HTTP/2.0", Cause::VersionUnsupported, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    refused("HTTP/1.2", Cause::VersionUnsupported, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    refused("HTTP/0.9", Cause::VersionUnsupported, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    refused("the preface of HTTP/2", Cause::VersionUnsupported, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    bad("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    refused("CONNECT", Cause::MethodUnsupported, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    refused("an unknown expectation", Cause::ExpectationFailed, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    bad("TRACE with a body", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
    // Hosts.
    bad("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    bad("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    bad("two equal Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    bad("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    bad("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    bad("Host with user information", b"GET / HTTP/1.1\r\nHost: b@a\r\n\r\n"),
    bad("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    bad("Host of two names", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    bad("Host with a bad port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    bad("absolute-form differs from Host", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("absolute-form without Host", b"GET http://a/ HTTP/1.1\r\n\r\n"),
    bad("absolute-form with user information", b"GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    bad("absolute-form without authority", b"GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("absolute-form of another scheme", Cause::Misdirected, b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    good("absolute-form as in Host", b"GET http://A/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    good("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n"),
    good("asterisk for OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Chunks.
    good("chunks", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"),
    good("chunk with an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a=\"b\"\r\nabcd\r\n0\r\n\r\n"),
    bad("bare LF behind a chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n"),
    bad("bare LF behind the data", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\n0\r\n\r\n"),
    bad("bare LF in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a\nabcd\r\n0\r\n\r\n"),
    bad("bare CR in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a\rb\r\nabcd\r\n0\r\n\r\n"),
    bad("NUL in an extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;\0\r\nabcd\r\n0\r\n\r\n"),
    bad("chunk size with 0x", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"),
    bad("chunk size with a plus", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n"),
    bad("chunk size with a minus", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n"),
    bad("chunk size behind a blank", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nab\r\n0\r\n\r\n"),
    bad("chunk size of two words", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2 2\r\nab\r\n0\r\n\r\n"),
    bad("empty chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nab\r\n0\r\n\r\n"),
    bad("extension without a chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n;a\r\nab\r\n0\r\n\r\n"),
    bad("chunk size over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n"),
    bad("chunk longer than its size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    bad("bare LF behind the last chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n"),
    // Trailers.
    good("a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n"),
    bad("Content-Length as a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n"),
    bad("Transfer-Encoding as a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    bad("Host as a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n"),
    bad("blank before the colon of a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A : b\r\n\r\n"),
    bad("folded trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
    bad("bare LF behind a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\n\r\n"),
    bad("a request for a trailer", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Abuse of Connection.
    good("Connection nominates what a proxy sets", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"),
    good("Connection nominates the framing", b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, Host\r\nContent-Length: 2\r\n\r\nab"),
    good("an offer of h2c", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"),
    // Names that a CGI would take for another.
    good("Content_Length beside Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 7\r\nContent-Length: 2\r\n\r\nab"),
];

const fn hostile(name: &'static str, bytes: &'static [u8]) -> Probe {
    refused(name, Cause::ResponseMalformed, bytes)
}

/// Responses to GET.
#[rustfmt::skip]
pub const RESPONSES: &[Probe] = &[
    good("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"),
    good("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-A: b\r\n\r\n"),
    good("until the end", b"HTTP/1.1 200 OK\r\n\r\nab"),
    good("no phrase", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    good("no phrase but its blank", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    good("a phrase above ASCII", b"HTTP/1.1 200 \xe4\r\nContent-Length: 0\r\n\r\n"),
    hostile("Content-Length and Transfer-Encoding", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    hostile("two different Content-Lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    hostile("two equal Content-Lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    hostile("Content-Length with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
    hostile("gzip, chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    hostile("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab"),
    hostile("chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    hostile("Transfer-Encoding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    hostile("blank before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab"),
    hostile("folded line", b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    hostile("bare CR in a value", b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n"),
    hostile("NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n"),
    hostile("bare LF line ends", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    hostile("bare LF behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    hostile("bare LF for the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n"),
    hostile("bare CR in the phrase", b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
    hostile("empty line before the response", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("another protocol", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("status below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("two blanks in the status line", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    hostile("no status line", b"<html></html>"),
    hostile("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    hostile("interim response with a length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nab"),
    hostile("interim response with chunks", b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    hostile("101 with a length", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab"),
    hostile("bare LF behind a chunk size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"),
    hostile("chunk size with 0x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"),
    hostile("Content-Length as a trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n"),
];
