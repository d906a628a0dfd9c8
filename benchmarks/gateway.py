"""./bench gateway: one table from one interleaved run.

Every round visits every workload, and within it every proxy, one after the other, so that a
slow minute of the machine meets all of them. Ratios are taken within a round and only then
summed up. CPU per request is the figure to trust: with two cores, load and backend share one,
so requests per second also measure them.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from math import nan
from statistics import median

from benchmarks import gateway_report, loads, machine, memory, parts, peers, processes

FOREIGN_CORES_MAX = 0.2
RETRIES_MAX = 3
WARM_UP_SECONDS = 1.0
EVERYTHING = [*loads.WORKLOADS, "latency", "idle-10k"]


@dataclass(frozen=True)
class Round:
    """One proxy under one workload, once."""

    workload: str
    proxy: str
    number: int
    rate: float
    cpu_us: float
    user_us: float
    instructions: float | None
    resident_bytes: int
    failed: int
    foreign_cores: float


@dataclass(frozen=True)
class LatencyRound:
    """One proxy at a constant rate, once."""

    proxy: str
    number: int
    rate: float
    p50_us: float
    p99_us: float
    p999_us: float
    failed: int
    unsent: int
    load_core_busy: float
    foreign_cores: float


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("gateway", help="speed beside nginx, HAProxy, Envoy and others")
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds (default 9)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of load a round")
    parser.add_argument("--peers", default="all", help=f"of {','.join(peers.PEERS)}")
    parser.add_argument("--workloads", default="all", help=f"of {','.join(EVERYTHING)}")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    selected = EVERYTHING if arguments.workloads == "all" else arguments.workloads.split(",")
    unknown = set(selected) - set(EVERYTHING)
    if unknown:
        raise parts.MissingPart(f"unknown workload {', '.join(sorted(unknown))}")
    chosen = peers.chosen(arguments.peers)
    _backend, ports = peers.start_backend()
    proxies = [peers.start(peer, ports, arguments.workers) for peer in chosen]
    gateway_report.print_setting(arguments, proxies)
    bench = Bench(arguments, proxies, ports)
    workloads = [loads.WORKLOADS[name] for name in selected if name in loads.WORKLOADS]
    for number in range(arguments.rounds):
        parts.say(f"round {number + 1} of {arguments.rounds}")
        bench.round(number, workloads)
    gateway_report.print_workloads(bench, workloads)
    if "latency" in selected:
        bench.latency()
        gateway_report.print_latency(bench)
    if "idle-10k" in selected:
        for proxy in proxies:
            proxy.server.stop()
        memory.print_idle(chosen, ports, connections=10_000)
    gateway_report.save(bench)
    return 0


class Bench:
    """The run so far."""

    def __init__(
        self, arguments: argparse.Namespace, proxies: list[peers.Proxy], backend: dict[str, int]
    ) -> None:
        self.rounds_planned = arguments.rounds
        self.seconds = arguments.seconds
        self.proxies = proxies
        self.backend = backend
        self.load_cores = {peers.LOAD_CORE} if arguments.workers == 1 else {0, 1}
        self.instructions = machine.Instructions()
        self.rounds: list[Round] = []
        self.latencies: list[LatencyRound] = []
        self.warm: set[tuple[str, str]] = set()

    def round(self, number: int, workloads: list[loads.Workload]) -> None:
        for workload in workloads:
            for proxy in _rotated(self.proxies, number):
                result = self._quiet(partial(self._measure, workload, proxy, number))
                self.rounds.append(result)

    def latency(self) -> None:
        """Rounds by open loop, at half of nginx's rate (the first proxy's without nginx)."""
        rate = 0.5 * median(self._full_rates())
        for number in range(self.rounds_planned):
            parts.say(f"latency round {number + 1} of {self.rounds_planned}")
            direct = ("direct", self.backend["BACKEND"])
            named = [(proxy.name, proxy.ports["PLAIN"]) for proxy in self.proxies]
            for name, port in [direct, *_rotated(named, number)]:
                result = self._quiet(partial(self._measure_latency, name, port, rate, number))
                self.latencies.append(result)

    def of(self, workload: str, proxy: str) -> list[Round]:
        return [r for r in self.rounds if r.workload == workload and r.proxy == proxy]

    def reference(self) -> str:
        names = [proxy.name for proxy in self.proxies]
        return "nginx" if "nginx" in names else names[0]

    def _full_rates(self) -> list[float]:
        reference = self.reference()
        rounds = self.of("http1-1k", reference)
        if not rounds:
            workload = loads.WORKLOADS["http1-1k"]
            proxy = next(proxy for proxy in self.proxies if proxy.name == reference)
            rounds = [self._measure(workload, proxy, number) for number in range(3)]
        return [r.rate for r in rounds]

    def _quiet(self, measure):
        """Measures again while others use the machine."""
        for attempt in range(RETRIES_MAX + 1):
            result = measure()
            if result.foreign_cores <= FOREIGN_CORES_MAX:
                return result
            parts.say(
                f"  {result.proxy}: foreign CPU {result.foreign_cores:.2f} cores"
                + (", again" if attempt < RETRIES_MAX else ", kept")
            )
        return result

    def _measure(self, workload: loads.Workload, proxy: peers.Proxy, number: int) -> Round:
        if (workload.name, proxy.name) not in self.warm:
            loads.run(workload, proxy.ports, WARM_UP_SECONDS, self.load_cores)
            self.warm.add((workload.name, proxy.name))
        foreign = machine.ForeignCpu()
        counter = self.instructions.start(proxy.server.pids())
        user_before, system_before = proxy.server.user_and_system_seconds()
        load = loads.run(workload, proxy.ports, self.seconds, self.load_cores)
        user, system = proxy.server.user_and_system_seconds()
        counted = self.instructions.finish(counter)
        if not proxy.server.is_alive():
            raise processes.ServerFailed(f"{proxy.name} died under {workload.name}")
        per_request_us = 1e6 / load.requests if load.requests else nan
        return Round(
            workload=workload.name,
            proxy=proxy.name,
            number=number,
            rate=load.requests / load.seconds,
            cpu_us=(user + system - user_before - system_before) * per_request_us,
            user_us=(user - user_before) * per_request_us,
            instructions=counted / load.requests if counted and load.requests else None,
            resident_bytes=proxy.server.resident_bytes(),
            failed=load.failed,
            foreign_cores=foreign.cores(),
        )

    def _measure_latency(self, name: str, port: int, rate: float, number: int) -> LatencyRound:
        foreign = machine.ForeignCpu()
        load_core = machine.CoreUse(peers.LOAD_CORE)
        result = loads.open_loop(port, rate, self.seconds, self.load_cores)
        return LatencyRound(
            proxy=name,
            number=number,
            rate=rate,
            p50_us=result["p50_us"],
            p99_us=result["p99_us"],
            p999_us=result["p999_us"],
            failed=result["failed_idempotent"] + result["failed_other"],
            unsent=result["unsent"],
            load_core_busy=load_core.share(),
            foreign_cores=foreign.cores(),
        )


def _rotated(items: list, number: int) -> list:
    """Another proxy goes first in every round."""
    cut = number % len(items)
    return items[cut:] + items[:cut]
