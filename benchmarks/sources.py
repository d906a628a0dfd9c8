"""./bench sources: what it costs to follow a large registry of somebody else, and how soon the
gateway knows what that registry knows."""

import argparse
import base64
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import figures, machine, parts, peers, processes, registries, registry

# Operations in one transaction of etcd; its limit is 128.
BATCH = 100
WRITERS = 4
FAMILY = "known"
# The consul source begins its queries over ten seconds.
SETTLE_SECONDS = 15.0
VIEW_SECONDS = 300.0
SOURCES = ("etcd", "consul")


@dataclass
class Foreign:
    """A registry that Portolan reads, and how to write there."""

    title: str
    source: dict
    fill: Callable[[int], None]
    """Registers so many instances of the family."""
    writer: Callable[[], Callable[[str, str, int, str], None]]
    """Makes a connection of its own: service, instance, port and a label."""


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("sources", help="following registries of others")
    parser.add_argument("--sources", default=",".join(SOURCES), help=f"of {','.join(SOURCES)}")
    parser.add_argument("--services", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=500, help="changes/s of the busy phase")
    parser.add_argument("--seconds", type=float, default=20, help="of the idle and the busy phase")
    parser.add_argument("--trials", type=int, default=200, help="writes that are timed a phase")
    parser.add_argument("--connections", type=int, help="of the consul source, for queries of services")
    parser.add_argument("--moves", action="store_true", help="writes move an instance instead of making a service")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    os.sched_setaffinity(0, {peers.LOAD_CORE})
    machine.print_heading("sources")
    total = arguments.services * registries.INSTANCES
    print(f"Portolan {peers.version(peers.PEERS['portolan'])}; {arguments.services} services, {total} instances.\n")
    rows = []
    for name in arguments.sources.split(","):
        parts.say(f"filling {name}")
        foreign = {"etcd": start_etcd, "consul": start_consul}[name]()
        if arguments.connections and name == "consul":
            foreign.source["consul"]["connections"] = arguments.connections
            foreign.title += f", {arguments.connections} connections"
        foreign.fill(total)
        rows += measure(foreign, arguments, total)
        parts.say("\n".join(" | ".join(row) for row in rows))
        for server in reversed(list(processes.running)):
            server.stop()
    head = [
        *("source, phase", "first full view s", "CPU % of a core", "resident MiB"),
        *("change -> routable p50 ms", "p99 ms", "from its answer p50 ms", "p99 ms", "changes/s"),
    ]
    print(figures.table(head, rows))
    print("\nFrom the moment a write is sent to the foreign registry to the moment the right")
    print("instance has answered a request through the gateway; the registry's own time is in it,")
    print("and is not in what counts from the registry's answer to the write.")
    return 0


def measure(foreign: Foreign, arguments: argparse.Namespace, total: int) -> list[list[str]]:
    fleet = registry.Fleet()
    ports = {name: processes.free_port() for name in ("PLAIN", "ADMIN")}
    begin = time.monotonic()
    server = start_reader(foreign, ports)
    admin = registry.Connection(ports["ADMIN"])
    wait_for(admin, total, begin)
    view = time.monotonic() - begin
    time.sleep(SETTLE_SECONDS)
    idle_cpu = cpu_share(server, arguments.seconds)
    idle = Trial(foreign, fleet, ports["PLAIN"], arguments.moves).times(arguments.trials)
    rows = [row(f"{foreign.title}, idle", f"{view:.1f}", idle_cpu, server, idle, 0.0)]
    churn = Churn(foreign, total, arguments.rate)
    busy_cpu = cpu_share(server, arguments.seconds)
    busy = Trial(foreign, fleet, ports["PLAIN"], arguments.moves).times(arguments.trials)
    rows.append(row(f"{foreign.title}, busy", "", busy_cpu, server, busy, churn.stop()))
    server.stop()
    return rows


def row(title: str, view: str, cpu: float, server, times: list[tuple[float, float]], rate: float) -> list[str]:
    whole, answered = zip(*times, strict=True)
    quantiles = (f"{figures.percentile(list(of), q):.2f}" for of in (whole, answered) for q in (0.5, 0.99))
    resident = figures.mebibytes(server.resident_bytes())
    return [title, view, f"{cpu * 100:.2f}", resident, *quantiles, f"{rate:.0f}"]


def start_reader(foreign: Foreign, ports: dict[str, int]) -> processes.Server:
    directory = peers.fresh(parts.RUN / "portolan-sources")
    settings = {
        "gateway": {"workers": 1, "automatic": {"enabled": True}},
        "admin": {"address": f"127.0.0.1:{ports['ADMIN']}"},
        "access_log": {"enabled": False},
        "listeners": {"web": {"address": f"127.0.0.1:{ports['PLAIN']}"}},
        "registry": {"consul": {"enabled": False}, "eureka": {"enabled": False}},
        "sources": {"foreign": foreign.source},
    }
    file = directory / "portolan.yaml"
    file.write_text(json.dumps(settings))
    command = [parts.portolan(), "run", "--config", file, "--data-dir", directory / "data"]
    server = processes.Server("portolan", command, directory, {peers.PROXY_CORE})
    for port in ports.values():
        server.wait_for_port(port, 60)
    return server


