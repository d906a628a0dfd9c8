"""HTTP/1.1 through the gateway: messages arrive as they were meant."""

import json
import socket
import threading
import time

import pytest

from harness.gateway import config, listener, to_origin
from harness.origin import Connection, Seen, field_of, reply, told
from harness.waiting import until
from harness.wire import Client, get


def test_a_request_reaches_the_origin_and_its_answer_returns(proxied):
    answer = get(proxied.port(), "/a/b?x=1&y=%20", "X-One: 1", "X-Two: 2")
    story = told(answer)
    assert (story["method"], story["target"]) == ("GET", "/a/b?x=1&y=%20")
    assert field_of(story, "x-one") == "1"
    assert field_of(story, "x-two") == "2"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_methods_pass(proxied, method):
    assert told(get(proxied.port(), "/", method=method))["method"] == method


def test_a_connection_carries_many_requests_and_so_does_the_pool(proxied):
    with Client(proxied.port()) as client:
        stories = [told(client.request("GET", f"/{n}")) for n in range(20)]
    assert [story["target"] for story in stories] == [f"/{n}" for n in range(20)]
    assert len({story["connection"] for story in stories}) == 1


def test_pipelined_requests_are_answered_in_order(proxied):
    with Client(proxied.port()) as client:
        client.send("".join(f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(5)))
        targets = [told(client.reader.answer())["target"] for _ in range(5)]
    assert targets == [f"/{n}" for n in range(5)]


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 1_000_000, 5_000_001])
def test_bodies_with_a_length_pass_both_ways(proxied, size):
    body = bytes(n % 251 for n in range(1000)) * (size // 1000 + 1)
    body = body[:size]
    with Client(proxied.port()) as client:
        story = told(client.request("POST", "/", f"Content-Length: {size}", body=body))
        assert story["body"].encode("latin-1") == body
        assert len(client.request("GET", f"/bytes/{size}").body) == size


def test_chunked_bodies_and_trailers_pass_both_ways(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        connection.send(f"{len(seen.body):x}\r\n".encode() + seen.body + b"\r\n")
        connection.send("3;ext=1\r\nend\r\n0\r\nX-Sum: 7\r\n\r\n")

    backend = origin(handler=answer)
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-In\r\n\r\n")
        client.send("5\r\nhello\r\n6\r\n world\r\n0\r\nX-In: yes\r\n\r\n")
        reply_ = client.reader.answer()
    assert reply_.body == b"hello worldend"
    assert ("X-Sum", "7") in [(k.title(), v) for k, v in reply_.trailers]
    assert backend.requests[0].body == b"hello world"
    assert ("x-in", "yes") in [(k.lower(), v) for k, v in backend.requests[0].trailers]


def test_an_answer_that_ends_with_its_connection_is_whole(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        connection.send(b"y" * 100_000)
        connection.sock.shutdown(socket.SHUT_RDWR)

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        assert client.request("GET", "/").body == b"y" * 100_000
        assert client.request("GET", "/").body == b"y" * 100_000


def test_an_answer_that_ends_early_is_not_passed_off_as_whole(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        connection.sock.shutdown(socket.SHUT_RDWR)

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = client.reader.rest()
    assert received.endswith(b"short")


def test_head_has_the_fields_of_get_and_no_body(proxied):
    with Client(proxied.port()) as client:
        head = client.request("HEAD", "/")
        assert head.status == 200 and head.body == b""
        assert int(head["content-length"]) > 100
        assert told(client.request("GET", "/"))["method"] == "GET"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body_leave_the_connection_in_step(proxied, status):
    with Client(proxied.port()) as client:
        assert client.request("GET", f"/status/{status}").status == status
        assert told(client.request("GET", "/next"))["target"] == "/next"


def test_options_for_the_server_as_a_whole_passes(proxied):
    assert told(get(proxied.port(), "*", method="OPTIONS"))["target"] == "*"


def test_connect_is_refused(proxied):
    answer = get(proxied.port(), "a.test:443", method="CONNECT")
    assert answer.status == 405
    assert not proxied.backend.requests


def test_trace_does_not_carry_secrets_back(proxied):
    answer = get(proxied.port(), "/", "Authorization: Bearer secret", "Cookie: a=secret", method="TRACE")
    assert b"secret" not in answer.body or answer.status == 405


def test_continue_is_asked_for_and_passed_on(proxied):
    with Client(proxied.port()) as client:
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.reader.head().status == 100
        client.send("hello")
        assert told(client.reader.answer())["body"] == "hello"


def test_a_refusal_comes_without_waiting_for_the_body(start, origin):
    gateway = start(config(**to_origin(origin()), listeners={"web": listener(limits={"body": "1KiB"})}))
    with Client(gateway.port()) as client:
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n")
        first = client.reader.head()
    assert first.status == 413


def test_an_unknown_expectation_fails(proxied):
    assert get(proxied.port(), "/", "Expect: a-miracle").status == 417


def test_interim_answers_pass(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        time.sleep(0.05)
        return reply(200, b"done")

    gateway = start(config(**to_origin(origin(handler=answer))))
    answer_ = get(gateway.port())
    assert answer_.body == b"done"
    assert [(hint.status, hint["link"]) for hint in answer_.interim] == [(103, "</a.css>; rel=preload")]


def test_interim_answers_are_kept_from_http_1_0(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        connection.send("HTTP/1.1 103 Early Hints\r\n\r\n")
        return reply(200, b"done")

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        received = client.reader.rest()
    assert b" 103 " not in received and received.endswith(b"done")


def test_http_1_0_gets_no_chunks_and_its_connection_ends(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        head, _, body = client.reader.rest().partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"transfer-encoding" not in head.lower()


def test_connection_fields_end_here(proxied):
    story = told(get(
        proxied.port(), "/", "Connection: keep-alive, X-Secret", "X-Secret: 1", "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive", "TE: gzip", "Proxy-Authorization: Basic eA==", "X-Kept: 1",
    ))
    names = {name.lower() for name, _ in story["fields"]}
    assert "x-kept" in names
    assert not names & {"x-secret", "keep-alive", "proxy-connection", "te", "proxy-authorization"}


def test_connection_fields_of_answers_end_here(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        return reply(200, b"", "Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: timeout=9", "X-End: 1")

    gateway = start(config(**to_origin(origin(handler=answer))))
    answer_ = get(gateway.port())
    assert answer_["x-end"] == "1"
    assert answer_["x-hop"] is None and answer_["keep-alive"] is None


def test_host_and_framing_can_not_be_nominated_away(proxied):
    with Client(proxied.port()) as client:
        answer = client.request("POST", "/", "Connection: host, content-length", body=b"hello")
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert told(answer)["body"] == "hello"
    assert not proxied.backend.violations


def test_repeated_fields_stay_apart_and_in_order(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        return reply(200, json.dumps(seen.all("x-many")).encode(), "Set-Cookie: a=1", "Set-Cookie: b=2")

    gateway = start(config(**to_origin(origin(handler=answer))))
    answer_ = get(gateway.port(), "/", "X-Many: 1", "X-Many: 2")
    assert json.loads(answer_.body) == ["1", "2"]
    assert answer_.all("set-cookie") == ["a=1", "b=2"]


def test_bytes_above_ascii_in_values_pass(proxied):
    story = told(get(proxied.port(), "/", "X-Name: J\xf6rg"))
    assert field_of(story, "x-name") == "J\xf6rg"


def test_server_sent_events_arrive_one_by_one(start, origin):
    go_on = threading.Event()

    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send("9\r\ndata: 1\n\n\r\n")
        go_on.wait(10)
        connection.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.head()
        assert client.reader.exactly(14) == b"9\r\ndata: 1\n\n\r\n"
        go_on.set()
        assert client.reader.exactly(14) == b"9\r\ndata: 2\n\n\r\n"


def test_request_bodies_stream(start, origin):
    first = threading.Event()

    def answer(seen: Seen, connection: Connection) -> bytes:
        return reply(200, seen.body)

    backend = origin(handler=answer)
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        until(lambda: b"hello" in backend.received, "the first half at the origin")
        first.set()
        client.send("world")
        assert client.reader.answer().body == b"helloworld"


def test_a_client_that_leaves_cancels_the_origin(start, origin):
    left = threading.Event()

    def answer(seen: Seen, connection: Connection) -> None:
        connection.sock.settimeout(10)
        try:
            if connection.sock.recv(1) == b"":
                left.set()
        except ConnectionResetError:
            left.set()

    gateway = start(config(**to_origin(origin(handler=answer))))
    client = Client(gateway.port())
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: gateway.metric("portolan_requests_active") == 1, "the request to be under way")
    client.close()
    assert left.wait(5)
    until(lambda: gateway.metric("portolan_requests_active") == 0, "the request to be over")


def test_a_slow_reader_slows_the_origin_down(start, origin):
    sent = [0]

    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        block = b"z" * 100_000
        for _ in range(2000):
            connection.send(block)
            sent[0] += len(block)

    gateway = start(config(**to_origin(origin(handler=answer))))
    before = gateway.resident_bytes()
    client = Client(gateway.port())
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    seen = [0]

    def stalls() -> bool:
        time.sleep(0.5)
        seen[0], last = sent[0], seen[0]
        return 0 < seen[0] == last

    until(stalls, "the origin to be held up")
    assert sent[0] < 60_000_000
    assert gateway.resident_bytes() - before < 20_000_000
    client.close()


def test_an_early_answer_is_passed_while_the_body_still_comes(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        return reply(401, b"no", "connection: close")

    backend = origin(handler=answer)
    backend._read = lambda connection: _head_only(connection)
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + "a" * 1000)
        assert client.reader.answer().status == 401


def _head_only(connection: Connection) -> Seen:
    method, target, version = connection.reader.line().decode().split(" ")
    return Seen(method, target, version, connection.reader.fields())


def test_the_origin_sees_the_clients_host(proxied):
    story = told(get(proxied.port(), host="Shop.Example.com:8080"))
    assert field_of(story, "host").lower() == "shop.example.com:8080"
