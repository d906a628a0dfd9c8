"""A running gateway takes a new configuration without a hitch."""

import copy
import json
import threading

from harness.gateway import config, listener, to_origin
from harness.origin import reply, told
from harness.waiting import until
from harness.wire import Client, get


def answering(word: str) -> dict:
    return {"all": {"policies": [{"respond": {"status": 200, "body": word}}]}}


def body(gateway, name: str = "web") -> bytes:
    return get(gateway.port(name)).body


def test_sighup_brings_the_new_file(start):
    gateway = start(config(routes=answering("one")))
    assert body(gateway) == b"one"
    gateway.write(gateway.settings | {"routes": answering("two")})
    gateway.hang_up()
    until(lambda: body(gateway) == b"two", "the new answer")


def test_a_changed_file_is_taken_by_itself(start):
    gateway = start(config(routes=answering("one")))
    gateway.write(gateway.settings | {"routes": answering("two")})
    until(lambda: body(gateway) == b"two", "the new answer")


def test_a_reload_can_be_asked_for(start):
    gateway = start(config(routes=answering("one")))
    gateway.write(gateway.settings | {"routes": answering("two")})
    status, answer = gateway.admin("POST", "/v1/config/reload")
    assert status in (200, 202, 204), answer
    until(lambda: body(gateway) == b"two", "the new answer")


def test_a_bad_file_keeps_what_runs_and_says_so(start):
    gateway = start(config(routes=answering("one")))
    gateway.file.write_text("routes: [not, a, map\n")
    status, answer = gateway.admin("POST", "/v1/config/reload")
    assert status >= 400, answer
    assert body(gateway) == b"one"
    assert gateway.is_ready()
    until(lambda: "portolan.yaml" in gateway.output(), "a word about it in the log")
    gateway.write(gateway.settings | {"routes": answering("two")})
    until(lambda: body(gateway) == b"two", "the mended file")


def test_one_bad_route_does_not_take_the_others_down(start):
    gateway = start(config(routes=answering("one")))
    routes = answering("two") | {"bad": {"match": [{"regex": "("}], "policies": []}}
    gateway.write(gateway.settings | {"routes": routes})
    gateway.hang_up()
    until(lambda: body(gateway) == b"two", "the good route")
    assert "bad" in json.dumps(gateway.admin("GET", "/v1/config")[1])


def test_listeners_come_and_go(start):
    gateway = start(config(routes=answering("one")))
    more = copy.deepcopy(gateway.settings)
    more["listeners"]["side"] = listener()
    gateway.write(more)
    gateway.hang_up()

    def answers(name: str) -> bool:
        try:
            return body(gateway, name) == b"one"
        except OSError:
            return False

    until(lambda: answers("side"), "the new listener")
    side = gateway.port("side")
    del more["listeners"]["side"]
    gateway.write(more)
    gateway.hang_up()

    def refused() -> bool:
        try:
            get(side)
            return False
        except Exception:
            return True

    until(refused, "the listener to be gone")
    assert body(gateway) == b"one"


def test_connections_and_streams_outlive_a_reload(start, origin):
    go_on = threading.Event()

    def answer(seen, connection):
        if seen.target != "/stream":
            return reply(200, str(connection.number).encode())
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        go_on.wait(10)
        connection.send("3\r\ntwo\r\n0\r\n\r\n")
        return None

    gateway = start(config(**to_origin(origin(handler=answer)), gateway={"workers": 1}))
    with Client(gateway.port()) as stream, Client(gateway.port()) as kept:
        stream.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        stream.reader.head()
        assert stream.reader.exactly(8) == b"3\r\none\r\n"
        first = kept.request("GET", "/").body
        changed = copy.deepcopy(gateway.settings)
        changed["routes"]["added"] = {"match": [{"exact": "/added"}], "policies": [{"respond": {"status": 200, "body": "new"}}]}
        gateway.write(changed)
        gateway.hang_up()
        until(lambda: get(gateway.port(), "/added").body == b"new", "the new route")
        assert kept.request("GET", "/added").body == b"new"
        assert kept.request("GET", "/").body == first, "the pooled connection was kept"
        go_on.set()
        assert stream.reader.exactly(8) == b"3\r\ntwo\r\n"


def test_no_request_fails_while_configurations_change(start, origin):
    backend = origin()
    gateway = start(config(**to_origin(backend)))
    stop, failures, done = threading.Event(), [], [0]

    def load() -> None:
        while not stop.is_set():
            try:
                with Client(gateway.port()) as client:
                    for _ in range(20):
                        told(client.request("GET", "/"))
                        done[0] += 1
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        settings = copy.deepcopy(gateway.settings)
        settings["routes"][f"extra-{number}"] = {"match": [{"exact": f"/{number}"}], "target": "origin"}
        gateway.write(settings)
        assert gateway.admin("POST", "/v1/config/reload")[0] < 300
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert done[0] > 100
