"""The PROXY protocol, versions 1 and 2, in and out."""

import socket
import struct

import pytest

from harness.gateway import config, listener, to_origin
from harness.origin import Connection, field_of, reply, told
from harness.wire import Client, Closed, raw

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def two(command: int = 1, family: int = 0x11, body: bytes | None = None) -> bytes:
    """A header of version 2 for 9.8.7.6:1234 -> 1.2.3.4:80."""
    if body is None:
        body = socket.inet_aton("9.8.7.6") + socket.inet_aton("1.2.3.4") + struct.pack("!HH", 1234, 80)
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


ONE = b"PROXY TCP4 9.8.7.6 1.2.3.4 1234 80\r\n"
SIX = b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n"
SIX_TWO = two(family=0x21, body=socket.inet_pton(socket.AF_INET6, "2001:db8::1")
              + socket.inet_pton(socket.AF_INET6, "2001:db8::2") + struct.pack("!HH", 1234, 80))
WITH_MORE = two(body=socket.inet_aton("9.8.7.6") + socket.inet_aton("1.2.3.4") + struct.pack("!HH", 1234, 80)
                + b"\x05\x00\x04abcd")


def receiving(start, origin, mode: str, trusted: bool = True):
    gateway = {"trusted_proxies": ["127.0.0.0/8"]} if trusted else {}
    web = listener(proxy_protocol=mode)
    return start(config(**to_origin(origin()), listeners={"web": web}, gateway=gateway))


def client_of(gateway, header: bytes) -> str:
    with Client(gateway.port()) as client:
        client.send(header + REQUEST)
        forwarded = field_of(told(client.reader.answer()), "x-forwarded-for")
    return forwarded


