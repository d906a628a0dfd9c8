"""./bench dns: what an answer costs, beside name servers that serve the same zone from a file."""

import argparse
import itertools
import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import figures, machine, parts, peers, processes, registry

ZONE = "portolan.internal"
INSTANCES = 3
# Of a hundred queries, so many ask for names that do not exist.
UNKNOWN = 5
QUERIES = 100_000
CLIENTS = 20
OUTSTANDING = 200
# Connections that register meanwhile, and how many registrations are made up.
WRITERS = 32
CHANGES = 50_000
SETTLE_SECONDS = 0.5
_RATE = re.compile(r"Queries per second:\s+([\d.]+)")
_SENT = re.compile(r"Queries sent:\s+(\d+)")
_COMPLETED = re.compile(r"Queries completed:\s+(\d+)")
_CODES = re.compile(r"Response codes:\s+(.*)")
_ANSWER = re.compile(r"^> (\S+) \S+ \S+ ([\d.]+)$", re.MULTILINE)


@dataclass
class NameServer:
    """A running name server, and what was measured of it."""

    title: str
    server: processes.Server
    port: int
    admin: int = 0
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    """Microseconds of CPU a query."""


@dataclass
class Load:
    """What one run of dnsperf found."""

    rate: float
    completed: int
    lost: int
    codes: str
    milliseconds: list[float]
    cpu_seconds: float
    share: float
    """How busy the server's core was."""


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("dns", help="the DNS server beside knot, nsd and bind")
    parser.add_argument("--peers", default="all", help=f"of {','.join(START)}")
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of full load (default 9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of load a round")
    parser.add_argument("--changes", type=float, default=1_000, help="registrations/s of the busy phase")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    os.sched_setaffinity(0, {peers.LOAD_CORE})
    machine.print_heading("dns")
    names = list(START) if arguments.peers == "all" else arguments.peers.split(",")
    directory = peers.fresh(parts.RUN / "dns-queries")
    queries = write_queries(directory, arguments.services)
    servers = []
    for name in names:
        parts.say(f"starting {name}")
        servers.append(START[name](arguments.services))
    said = ", ".join(one.title for one in servers)
    print(f"{said}. {arguments.services} names with {INSTANCES} addresses each.\n", flush=True)
    for number in range(arguments.rounds):
        for one in random.sample(servers, len(servers)):
            measure(one, queries, arguments.seconds)
        parts.say(f"round {number + 1}: " + ", ".join(f"{one.title} {one.rates[-1]:.0f}/s" for one in servers))
    print_full(servers)
    print_half(servers, queries, arguments)
    ours = next((one for one in servers if one.admin), None)
    if ours:
        print_changes(ours, servers, queries, arguments)
    return 0


def measure(one: NameServer, queries: Path, seconds: float) -> None:
    load = ask(one, queries, seconds)
    one.rates.append(load.rate)
    one.costs.append(load.cpu_seconds / load.completed * 1e6)


def print_full(servers: list[NameServer]) -> None:
    """Rates and costs, and their ratios within each round, which noise of the machine hits less."""
    ours = servers[0]
    rows = []
    for one in servers:
        rates = [mine / theirs for mine, theirs in zip(ours.rates, one.rates)]
        costs = [mine / theirs for mine, theirs in zip(ours.costs, one.costs)]
        rows.append([
            *(one.title, figures.median_interval(one.rates).text(0), figures.median_interval(one.costs).text()),
            *(figures.median_interval(rates).text(), figures.median_interval(costs).text()),
        ])
    print(figures.table(["full load", "queries/s", "CPU us a query", "our rate by its", "our CPU by its"], rows), flush=True)


def print_half(servers: list[NameServer], queries: Path, arguments: argparse.Namespace) -> None:
    rows = []
    for one in servers:
        half = figures.median_interval(one.rates).middle / 2
        rows.append([one.title, *latency(one, queries, arguments.seconds * 2, half)])
    print()
    print(figures.table(["half of its top rate", "queries/s", "p50 ms", "p99 ms", "lost", "core busy"], rows), flush=True)


def print_changes(ours: NameServer, servers: list[NameServer], queries: Path, arguments: argparse.Namespace) -> None:
    """The same while registrations change what is asked for."""
    quiet = [ask(ours, queries, arguments.seconds) for _ in range(arguments.rounds)]
    traffic = registry.Traffic(ours.admin, changes(arguments.services), arguments.changes, WRITERS)
    started = time.monotonic()
    time.sleep(SETTLE_SECONDS)
    begin = time.monotonic(), ours.server.cpu_seconds()
    time.sleep(arguments.seconds)
    alone = (ours.server.cpu_seconds() - begin[1]) / (time.monotonic() - begin[0])
    busy = [ask(ours, queries, arguments.seconds) for _ in range(arguments.rounds)]
    half = figures.median_interval(ours.rates).middle / 2
    told = latency(ours, queries, arguments.seconds * 2, half)
    took = time.monotonic() - started
    summary = traffic.finish()
    made = (summary["answered"] - summary["failed_other"] - summary["failed_idempotent"]) / took
    rows = []
    for title, loads in (("no changes", quiet), (f"{made:.0f} registrations/s", busy)):
        rates = figures.median_interval([load.rate for load in loads])
        costs = figures.median_interval([load.cpu_seconds / load.completed * 1e6 for load in loads])
        rows.append([title, rates.text(0), costs.text()])
    print()
    print(figures.table(["Portolan", "queries/s", "CPU us a query"], rows))
    print(f"\nThe registrations take {alone * 100:.0f} % of the core by themselves; it is in the CPU of the second row.")
    print(f"At half of its top rate meanwhile: {told[0]} queries/s, p50 {told[1]} ms, p99 {told[2]} ms, {told[3]} lost.")


def latency(one: NameServer, queries: Path, seconds: float, rate: float) -> list[str]:
    load = ask(one, queries, seconds, "-v", "-Q", str(int(rate)))
    quantiles = [f"{figures.percentile(load.milliseconds, share):.3f}" for share in (0.5, 0.99)]
    return [f"{load.rate:.0f}", *quantiles, str(load.lost), f"{load.share * 100:.0f} %"]


def ask(one: NameServer, queries: Path, seconds: float, *more: str) -> Load:
    """Runs dnsperf on the core of the load."""
    command = [
        *(parts.program("dnsperf"), "-s", "127.0.0.1", "-p", str(one.port), "-d", queries),
        *("-l", f"{seconds:g}", "-c", str(CLIENTS), "-q", str(OUTSTANDING), "-T", "1", "-e", *more),
    ]
    core = machine.CoreUse(peers.PROXY_CORE)
    before = one.server.cpu_seconds()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    cpu, share = one.server.cpu_seconds() - before, core.share()
    if done.returncode != 0 or not (rate := _RATE.search(done.stdout)):
        raise processes.ServerFailed(f"dnsperf with {one.title}: {done.stdout[-500:]}{done.stderr[-500:]}")
    completed = int(_COMPLETED.search(done.stdout)[1])
    lost = int(_SENT.search(done.stdout)[1]) - completed
    codes = _CODES.search(done.stdout)[1]
    if not re.search(r"NOERROR \d+ \(9\d", codes) or "NXDOMAIN" not in codes:
        raise processes.ServerFailed(f"{one.title} answers {codes}")
    milliseconds = [float(seconds) * 1e3 for _, seconds in _ANSWER.findall(done.stdout)]
    return Load(float(rate[1]), completed, lost, codes, milliseconds, cpu, share)


def name(number: int) -> str:
    return f"service-{number}"


def address(number: int, instance: int) -> str:
    place = number * INSTANCES + instance
    return f"10.{place >> 16 & 255}.{place >> 8 & 255}.{place & 255}"


def write_queries(directory: Path, services: int) -> Path:
    dice = random.Random(1)
    lines = []
    for number in range(QUERIES):
        is_unknown = number % 100 < UNKNOWN
        asked = f"nobody-{dice.randrange(services)}" if is_unknown else name(dice.randrange(services))
        lines.append(f"{asked}.{ZONE} A\n")
    dice.shuffle(lines)
    file = directory / "queries"
    file.write_text("".join(lines))
    return file


def write_zone(directory: Path, services: int) -> Path:
    lines = [f"$ORIGIN {ZONE}.", "$TTL 0", "@ SOA ns root 1 3600 600 86400 1", "@ NS ns", "ns A 127.0.0.1"]
    for number, instance in itertools.product(range(services), range(INSTANCES)):
        lines.append(f"{name(number)} A {address(number, instance)}")
    file = directory / "zone"
    file.write_text("\n".join(lines) + "\n")
    return file


def start_portolan(services: int) -> NameServer:
    directory = peers.fresh(parts.RUN / "portolan-dns")
    port, admin = processes.free_port(), processes.free_port()
    settings = {
        "gateway": {"workers": 1},
        "admin": {"address": f"127.0.0.1:{admin}"},
        "access_log": {"enabled": False},
        "dns": {"address": f"127.0.0.1:{port}", "workers": 1, "zones": [ZONE]},
        "registry": {"consul": {"enabled": False}, "eureka": {"enabled": False}},
    }
    file = directory / "portolan.yaml"
    file.write_text(json.dumps(settings))
    command = [parts.portolan(), "run", "--config", file, "--data-dir", directory / "data"]
    server = processes.Server("portolan", command, directory, {peers.PROXY_CORE})
    server.wait_for_port(admin)
    server.wait_for_port(port)
    connection = registry.Connection(admin)
    for number, instance in itertools.product(range(services), range(INSTANCES)):
        register(connection, number, instance, address(number, instance))
    return NameServer(f"Portolan {peers.version(peers.PEERS['portolan'])}", server, port, admin)


def register(connection: registry.Connection, number: int, instance: int, ip: str) -> None:
    path = f"/v1/services/{name(number)}/instances/{instance}"
    body = {"address": ip, "port": 80, "ttl": "1h"}
    status, _, answer = connection.ask("PUT", path, json.dumps(body).encode())
    registry.check(status, "PUT", path, answer)


def start_knot(services: int) -> NameServer:
    def command(directory: Path, port: int) -> list[object]:
        zone = write_zone(directory, services)
        (directory / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{port}\n  rundir: {directory}\n  udp-workers: 1\n  tcp-workers: 1\n"
            f"  background-workers: 1\ndatabase:\n  storage: {directory}\n"
            f"zone:\n  - domain: {ZONE}\n    file: {zone}\n    semantic-checks: off\n"
        )
        return [parts.program("knotd"), "-c", directory / "knot.conf"]

    return start_peer("knot", command, ["-V"])


def start_nsd(services: int) -> NameServer:
    def command(directory: Path, port: int) -> list[object]:
        zone = write_zone(directory, services)
        (directory / "nsd.conf").write_text(
            f"server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n"
            f"  zonesdir: \"{directory}\"\n  database: \"\"\n  pidfile: \"{directory}/pid\"\n  rrl-ratelimit: 0\n"
            f"  xfrdfile: \"{directory}/xfrd\"\n  xfrdir: \"{directory}\"\n  zonelistfile: \"{directory}/zones\"\n"
            f"remote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {zone}\n"
        )
        return [parts.program("nsd"), "-d", "-c", directory / "nsd.conf"]

    return start_peer("nsd", command, ["-v"])


def start_bind(services: int) -> NameServer:
    def command(directory: Path, port: int) -> list[object]:
        zone = write_zone(directory, services)
        (directory / "named.conf").write_text(
            f'options {{ directory "{directory}"; pid-file "{directory}/pid"; listen-on port {port} {{ 127.0.0.1; }};\n'
            f"  listen-on-v6 {{ none; }}; recursion no; minimal-responses yes; session-keyfile \"{directory}/key\";\n"
            f"  dnssec-validation no; }};\n"
            f'zone "{ZONE}" {{ type primary; file "{zone}"; }};\n'
            "controls { };\n"
        )
        return [parts.program("named"), "-f", "-n", "1", "-c", directory / "named.conf"]

    return start_peer("bind", command, ["-v"], "named")


def start_peer(
    title: str, command: Callable[[Path, int], list], version: list[str], program: str | None = None
) -> NameServer:
    directory = peers.fresh(parts.RUN / f"dns-{title}")
    port = processes.free_port()
    server = processes.Server(title, command(directory, port), directory, {peers.PROXY_CORE})
    server.wait_for_port(port)
    asked = [str(parts.program(program or {"knot": "knotd"}.get(title, title))), *version]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return NameServer(f"{title} {found[0] if found else 'unknown'}", server, port)


def changes(services: int) -> list[str]:
    """Registrations of instances that are there, each with another address."""
    dice = random.Random(1)
    lines = []
    for _ in range(CHANGES):
        instance = f"{name(dice.randrange(services))}/instances/{dice.randrange(INSTANCES)}"
        ip = f"10.200.{dice.randrange(256)}.{dice.randrange(256)}"
        body = json.dumps({"address": ip, "port": 80, "ttl": "1h"})
        lines.append(f"PUT /v1/services/{instance}\tContent-Type: application/json\t={body}")
    return lines


START: dict[str, Callable[[int], NameServer]] = {
    "portolan": start_portolan,
    "knot": start_knot,
    "nsd": start_nsd,
    "bind": start_bind,
}
