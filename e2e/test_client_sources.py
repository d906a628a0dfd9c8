"""Programs that discover without a Portolan's own protocol: each source sees changes, is kept when it is lost, and is remembered."""

from pathlib import Path

import pytest

from harness.examples import Says, example
from harness.federation import Site
from harness.nameservers import ZONE, Knot
from harness.ports import free_port
from harness.waiting import until

SRV = "_orders._tcp.service.consul"


class Registry:
    """A Portolan whose fronts are the servers that are asked."""

    def __init__(self, start, folder: Path, kind: str) -> None:
        self.kind = kind
        port = free_port()
        self.site = Site(start, "registry", dns={"address": f"127.0.0.1:{port}"})
        if kind == "dns":
            self.service, self.words = f"dns/{SRV}", ["dns", SRV, f'resolvers=["127.0.0.1:{port}"]', "timeout=500ms"]
        else:
            settings = dict(self.site.source(kind)[kind])
            self.service, self.words = "orders", [kind, settings.pop("url"), *(f"{k}={v}" for k, v in settings.items())]

    def has(self, *ports: int) -> None:
        """Has instances at these ports, and no others."""
        known = self.site.ids("orders")
        for port in ports:
            self.site.gateway.register("orders", f"at-{port}", port, ttl="120s")
        for gone in set(known) - {f"at-{port}" for port in ports}:
            self.site.leave("orders", gone)

    def goes(self) -> None:
        self.site.gateway.kill()

    def returns(self) -> None:
        self.site.restart()


class Paper:
    """A file that somebody writes."""

    def __init__(self, start, folder: Path, kind: str) -> None:
        self.file = folder / "services.yaml"
        self.service, self.words = "orders", ["file", self.file, "poll=200ms"]

    def has(self, *ports: int) -> None:
        lines = [f"      - {{address: 127.0.0.1, port: {port}}}" for port in ports]
        fresh = self.file.with_suffix(".new")
        fresh.write_text("\n".join(["services:", "  orders:", "    instances:", *lines, ""]))
        fresh.replace(self.file)

    def goes(self) -> None:
        self.text = self.file.read_text()
        self.file.unlink()

    def returns(self) -> None:
        self.file.write_text(self.text)


@pytest.fixture
def follow(tmp_path, programs):
    """Starts programs that follow a service."""
    count = 0

    def follow(place, *words) -> Says:
        nonlocal count
        count += 1
        command = [example("follow"), place.service, *place.words, *words]
        return programs(Says(command, tmp_path / f"follow-{count}.log"))

    return follow


PLACES = [(Registry, "portolan"), (Registry, "consul"), (Registry, "eureka"), (Registry, "dns"), (Paper, "file")]


@pytest.mark.parametrize(("place", "kind"), PLACES, ids=[kind for _, kind in PLACES])
def test_a_source_is_followed_kept_and_remembered(start, follow, tmp_path, place, kind):
    place = place(start, tmp_path, kind)
    first, second = free_port(), free_port()
    place.has(first)
    memory = tmp_path / "remembered.json"

    program = follow(place, f"remember={memory}")
    program.says("ready: Live")
    program.says(f"a call would go to 127.0.0.1:{first}")
    # A change is seen.
    place.has(first, second)
    program.says(f"{place.service} has 2 instances: ")
    place.has(second)
    program.says(f"a call would go to 127.0.0.1:{second}")
    until(lambda: memory.exists() and str(second) in memory.read_text() and str(first) not in memory.read_text(), "the memory")

    # Nobody says anything any more: what was known stays.
    place.goes()
    program.says(f"{place.service} has 1 instances, as last known: ", 30)
    assert f"{place.service} has 0 instances" not in program.output()

    # Another one starts with everything down.
    late = follow(place, f"remember={memory}")
    late.says("ready: Remembered")
    late.says(f"a call would go to 127.0.0.1:{second}")
    # And one that remembers nothing says why it does not.
    fresh = follow(place)
    fresh.says("NotReady")
    assert fresh.process.wait(10) != 0

    # It is back, and both hear of it.
    place.returns()
    third = free_port()
    place.has(third)
    for running in (program, late):
        running.says(f"a call would go to 127.0.0.1:{third}", 30)
        assert f"{place.service} has 0 instances" not in running.output()


def test_records_of_another_name_server_are_followed(follow, tmp_path, programs):
    port = free_port()
    knot = programs(Knot(tmp_path / "knot", [f"_orders._tcp 1 SRV 0 1 {port} one", "one 1 A 127.0.0.1"]))

    class Place:
        service = f"dns/_orders._tcp.{ZONE}"
        words = ["dns", f"_orders._tcp.{ZONE}", f'resolvers=["127.0.0.1:{knot.port}"]', "max_ttl=1s", "timeout=500ms"]

    program = follow(Place)
    program.says("ready: Live")
    program.says(f"a call would go to 127.0.0.1:{port}")
    knot.kill()
    program.says(f"{Place.service} has 1 instances, as last known: ", 30)