@pytest.mark.parametrize(("header", "expected"), [
    (ONE, "9.8.7.6"), (SIX, "2001:db8::1"), (two(), "9.8.7.6"), (SIX_TWO, "2001:db8::1"), (WITH_MORE, "9.8.7.6"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (two(command=0), "127.0.0.1"), (two(family=0, body=b""), "127.0.0.1"),
], ids=["v1", "v1 IPv6", "v2", "v2 IPv6", "v2 with more", "v1 unknown", "v2 local", "v2 unspecified"])
def test_the_client_is_the_one_in_the_header(start, origin, header, expected):
    assert client_of(receiving(start, origin, "required"), header) == expected


def test_a_header_may_come_in_pieces(start, origin):
    gateway = receiving(start, origin, "required")
    with Client(gateway.port()) as client:
        for byte in two():
            client.send(bytes([byte]))
        client.send(REQUEST)
        assert field_of(told(client.reader.answer()), "x-forwarded-for") == "9.8.7.6"


BROKEN = [
    b"", b"PROXY TCP4 9.8.7.6 1.2.3.4 1234\r\n", b"PROXY TCP4 9.8.7.666 1.2.3.4 1234 80\r\n",
    b"PROXY TCP4 9.8.7.6 1.2.3.4 1234 99999\r\n", b"PROXY TCP4 9.8.7.6  1.2.3.4 1234 80\r\n",
    b"PROXY TCP4 9.8.7.6 1.2.3.4 1234 80\n", b"PROXY TCP4 " + b"9" * 200 + b"\r\n", b"proxy TCP4 9.8.7.6 1.2.3.4 1 2\r\n",
    SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12, SIGNATURE + b"\x21\x11\x00\x04" + b"\0" * 4,
    SIGNATURE + b"\x25\x11\x00\x0c" + b"\0" * 12, SIGNATURE[:-1] + b"X" + b"\x21\x11\x00\x0c" + b"\0" * 12,
]


@pytest.mark.parametrize("header", BROKEN, ids=lambda header: repr(header[:30]))
def test_a_required_header_must_be_right(start, origin, header):
    gateway = receiving(start, origin, "required")
    assert b" 200 " not in raw(gateway.port(), header + REQUEST)


def test_an_optional_header_may_be_missing(start, origin):
    gateway = receiving(start, origin, "optional")
    assert client_of(gateway, b"") == "127.0.0.1"
    assert client_of(gateway, ONE) == "9.8.7.6"
    assert client_of(gateway, two()) == "9.8.7.6"


def test_a_stranger_is_not_believed(start, origin):
    gateway = receiving(start, origin, "optional", trusted=False)
    try:
        assert client_of(gateway, ONE) == "127.0.0.1"
    except (Closed, AssertionError):
        pass
    assert client_of(gateway, b"") == "127.0.0.1"


def test_before_tls_and_http2(start, origin, authority):
    import ssl

    web = listener(proxy_protocol="required", tls={"certificates": [authority.issue("localhost")]})
    gateway = start(config(**to_origin(origin()), listeners={"web": web}, gateway={"trusted_proxies": ["127.0.0.1/32"]}))
    with socket.create_connection(("127.0.0.1", gateway.port()), timeout=5) as sock:
        sock.sendall(two())
        tls: ssl.SSLSocket = authority.client("http/1.1").wrap_socket(sock, server_hostname="localhost")
        tls.sendall(REQUEST)
        received = b""
        while chunk := tls.recv(65536):
            received += chunk
    assert b"9.8.7.6" in received


def reading(headers: list[bytes], version: str):
    """What an origin does that expects a header first."""
    def opening(connection: Connection) -> None:
        if version == "v1":
            headers.append(connection.reader.line())
            return
        start = connection.reader.exactly(16)
        (length,) = struct.unpack("!H", start[14:16])
        headers.append(start + connection.reader.exactly(length))

    return opening


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_instance_is_told_who_the_client_is(start, origin, version):
    headers: list[bytes] = []
    backend = origin(handler=lambda seen, connection: reply(200, b"ok"), opening=reading(headers, version))
    gateway = start(config(**to_origin(backend, proxy_protocol=version)))
    with Client(gateway.port()) as client:
        assert client.request("GET", "/").status == 200
        port = client.sock.getsockname()[1]
    if version == "v1":
        assert headers[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 %d " % port), headers
    else:
        assert headers[0][:14] == SIGNATURE + b"\x21\x11"
        assert headers[0][16:20] == socket.inet_aton("127.0.0.1")
        assert struct.unpack("!H", headers[0][24:26])[0] == port


def test_two_clients_never_share_a_connection_with_a_header(start, origin):
    headers: list[bytes] = []
    backend = origin(handler=lambda seen, connection: reply(200, b"ok"), opening=reading(headers, "v1"))
    gateway = start(config(**to_origin(backend, proxy_protocol="v1"), gateway={"workers": 1}))
    ports = []
    for _ in range(5):
        with Client(gateway.port()) as client:
            assert client.request("GET", "/").status == 200
            ports.append(client.sock.getsockname()[1])
    assert [int(header.split()[4]) for header in headers] == ports


def test_clients_do_not_share_a_connection_that_announces_one_of_them(start, origin):
    """Over HTTP/2, too: each connection to the instance begins with the name of its client."""
    inner = start(config(
        **to_origin(origin()), listeners={"web": listener(proxy_protocol="required")},
        gateway={"trusted_proxies": ["127.0.0.0/8"]},
    ), folder="inner")
    upstream = {"addresses": [f"127.0.0.1:{inner.port()}"], "protocol": "http2", "proxy_protocol": "v2"}
    outer = start(config(
        routes={"all": {"target": "inner"}}, upstreams={"inner": upstream},
        listeners={"web": listener(proxy_protocol="required")},
        gateway={"trusted_proxies": ["127.0.0.0/8"], "workers": 1},
    ), folder="outer")
    assert [client_of(outer, ONE), client_of(outer, SIX)] == ["9.8.7.6", "2001:db8::1"]