def wait_for(admin: registry.Connection, instances: int, begin: float) -> None:
    """Returns when the source speaks of all instances and knows what it speaks of."""
    while time.monotonic() - begin < VIEW_SECONDS:
        _, _, body = admin.ask("GET", "/v1/sources")
        sources = json.loads(body)["sources"]
        found = next((one for one in sources if one["id"].endswith(":foreign")), None)
        if found and found["state"] == "current" and found["instances"] >= instances:
            return
        time.sleep(0.05)
    raise processes.ServerFailed(f"no full view within {VIEW_SECONDS:.0f} s: {found}")


def cpu_share(server: processes.Server, seconds: float) -> float:
    before = server.cpu_seconds()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / seconds


class Trial:
    """Registers instances of new services, or one anew elsewhere, and asks for each until it answers."""

    def __init__(self, foreign: Foreign, fleet: registry.Fleet, gateway: int, moves: bool) -> None:
        self._write = foreign.writer()
        self._moves = moves
        self._service = f"moved-{random.randrange(1 << 30)}"
        names = [f"{self._service}-{side}" for side in ("here", "there")]
        self._sides = [(fleet.open(name), name) for name in names]
        self._client = registry.Connection(gateway)

    def times(self, count: int) -> list[tuple[float, float]]:
        """Milliseconds to the first right answer, from each write and from its own answer; the
        first is not counted."""
        self._move(0)
        return [self._move(number) for number in range(1, count + 1)]

    def _move(self, number: int) -> tuple[float, float]:
        # Writes at a steady beat would always meet the same phase of any timer.
        time.sleep(random.uniform(0.001, 0.015))
        port, name = self._sides[number % 2]
        begin = time.perf_counter()
        service = self._service if self._moves else f"{self._service}-{number}"
        self._write(service, f"{service}-1", port, str(number))
        answered = time.perf_counter()
        while True:
            status, fields, _ = self._client.ask("GET", f"/{service}/")
            now = time.perf_counter()
            if status == 200 and fields.get("x-instance") == name:
                return (now - begin) * 1e3, (now - answered) * 1e3
            if now - begin > 30:
                raise processes.ServerFailed(f"{service} is not routed to {name}: {status}")


class Churn:
    """Changes labels of instances at a rate, on threads of its own."""

    def __init__(self, foreign: Foreign, total: int, rate: float) -> None:
        self._ended = threading.Event()
        self._done = itertools.count()
        self._begin = time.monotonic()
        target = (foreign, total, WRITERS / rate)
        self._threads = [threading.Thread(target=self._run, args=target) for _ in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, foreign: Foreign, total: int, pause: float) -> None:
        write = foreign.writer()
        due = time.monotonic()
        while not self._ended.is_set():
            name = registries.Name(FAMILY, random.randrange(total))
            write(name.service, name.instance, name.port, str(next(self._done)))
            due += pause
            self._ended.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> float:
        """Ends it; gives the changes a second that were made."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return next(self._done) / (time.monotonic() - self._begin)


def start_etcd() -> Foreign:
    [etcd] = registries.start_etcd()
    port = etcd.ports["CLIENT"]

    def body(service: str, instance: str, port: int, label: str) -> dict:
        value = {"Op": 0, "Addr": f"127.0.0.1:{port}", "Metadata": {"n": label}}
        return {"key": text(f"services/{service}/{instance}"), "value": text(json.dumps(value))}

    def fill(total: int) -> None:
        connection = registry.Connection(port)
        names = (registries.Name(FAMILY, number) for number in range(total))
        keys = (body(name.service, name.instance, name.port, "") for name in names)
        while batch := list(itertools.islice(keys, BATCH)):
            operations = [{"requestPut": one} for one in batch]
            ask(connection, "POST", "/v3/kv/txn", {"success": operations})

    def writer() -> Callable[[str, str, int, str], None]:
        connection = registry.Connection(port)
        return lambda *what: ask(connection, "POST", "/v3/kv/put", body(*what))

    source = {"etcd": {"url": f"http://127.0.0.1:{port}", "prefix": "services"}}
    return Foreign(f"etcd {etcd.version}", source, fill, writer)


def start_consul() -> Foreign:
    """Our own registry, by Consul's API."""
    _, ports = registries.start_portolan("sources-consul")
    port = ports["CONSUL"]

    def register(connection: registry.Connection, *what: object) -> None:
        service, instance, port, label = what
        body = {"ID": instance, "Name": service, "Address": "127.0.0.1", "Port": port, "Meta": {"n": label}}
        ask(connection, "PUT", "/v1/agent/service/register", body)

    def writer() -> Callable[[str, str, int, str], None]:
        connection = registry.Connection(port)
        return lambda *what: register(connection, *what)

    source = {"consul": {"url": f"http://127.0.0.1:{port}"}}
    fill = partial(registries.consul(port).fill, FAMILY)
    return Foreign("our Consul front", source, fill, writer)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def ask(connection: registry.Connection, method: str, path: str, body: dict) -> None:
    status, _, answer = connection.ask(method, path, json.dumps(body).encode())
    registry.check(status, method, path, answer)
