"""A client that floods, stalls or lies costs little and gets the right refusal."""

import socket
import time

import pytest

from harness.gateway import config, listener, to_origin
from harness.origin import told
from harness.waiting import until
from harness.wire import Client, Closed, get, raw


def limited(start, origin, limits=None, timeouts=None):
    web = listener(**({"limits": limits} if limits else {}), **({"timeouts": timeouts} if timeouts else {}))
    return start(config(**to_origin(origin()), listeners={"web": web}))


def test_too_many_headers_are_431(start, origin):
    gateway = limited(start, origin, {"headers": 20})
    few, many = ([f"X-{n}: 1" for n in range(count)] for count in (15, 25))
    assert get(gateway.port(), "/", *few).status == 200
    assert get(gateway.port(), "/", *many).status == 431


def test_too_large_a_head_is_431(start, origin):
    gateway = limited(start, origin, {"head": "4KiB"})
    assert get(gateway.port(), "/", "X-A: " + "a" * 3000).status == 200
    assert get(gateway.port(), "/", "X-A: " + "a" * 5000).status == 431


def test_too_long_a_target_is_414(start, origin):
    gateway = limited(start, origin, {"uri": "1KiB"})
    assert get(gateway.port(), "/" + "a" * 900).status == 200
    assert get(gateway.port(), "/" + "a" * 1100).status == 414


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_too_large_a_body_is_413(start, origin, framing):
    gateway = limited(start, origin, {"body": "10KiB"})
    for size, status in ((10_000, 200), (20_000, 413)):
        with Client(gateway.port()) as client:
            if framing == "length":
                answer = client.request("POST", "/", body=b"a" * size)
            else:
                body = b"%x\r\n" % size + b"a" * size + b"\r\n0\r\n\r\n"
                answer = client.request("POST", "/", "Transfer-Encoding: chunked", body=body)
            assert answer.status == status, (framing, size)


def test_an_endless_head_costs_no_memory(start, origin):
    gateway = limited(start, origin)
    before = gateway.resident_bytes()
    with socket.create_connection(("127.0.0.1", gateway.port()), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            for _ in range(2000):
                sock.sendall(b"X-A: " + b"a" * 50_000 + b"\r\n")
    assert gateway.resident_bytes() - before < 10_000_000


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 100_000_0, b"A" * 1_000_000, b"\r\n" * 500_000])
def test_an_endless_line_is_cut(start, origin, endless):
    gateway = limited(start, origin)
    received = raw(gateway.port(), endless)
    assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:50]
    assert get(gateway.port()).status == 200


def test_a_client_that_stalls_in_its_head_is_let_go(start, origin):
    gateway = limited(start, origin, timeouts={"head": "500ms"})
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: ")
        began = time.monotonic()
        received = client.reader.rest()
        assert time.monotonic() - began < 3
    assert received == b"" or b" 408 " in received


def test_dripping_a_head_does_not_help(start, origin):
    gateway = limited(start, origin, timeouts={"head": "700ms"})
    with Client(gateway.port()) as client:
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError, Closed, AssertionError)):
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 100:
                client.send(bytes([byte]))
                time.sleep(0.05)
            raise AssertionError
        assert time.monotonic() - began < 4


def test_a_stalled_body_is_let_go(start, origin):
    gateway = limited(start, origin, timeouts={"body": "500ms"})
    with Client(gateway.port()) as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        began = time.monotonic()
        received = client.reader.rest()
        assert time.monotonic() - began < 3
    assert received == b"" or b" 408 " in received


def test_an_idle_connection_is_closed(start, origin):
    gateway = limited(start, origin, timeouts={"idle": "500ms"})
    with Client(gateway.port()) as client:
        assert told(client.request("GET", "/"))
        assert client.is_closed(3)


def test_connections_are_bounded(start, origin):
    gateway = limited(start, origin, {"connections": 10})
    clients = [Client(gateway.port()) for _ in range(10)]
    for client in clients:
        told(client.request("GET", "/"))
    extra = Client(gateway.port())
    extra.sock.settimeout(1)
    extra.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        received = extra.sock.recv(100)
        assert received == b"" or b" 503 " in received
    except (TimeoutError, ConnectionResetError):
        pass
    for client in clients:
        client.close()
    until(lambda: get(gateway.port()).status == 200, "a place to be free")


def test_a_thousand_silent_connections_cost_little(start, origin):
    gateway = limited(start, origin)
    before = gateway.resident_bytes()
    clients = [Client(gateway.port()) for _ in range(1000)]
    until(lambda: gateway.metric("portolan_connections_open") >= 1000, "a thousand connections")
    assert gateway.resident_bytes() - before < 20_000_000
    assert get(gateway.port()).status == 200
    for client in clients:
        client.close()
    until(lambda: gateway.metric("portolan_connections_open") == 0, "them to be gone")


def test_refusals_close_the_connection(start, origin):
    gateway = limited(start, origin)
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        answer = client.reader.answer()
        assert answer.status == 400 and answer["connection"] == "close"
        assert client.is_closed()
