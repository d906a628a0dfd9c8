"""Two Portolans, one of which reads the other by a source, and what must hold whatever the protocol."""

import signal
import statistics
import time

from .gateway import config
from .ports import free_port
from .traffic import Load
from .waiting import until
from .wire import get

# What is paused for so long is not missed by anybody.
PAUSE = 5


class Site:
    """A Portolan with every registry front on ports of its own."""

    def __init__(self, start, name: str, sources=None, **parts) -> None:
        fronts = {front: {"address": f"127.0.0.1:{free_port()}"} for front in ("consul", "eureka")}
        self.name, self._start = name, start
        self.settings = config(registry=fronts, **parts)
        self._sources(sources)
        self.restart()

    def restart(self) -> None:
        """Starts it, anew where it has ended: with the same data."""
        self.gateway = self._start(self.settings, folder=self.name)

    def _sources(self, sources) -> None:
        if sources:
            self.settings["sources"] = sources

    def read(self, sources: dict) -> None:
        """Reads these sources from now on."""
        self._sources(sources)
        self.gateway.write(self.settings)
        self.gateway.hang_up()

    def source(self, kind: str) -> dict:
        """A source of that kind that reads this site."""
        address = lambda front: self.settings["registry"][front]["address"]
        return {kind: {
            "portolan": lambda: {"url": f"http://{self.settings['admin']['address']}"},
            "consul": lambda: {"url": f"http://{address('consul')}", "wait": "5s"},
            "eureka": lambda: {"url": f"http://{address('eureka')}/eureka", "interval": "200ms"},
        }[kind]()}

    def ids(self, service: str) -> list[str]:
        """The instances of a service that it knows."""
        status, answer = self.gateway.admin("GET", f"/v1/services/{service}/instances")
        return [] if status == 404 else sorted(found["id"] for found in answer["instances"])

    def instance(self, service: str) -> dict:
        status, answer = self.gateway.admin("GET", f"/v1/services/{service}/instances")
        assert status == 200, answer
        return answer["instances"][0]

    def status(self, source: str) -> dict:
        """How one of its sources is doing."""
        _, answer = self.gateway.admin("GET", "/v1/sources")
        return next((found for found in answer["sources"] if found["id"] == source), {})

    def stale(self, source: str) -> str:
        return self.status(source).get("stale", {}).get("reason", "")

    def leave(self, service: str, instance: str) -> None:
        status, answer = self.gateway.admin("DELETE", f"/v1/services/{service}/instances/{instance}")
        assert status == 200, answer

    def is_routed(self, service: str) -> bool:
        return get(self.gateway.port(), f"/{service}/").status == 200


def pair(start, kind: str) -> tuple[Site, Site]:
    """The far one, and the near one that reads it."""
    far = Site(start, "far")
    return far, Site(start, "near", {"far": far.source(kind)})


def nothing_fails_while_the_far_one_does(start, origin, kind: str) -> None:
    """It is paused, killed and restarted while requests go through the near one."""
    far, near = pair(start, kind)
    for name in ("a", "b"):
        far.gateway.register("orders", name, origin(name).port, ttl="10m")
    until(lambda: len(near.ids("orders")) == 2 and near.is_routed("orders"), "both to be known", 20)
    source = f"{kind}:far"
    with Load(near.gateway.port(), "/orders/") as load:
        load.goes_on()
        far.gateway.signal(signal.SIGSTOP)
        time.sleep(PAUSE)
        load.goes_on()
        far.gateway.signal(signal.SIGCONT)
        until(lambda: not near.stale(source), "the source to go on", 20)
        load.goes_on()
        far.gateway.kill()
        until(lambda: near.stale(source), "the source to be stale", 20)
        load.goes_on()
        assert len(near.ids("orders")) == 2
        far.restart()
        until(lambda: not near.stale(source), "the source to be back", 60)
        far.gateway.register("orders", "c", origin("c").port, ttl="10m")
        until(lambda: len(near.ids("orders")) == 3, "what is new since", 20)
        load.goes_on()
    assert not load.failed, load.failed[:3]
    print(f"\n{kind}: {load.answers} requests, none failed, while the source was paused, killed and restarted")


def changes_are_routable_soon(start, origin, kind: str, within_ms: float, count: int = 40) -> None:
    """From the answer to a registration over there until a request is routed here."""
    far, near = pair(start, kind)
    backend = origin("backend")
    spans = []
    for number in range(count):
        service = f"s{number}"
        far.gateway.register(service, "a", backend.port, ttl="10m")
        began = time.monotonic()
        while not near.is_routed(service):
            assert time.monotonic() < began + 20, f"{service} is not routed to"
        spans.append((time.monotonic() - began) * 1000)
    spans.sort()
    p50, p99 = statistics.median(spans), spans[int(len(spans) * 0.99)]
    print(f"\n{kind}: change to routable over {count}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert p50 < within_ms, spans


def two_that_read_each_other_keep_no_ghosts(start, origin, kind: str) -> None:
    """What one told the other does not come back to it, and what is gone is gone on both."""
    # Departures by inference may be held; that is another test's claim.
    guard = {"hold": "0s"}
    one, two = Site(start, "one", guard=guard), Site(start, "two", guard=guard)
    one.read({"other": two.source(kind)})
    two.read({"other": one.source(kind)})
    backend = origin("backend")
    for name in ("a", "b", "c"):
        one.gateway.register("orders", name, backend.port, ttl="10m")
    two.gateway.register("users", "u", backend.port, ttl="10m")
    until(lambda: len(two.ids("orders")) == 3 and len(one.ids("users")) == 1, "each to know the other's", 30)
    origin_of = lambda site, service: site.instance(service)["metadata"].get("portolan/origin")
    assert origin_of(two, "orders") and origin_of(one, "users")
    assert origin_of(one, "orders") is None, "its own are not taken back"
    assert one.status(f"{kind}:other")["instances"] == 1
    assert two.status(f"{kind}:other")["instances"] == 3
    one.leave("orders", "a")
    until(lambda: len(two.ids("orders")) == 2 and len(one.ids("orders")) == 2, "it to be gone on both", 20)
    # The id outlives the process: what comes back after a restart is still its own.
    one.gateway.kill()
    one.restart()
    until(lambda: len(one.ids("users")) == 1, "the other's to be known again", 30)
    assert len(one.ids("orders")) == 2
    assert one.status(f"{kind}:other")["instances"] == 1
    one.leave("orders", "b")
    until(lambda: len(two.ids("orders")) == 1, "it to be gone over there", 30)
    assert len(one.ids("orders")) == 1


def one_that_reads_itself_says_so(start, origin, kind: str) -> None:
    """A loop of one is an error in words: it takes nothing and disturbs nobody."""
    site = Site(start, "one")
    site.read({"self": site.source(kind)})
    site.gateway.register("orders", "a", origin("a").port, ttl="10m")
    until(lambda: "this Portolan itself" in site.stale(f"{kind}:self"), "it to say so", 20)
    assert site.status(f"{kind}:self")["instances"] == 0
    assert site.ids("orders") == ["a"]
    site.leave("orders", "a")
    until(lambda: site.ids("orders") == [], "it to be gone")
