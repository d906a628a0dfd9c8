"""HTTP/2 on both sides."""

import json
import re
import subprocess
import threading
import time

import h2.settings
import pytest

from harness.gateway import config, listener, to_origin
from harness.origin import Connection, Seen, reply
from harness.two import Client
from harness.waiting import until


def test_prior_knowledge_in_the_clear(proxied):
    with Client(proxied.port()) as client:
        stream = client.request("GET", "/a?b=c", ("x-one", "1"), authority="shop.test")
    story = json.loads(stream.body)
    assert stream.status == 200
    assert story["target"] == "/a?b=c"
    assert dict(story["fields"]).get("host", dict(story["fields"]).get("Host")) == "shop.test"


def test_bodies_pass_both_ways(proxied):
    body = bytes(n % 256 for n in range(300_000))
    with Client(proxied.port()) as client:
        stream = client.request("POST", "/", body=body)
        assert json.loads(stream.body)["body"].encode("latin-1") == body
        assert len(client.request("GET", "/bytes/1000000").body) == 1_000_000


def test_many_streams_share_a_connection(proxied):
    with Client(proxied.port()) as client:
        streams = [client.open("GET", f"/slow/50/{n}") for n in range(50)]
        began = time.monotonic()
        for number, stream in enumerate(streams):
            client.finish(stream)
            assert json.loads(stream.body)["target"] == f"/slow/50/{number}"
        assert time.monotonic() - began < 2


