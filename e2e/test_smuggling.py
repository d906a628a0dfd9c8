"""No request is smuggled to any origin: a corpus of ambiguous messages through the gateway."""

import re

import pytest

from harness.gateway import config, to_origin
from harness.origin import reply
from harness.peers import Nginx, Node, Python
from harness.waiting import until
from harness.wire import get, raw
from probes import PROBES, SMUGGLED


def statuses(received: bytes) -> list[int]:
    """The statuses of the heads in what came back; bodies of ours hold no such line."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d\d\d) ", received)]


@pytest.fixture
def strict(start, origin):
    """A gateway before an origin that keeps every byte and refuses what two readers could read."""
    backend = origin(handler=lambda seen, connection: reply(200, b"ok"))
    gateway = start(config(**to_origin(backend)))
    gateway.backend = backend
    return gateway


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_probe_is_refused_or_understood_in_one_way(strict, probe):
    received = raw(strict.port(), probe.data + SMUGGLED)
    codes = statuses(received)
    seen = strict.backend.targets()
    assert not strict.backend.violations, strict.backend.violations
    if codes and codes[0] >= 400:
        # Refused: nothing of it, nor of what follows, may have been sent on as a request.
        assert "GET /smuggled" not in seen, (codes, seen)
        assert len([line for line in seen if "/smuggled" in line]) == 0
    else:
        # Understood: then the request that follows is an honest one, and both are answered.
        assert len(seen) <= 2 and len([line for line in seen if line == "GET /smuggled"]) <= 1
        assert codes[:1] == [200] or codes[:1] == [100] or not codes, codes
    if probe.refused:
        assert codes and codes[0] in probe.refused, (codes, received[:200])
        chunk_fault = "chunk" in probe.name and seen[:1] == ["POST /"]
        assert not seen or chunk_fault, seen
    assert get(strict.port()).status == 200


def test_real_origins_never_see_a_smuggled_request(start, tmp_path, programs):
    """Each probe carries the next request in the place where a body could be misread."""
    origins = [programs(kind(tmp_path / kind.__name__)) for kind in (Nginx, Node, Python)]
    for peer in origins:
        gateway = start(config(**to_origin(peer)), folder=f"before-{type(peer).__name__}")
        for probe in PROBES:
            if not probe.refused:
                continue
            received = raw(gateway.port(), probe.data + SMUGGLED, seconds=2)
            assert statuses(received)[:1] and statuses(received)[0] >= 400, (probe.name, received[:100])
            assert get(gateway.port(), f"/after-{PROBES.index(probe)}").status == 200, probe.name
        # An origin may write its log after it has answered.
        expected = len([probe for probe in PROBES if probe.refused])
        until(lambda: len([line for line in peer.lines() if "/after-" in line]) == expected, "honest requests")
        lines = peer.lines()
        assert not [line for line in lines if "smuggled" in line], (type(peer).__name__, lines)


assert len(SMUGGLED) == 59
BODIES = [
    # A body that looks like a request must stay a body, however it is framed.
    b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 59\r\n\r\n" + SMUGGLED,
    b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x;a=b\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\nX-A: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 59\r\n\r\n" + SMUGGLED,
    b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 59\r\n\r\n" + SMUGGLED,
]


@pytest.mark.parametrize("kind", [Nginx, Node])
def test_a_body_that_looks_like_a_request_stays_a_body(start, tmp_path, programs, kind):
    peer = programs(kind(tmp_path / "peer"))
    gateway = start(config(**to_origin(peer)))
    for number, data in enumerate(BODIES):
        # /after must be the request that follows, in step with its own answer.
        follow = f"GET /after-{number} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode()
        received = raw(gateway.port(), data + follow)
        assert statuses(received) == [200, 200], received
    lines = peer.lines()
    assert not [line for line in lines if "smuggled" in line], lines
    assert len([line for line in lines if "/after-" in line]) == len(BODIES)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"not http at all\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[:60].decode("latin-1"))
def test_an_answer_that_can_be_read_in_two_ways_becomes_502(start, origin, answer):
    gateway = start(config(**to_origin(origin(handler=lambda seen, connection: answer))))
    assert get(gateway.port()).status == 502


def test_bytes_after_an_answer_are_never_given_to_another_request(start, origin):
    def answer(seen, connection):
        return reply(200, seen.target.encode()) + reply(200, b"poison")

    gateway = start(config(**to_origin(origin(handler=answer))))
    for number in range(20):
        got = get(gateway.port(), f"/{number}")
        assert (got.status, got.body) == (200, f"/{number}".encode())
