"""Several instances: sharing, failing, trying again."""

import json
import socket
import threading
import time
from collections import Counter

import pytest

from harness.gateway import config, to_origin
from harness.origin import Connection, Seen, reply, told
from harness.ports import free_port
from harness.waiting import until
from harness.wire import Client, get


class Nobody:
    """An address where nobody listens."""

    def __init__(self) -> None:
        self.port = free_port()


@pytest.mark.parametrize("balance", ["latency", "round_robin", "random"])
def test_every_instance_gets_its_share(start, origin, balance):
    origins = [origin(name) for name in "abc"]
    gateway = start(config(**to_origin(*origins, balance=balance)))
    with Client(gateway.port()) as client:
        shares = Counter(told(client.request("GET", "/"))["origin"] for _ in range(300))
    # By latency, one that was slow for a moment rightly gets less for a while.
    least = 5 if balance == "latency" else 20
    assert len(shares) == 3 and min(shares.values()) > least, shares


def test_weights_are_respected(start, origin):
    heavy, light = origin("heavy"), origin("light")
    upstreams = {"shop": {"service": "shop", "balance": "round_robin"}}
    gateway = start(config(routes={"all": {"target": "shop"}}, upstreams=upstreams, gateway={"workers": 1}))
    gateway.register("shop", "a", heavy.port, weight=300)
    gateway.register("shop", "b", light.port, weight=100)
    with Client(gateway.port()) as client:
        shares = Counter(told(client.request("GET", "/"))["origin"] for _ in range(400))
    assert 270 <= shares["heavy"] <= 330, shares


def test_a_slow_instance_gets_less(start, origin):
    def slow(seen: Seen, connection: Connection) -> bytes:
        time.sleep(0.1)
        return reply(200, b"slow")

    def quick(seen: Seen, connection: Connection) -> bytes:
        return reply(200, b"quick")

    gateway = start(config(**to_origin(origin(handler=slow), origin(handler=quick))))
    shares, lock = Counter(), threading.Lock()

    def load() -> None:
        with Client(gateway.port()) as client:
            for _ in range(40):
                word = client.request("GET", "/").body
                with lock:
                    shares[word] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shares[b"quick"] > 3 * shares[b"slow"], shares


def test_a_refused_connection_is_tried_elsewhere(start, origin):
    alive = origin("alive")
    gateway = start(config(**to_origin(Nobody(), alive, balance="round_robin")))
    for number in range(50):
        method = "POST" if number % 2 else "GET"
        assert told(get(gateway.port(), method=method))["origin"] == "alive"
    assert gateway.metric("portolan_retries_total") >= 1


def test_a_refusing_instance_is_left_alone_for_a_while(start, origin):
    alive, dead = origin("alive"), Nobody()
    gateway = start(config(**to_origin(dead, alive, balance="round_robin"), gateway={"workers": 1}))
    for _ in range(100):
        told(get(gateway.port()))
    assert gateway.metric("portolan_retries_total") < 50


def test_nobody_at_all_is_502_with_a_cause(start):
    gateway = start(config(**to_origin(Nobody())))
    answer = get(gateway.port())
    problem = json.loads(answer.body)
    assert answer.status in (502, 503)
    assert problem["cause"] in ("connection_refused", "destination_unavailable"), problem
    assert "127.0.0.1" not in answer.body.decode(), "no addresses for clients"


def test_a_stale_pooled_connection_is_no_failure(start, origin):
    """The origin closes after each answer without saying so, as servers do when idle."""
    closed = threading.Semaphore(0)

    def answer(seen: Seen, connection: Connection) -> None:
        connection.send(reply(200, b"ok"))
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.release()

    gateway = start(config(**to_origin(origin(handler=answer)), gateway={"workers": 1}))
    with Client(gateway.port()) as client:
        for number in range(50):
            method = "POST" if number % 2 else "GET"
            answer_ = client.request(method, "/")
            assert answer_.status == 200, (number, answer_.body)
            # What meets a connection while it closes may have been carried out: see the next two.
            assert closed.acquire(timeout=5)


def test_a_request_that_meets_a_closing_connection_is_repeated_if_it_may_be(start, origin):
    """The same without waiting for the close: a GET goes out again over a new connection."""
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send(reply(200, b"ok"))
        connection.sock.shutdown(socket.SHUT_RDWR)

    gateway = start(config(**to_origin(origin(handler=answer)), gateway={"workers": 1}))
    with Client(gateway.port()) as client:
        # No more than the retry budget allows at once.
        assert {client.request("GET", "/").status for _ in range(10)} == {200}


def test_a_request_that_was_sent_is_not_sent_twice(start, origin):
    """Read whole, then cut without an answer: it may have been carried out."""
    def answer(seen: Seen, connection: Connection) -> None:
        connection.sock.shutdown(socket.SHUT_RDWR)

    backends = [origin(handler=answer), origin(handler=answer)]
    gateway = start(config(**to_origin(*backends)))
    assert get(gateway.port(), method="POST").status == 502
    assert sum(len(backend.requests) for backend in backends) == 1


def test_first_byte_timeouts_are_504(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        time.sleep(5)

    gateway = start(config(**to_origin(origin(handler=answer), timeouts={"first_byte": "300ms"})))
    began = time.monotonic()
    answer_ = get(gateway.port())
    assert answer_.status == 504 and time.monotonic() - began < 2
    assert json.loads(answer_.body)["cause"] == "connection_read_timeout"


def test_total_timeouts_end_a_request(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(50):
            connection.send("x")
            time.sleep(0.1)

    gateway = start(config(**to_origin(origin(handler=answer), timeouts={"total": "500ms"})))
    began = time.monotonic()
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.rest()
    assert time.monotonic() - began < 3


def test_connections_per_instance_are_bounded(start, origin):
    most, now, lock = [0], [0], threading.Lock()

    def answer(seen: Seen, connection: Connection) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return reply(200, b"ok")

    gateway = start(config(**to_origin(origin(handler=answer), connections=3)))
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(get(gateway.port()).status)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 3, most
    assert set(codes) <= {200, 503} and 200 in codes, codes


def test_killed_instances_cost_idempotent_requests_nothing(start, origin):
    """Instances are replaced under load; every GET finds one that lives."""
    gateway = start(config())
    origins = {name: origin(name) for name in "ab"}
    for name, backend in origins.items():
        gateway.register("shop", name, backend.port)
    stop, failures, done = threading.Event(), [], [0]

    def load() -> None:
        while not stop.is_set():
            try:
                answer = get(gateway.port(), "/shop/")
                if answer.status != 200:
                    failures.append((answer.status, answer.body))
                done[0] += 1
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(5):
        name = "ab"[round_ % 2]
        origins[name].close()
        until(lambda start_=done[0]: done[0] > start_ + 30, "load to go on")
        origins[name] = origin(name, port=free_port())
        gateway.register("shop", name, origins[name].port)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


def test_pooled_connections_go_when_an_instance_leaves(start, origin):
    gateway = start(config(gateway={"workers": 1}))
    leaving, staying = origin("leaving"), origin("staying")
    gateway.register("shop", "a", leaving.port)
    gateway.register("shop", "b", staying.port)
    for _ in range(30):
        get(gateway.port(), "/shop/")
    assert leaving.connections
    gateway.admin("DELETE", "/v1/services/shop/instances/a")
    until(lambda: not leaving.connections, "the pool to be emptied")