def test_trailers_pass_both_ways(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        told = dict(seen.trailers).get("x-in", "")
        connection.send(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Out: {told}\r\n\r\n")

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        stream = client.open("POST", "/", ("te", "trailers"), end=False)
        client.send(stream, b"hello")
        client.trailers(stream, ("x-in", "yes"))
        client.finish(stream)
    assert stream.body == b"hi" and dict(stream.trailers)["x-out"] == "yes"


def test_head_and_empty_answers(proxied):
    with Client(proxied.port()) as client:
        head = client.request("HEAD", "/")
        assert head.status == 200 and head.body == b"" and int(head["content-length"]) > 0
        assert client.request("GET", "/status/204").status == 204


def test_interim_answers_pass(start, origin):
    def answer(seen: Seen, connection: Connection) -> bytes:
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        time.sleep(0.05)
        return reply(200, b"done")

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        stream = client.request("GET", "/")
    assert stream.status == 200 and stream.body == b"done"
    assert [dict(hint)[":status"] for hint in stream.interim] == ["103"]


def test_a_reset_stream_cancels_the_origin_and_leaves_the_others(start, origin):
    left = threading.Event()

    def answer(seen: Seen, connection: Connection) -> bytes | None:
        if seen.target != "/hang":
            return reply(200, b"ok")
        connection.sock.settimeout(10)
        try:
            gone = connection.sock.recv(1) == b""
        except ConnectionResetError:
            gone = True
        if gone:
            left.set()
        return None

    backend = origin(handler=answer)
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        stream = client.open("GET", "/hang")
        until(lambda: backend.requests, "the request at the origin")
        client.reset(stream)
        assert left.wait(5)
        assert client.request("GET", "/").status == 200


def test_crumbs_of_cookies_become_one(proxied):
    with Client(proxied.port()) as client:
        stream = client.request("GET", "/", ("cookie", "a=1"), ("cookie", "b=2"))
    cookies = [value for name, value in json.loads(stream.body)["fields"] if name.lower() == "cookie"]
    assert cookies == ["a=1; b=2"]


@pytest.mark.parametrize("bad", [
    [(":method", "GET"), (":scheme", "http"), (":path", "/")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("Upper", "1")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("connection", "close")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("transfer-encoding", "chunked")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("te", "gzip")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("host", "b")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("x", "a\r\nsmuggled: 1")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a b HTTP/1.1\r\nx: y")],
    [(":method", "GET /smuggled HTTP/1.1\r\nx:"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a\r\nx: y"), (":path", "/")],
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":method", "POST")],
    [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("content-length", "5")],
])
def test_malformed_requests_never_reach_an_origin(proxied, bad):
    with Client(proxied.port(), strict=False) as client:
        stream = client.finish(client.open_raw(bad))
        refused = stream.reset is not None or client.goaway or client.closed or stream.status >= 400
    assert refused, stream
    assert not proxied.backend.requests, proxied.backend.targets()


def test_a_body_that_differs_from_its_length_is_refused(proxied):
    with Client(proxied.port()) as client:
        stream = client.open("POST", "/", ("content-length", "5"), end=False)
        client.send(stream, b"too long", end=True)
        client.finish(stream)
        assert stream.reset is not None or stream.status >= 400
    assert not [seen for seen in proxied.backend.requests if seen.body == b"too long"]


def test_rapid_resets_end_the_connection_and_cost_little(start, origin):
    web = listener(limits={"resets": 50, "streams": 100})
    gateway = start(config(**to_origin(origin()), listeners={"web": web}))
    before = gateway.resident_bytes()
    with Client(gateway.port()) as client:
        sent = 0
        while not (client.closed or client.goaway) and sent < 20_000:
            for _ in range(50):
                if client.closed:
                    break
                try:
                    client.reset(client.open("GET", "/slow/1000"))
                except Exception:
                    client.closed = True
                sent += 1
            client.sock.settimeout(0.01)
            try:
                client.pump()
            except TimeoutError:
                pass
        assert sent < 20_000
    assert gateway.resident_bytes() - before < 20_000_000


def test_a_drain_says_goaway_and_lets_streams_end(start, origin):
    import signal

    backend = origin()
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        stream = client.open("GET", "/slow/700")
        until(lambda: backend.requests, "the request at the origin")
        gateway.signal(signal.SIGTERM)
        while not stream.ended:
            client.pump()
            assert not client.closed
        assert stream.status == 200
    assert gateway.process.wait(5) == 0


def test_curl_speaks_it_both_ways(start, origin, authority):
    web = listener(tls={"certificates": [authority.issue("localhost")]})
    gateway = start(config(**to_origin(origin()), listeners={"web": web}))
    url = f"https://localhost:{gateway.port()}/x"
    for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
        done = subprocess.run(
            ["curl", "-sS", flag, "--cacert", authority.file, "-w", "\n%{http_version}", url],
            capture_output=True, text=True, timeout=20, check=True,
        )
        body, shown = done.stdout.rsplit("\n", 1)
        assert shown == version and json.loads(body)["target"] == "/x"


def test_h2load_has_no_failure(start, origin, programs, tmp_path):
    from harness.peers import Nginx

    gateway = start(config(**to_origin(programs(Nginx(tmp_path / "nginx")))))
    done = subprocess.run(
        ["h2load", "-n", "20000", "-c", "16", "-m", "32", f"http://127.0.0.1:{gateway.port()}/"],
        capture_output=True, text=True, timeout=50, check=True,
    )
    assert "20000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    assert "status codes: 20000 2xx" in done.stdout, done.stdout


def test_an_upstream_can_be_spoken_to_in_http2(start, origin):
    """A gateway behind a gateway: the first speaks HTTP/2 to the second."""
    backend = origin()
    inner = start(config(**to_origin(backend)), folder="inner")
    settings = config(routes={"all": {"target": "inner"}},
                      upstreams={"inner": {"addresses": [f"127.0.0.1:{inner.port()}"], "protocol": "http2"}})
    outer = start(settings, folder="outer")
    body = b"z" * 200_000
    with Client(outer.port()) as client:
        stream = client.request("POST", "/through", body=body)
    story = json.loads(stream.body)
    assert story["target"] == "/through" and len(story["body"]) == len(body)
    vias = [value for name, value in story["fields"] if name.lower() == "via"]
    assert "2" in ", ".join(vias)


# Cases of httpwg-cli that the gateway does not pass, each with its section and the reason.
MISSES = {
    "RFC 9113 :: 4. http frames :: invalid header block fragment":
        "4.3: the connection is ended as it must be, with PROTOCOL_ERROR and not COMPRESSION_ERROR: h2 does not tell",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer":
        "8.1: h2 drops pseudo-fields of trailers; none is forwarded, but the stream is not reset",
}
# The suite's own client panics when the connection ends in "sends goaway frame with unknown error code"
# (6.8: h2 takes any error that a client tells for the end of the connection), so that case has no line.
SILENT = 1
CASES, NEEDED = 107, 101


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_the_httpwg_suite(start, origin, parts):
    """Conformance with RFC 9113 and RFC 7541, by somebody else's cases."""
    gateway = start(config(**to_origin(origin(handler=lambda seen, connection: reply(200, b"x" * 100)))))
    suite = parts / "bin" / "httpwg"
    assert suite.exists(), "httpwg-cli is missing: ./test e2e installs it"
    # It wants to start the server by itself, so it is given an idle program; and it takes 250 ms without a frame
    # for an answer unless told otherwise, which a busy machine needs at times before it runs either side.
    done = subprocess.run(
        [suite, "-a", f"127.0.0.1:{gateway.port()}", "--connect-timeout", "5000", "--frame-timeout", "5000",
         "--", "sleep", "600"],
        capture_output=True, text=True, timeout=170, check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    score = re.search(r"Passed (\d+)/(\d+) tests", said)
    assert score, said[-2000:]
    passed, cases = int(score[1]), int(score[2])
    failed = set(re.findall(r"Test failed: (.*?)(?: \(|$)", said, re.MULTILINE))
    assert cases == CASES
    assert failed <= set(MISSES), failed - set(MISSES)
    assert passed >= NEEDED and passed >= CASES - len(MISSES) - SILENT
