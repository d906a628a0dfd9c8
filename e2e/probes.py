"""Requests that are malformed or can be read in two ways.

Each probe is followed on its connection by a request for /smuggled: a reader that is out of
step takes it for a request of its own, or takes the probe's rest for one. `refused` names the
answers that are right; a probe with none may also be understood, but only in one way.
"""

from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Probe:
    name: str
    data: bytes
    refused: tuple[int, ...] = (400,)


def head(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


POST = b"POST / HTTP/1.1"
GET = b"GET / HTTP/1.1"
HOST = b"Host: a.test"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"0\r\n\r\n"

PROBES = [
    Probe("length and chunks", head(POST, HOST, b"Content-Length: 6", CHUNKED, body=EMPTY + b"G")),
    Probe("chunks and length", head(POST, HOST, CHUNKED, b"Content-Length: 5", body=EMPTY)),
    Probe("two different lengths", head(POST, HOST, b"Content-Length: 5", b"Content-Length: 6", body=b"hello")),
    Probe("two equal lengths", head(POST, HOST, b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    Probe("a list of lengths", head(POST, HOST, b"Content-Length: 5, 5", body=b"hello")),
    Probe("a signed length", head(POST, HOST, b"Content-Length: +5", body=b"hello")),
    Probe("a negative length", head(POST, HOST, b"Content-Length: -5", body=b"hello")),
    Probe("a hexadecimal length", head(POST, HOST, b"Content-Length: 0x5", body=b"hello")),
    Probe("a length with a blank inside", head(POST, HOST, b"Content-Length: 1 5", body=b"hello")),
    Probe("an empty length", head(POST, HOST, b"Content-Length: ", body=b"")),
    Probe("a length beyond 64 bits", head(POST, HOST, b"Content-Length: 18446744073709551621", body=b"hello"), (400, 413)),
    Probe("coding xchunked", head(POST, HOST, b"Transfer-Encoding: xchunked", body=EMPTY), (400, 501)),
    Probe("chunked then identity", head(POST, HOST, b"Transfer-Encoding: chunked, identity", body=EMPTY), (400, 501)),
    Probe("identity", head(POST, HOST, b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"), (400, 501)),
    Probe("gzip then chunked", head(POST, HOST, b"Transfer-Encoding: gzip, chunked", body=EMPTY), (501,)),
    Probe("chunked twice", head(POST, HOST, b"Transfer-Encoding: chunked, chunked", body=EMPTY), (400, 501)),
    Probe("two codings in two fields", head(POST, HOST, CHUNKED, b"Transfer-Encoding: identity", body=EMPTY), (400, 501)),
    Probe("two equal codings in two fields", head(POST, HOST, CHUNKED, CHUNKED, body=EMPTY), (400, 501)),
    Probe("blank before the colon", head(POST, HOST, b"Transfer-Encoding : chunked", body=EMPTY)),
    Probe("tab before the colon", head(POST, HOST, b"Content-Length\t: 5", body=b"hello")),
    Probe("blank before the name", head(POST, HOST, b" Transfer-Encoding: chunked", body=EMPTY)),
    Probe("coding with a vertical tab", head(POST, HOST, b"Transfer-Encoding: \x0bchunked", body=EMPTY), (400, 501)),
    Probe("coding in quotes", head(POST, HOST, b'Transfer-Encoding: "chunked"', body=EMPTY), (400, 501)),
    Probe("HTTP/1.0 with chunks", head(b"POST / HTTP/1.0", HOST, CHUNKED, body=EMPTY)),
    Probe("folded line", head(GET, HOST, b"X-A: 1\r\n 2")),
    Probe("folded coding", head(POST, HOST, b"Transfer-Encoding:\r\n chunked", body=EMPTY)),
    Probe("NUL in a value", head(GET, HOST, b"X-A: a\0b")),
    Probe("NUL in a name", head(GET, HOST, b"X\0A: 1")),
    Probe("bare CR in a value", head(GET, HOST, b"X-A: a\rTransfer-Encoding: chunked")),
    Probe("bare LF ends a line", GET + b"\r\n" + HOST + b"\nX-A: 1\r\n\r\n"),
    Probe("bare LF ends everything", GET + b"\n" + HOST + b"\n\n"),
    Probe("no field name", head(GET, HOST, b": value")),
    Probe("no colon", head(GET, HOST, b"Nothing")),
    Probe("a name with a slash", head(GET, HOST, b"X/A: 1")),
    Probe("LF-only chunk lines", head(POST, HOST, CHUNKED, body=b"5\nhello\n0\n\n")),
    Probe("a hexadecimal prefix in a chunk", head(POST, HOST, CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    Probe("a signed chunk", head(POST, HOST, CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n")),
    Probe("a chunk with a blank before its size", head(POST, HOST, CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n")),
    Probe("a chunk beyond 64 bits", head(POST, HOST, CHUNKED, body=b"FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n"), (400, 413)),
    Probe("a chunk longer than its size", head(POST, HOST, CHUNKED, body=b"3\r\nhello\r\n0\r\n\r\n")),
    Probe("a chunk extension with a bare LF", head(POST, HOST, CHUNKED, body=b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    Probe("a chunk extension with a NUL", head(POST, HOST, CHUNKED, body=b"5;a=\0\r\nhello\r\n0\r\n\r\n")),
    Probe("a length among the trailers", head(POST, HOST, CHUNKED, body=b"0\r\nContent-Length: 50\r\n\r\n"), ()),
    Probe("no Host", head(GET, b"X-A: 1")),
    Probe("two Hosts", head(GET, HOST, b"Host: b.test")),
    Probe("two equal Hosts", head(GET, HOST, HOST)),
    Probe("a Host with a path", head(GET, b"Host: a.test/b")),
    Probe("a Host with a blank", head(GET, b"Host: a.test b")),
    Probe("a Host with an at sign", head(GET, b"Host: user@a.test")),
    Probe("absolute form against Host", head(b"GET http://b.test/ HTTP/1.1", HOST), ()),
    Probe("blank in the path", head(b"GET /a b HTTP/1.1", HOST)),
    Probe("tab in the request line", head(b"GET\t/\tHTTP/1.1", HOST)),
    Probe("two blanks in the request line", head(b"GET  / HTTP/1.1", HOST)),
    Probe("control character in the path", head(b"GET /\x01 HTTP/1.1", HOST)),
    Probe("no path", head(b"GET a HTTP/1.1", HOST)),
    Probe("a fragment", head(b"GET /a#b HTTP/1.1", HOST), (400,)),
    Probe("HTTP/0.9", b"GET /\r\n\r\n", (400, 505)),
    Probe("HTTP/1.2", head(b"GET / HTTP/1.2", HOST), (400, 505)),
    Probe("HTTP/2.0 in a line", head(b"GET / HTTP/2.0", HOST), (400, 505)),
    Probe("HTTP/3.1", head(b"GET / HTTP/3.1", HOST), (400, 505)),
    Probe("lower-case version", head(b"GET / http/1.1", HOST), (400, 505)),
    Probe("method with a blank end", head(b" GET / HTTP/1.1", HOST)),
    Probe("method of odd characters", head(b"G(T / HTTP/1.1", HOST), (400, 405, 501)),
    Probe("TLS where none is spoken", bytes.fromhex("16030100a5010000a10303") + b"\0" * 40),
    Probe("binary", bytes(range(256))),
    Probe("an upgrade that the origin ignores", head(GET, HOST, b"Connection: Upgrade", b"Upgrade: foo"), ()),
    Probe("an upgrade with a body", head(POST, HOST, b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5", body=b"hello"), ()),
    Probe("length nominated by Connection", head(POST, HOST, b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"), ()),
    Probe("coding nominated by Connection", head(POST, HOST, b"Connection: Transfer-Encoding", CHUNKED, body=EMPTY), ()),
    Probe("host nominated by Connection", head(GET, HOST, b"Connection: Host"), ()),
    Probe("GET with a body", head(GET, HOST, b"Content-Length: 5", body=b"hello"), ()),
    Probe("GET with chunks", head(GET, HOST, CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), ()),
    Probe("HEAD with a body", head(b"HEAD / HTTP/1.1", HOST, b"Content-Length: 5", body=b"hello"), ()),
    Probe("CONNECT", head(b"CONNECT a.test:80 HTTP/1.1", HOST), (400, 405, 501)),
    Probe("underscored coding", head(POST, HOST, b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello"), ()),
    Probe("underscored length", head(POST, HOST, b"Content_Length: 9", CHUNKED, body=EMPTY), ()),
    Probe("an empty line first", b"\r\n" + head(GET, HOST), ()),
    Probe("expectation and chunks", head(POST, HOST, b"Expect: 100-continue", CHUNKED, body=EMPTY), ()),
    Probe("dot segments", head(b"GET /a/../../smuggled-no HTTP/1.1", HOST), ()),
    Probe("encoded NUL in the path", head(b"GET /a%00b HTTP/1.1", HOST), ()),
    Probe("broken escape in the path", head(b"GET /a%zz HTTP/1.1", HOST), ()),
]
