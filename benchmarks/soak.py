"""./bench soak: high load for a while, with instances coming and going.

Instances that get every kind of request leave by drain; instances that get idempotent requests
only are killed as well. So no request at all may fail. A breach is a failed request, resident
memory that moves by more than 5 % after the first 30 % of the run, or descriptors that do not
come back within 5 when load and instances are gone. A breach is exit code 1.
"""

import argparse
import os
import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks import convergence, figures, machine, peers, processes, registry

WARM_SHARE = 0.3
MEMORY_SHARE_MAX = 0.05
DESCRIPTORS_MAX = 5
SAMPLE_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
SETTLE_SECONDS = 3.0
WARM_UP_SECONDS = 1.0
REPLACED_PER_SECOND = 10
KILL_EVERY = 5
DRAINED = [f"drained-{number}" for number in range(8)]
KILLED = [f"killed-{number}" for number in range(4)]
INSTANCES = 4


@dataclass
class Samples:
    """What the gateway held, second by second."""

    times: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)


@dataclass
class Populations:
    """Those who always leave by drain, and those who are killed at times."""

    drained: registry.Population
    killed: registry.Population

    def fill(self) -> None:
        self.drained.fill(DRAINED, INSTANCES)
        self.killed.fill(KILLED, INSTANCES)

    def replace(self, turn: int) -> None:
        if turn % KILL_EVERY == 0:
            self.killed.replace_by_kill(1, convergence.NOTICED_AFTER_SECONDS)
        else:
            self.drained.replace_by_drain(1)

    def heartbeat(self) -> None:
        self.drained.heartbeat()
        self.killed.heartbeat()

    def leave(self) -> None:
        self.drained.leave()
        self.killed.leave()

    def changes(self) -> int:
        return self.drained.changes + self.killed.changes


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("soak", help="no failed request and no leak under long load")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0, help="requests/s; 0 is as fast as it goes")
    parser.add_argument(
        "--memory-share",
        type=float,
        default=MEMORY_SHARE_MAX,
        help="share by which resident memory may move; a short run is all warm-up and needs more",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    os.sched_setaffinity(0, {peers.LOAD_CORE})
    machine.print_heading("soak")
    version = peers.version(peers.PEERS["portolan"])
    print(f"Portolan {version}, {arguments.seconds:g} s.\n", flush=True)
    portolan = registry.start_portolan()
    fleet = registry.Fleet()
    store = registry.Registry(portolan.ports["ADMIN"])
    population = Populations(
        registry.Population(store, fleet, registry.SHORT_TTL, seed=1),
        registry.Population(store, fleet, registry.SHORT_TTL, seed=2),
    )
    port = portolan.ports["PLAIN"]
    # Once through everything, so that what is made on first use is made.
    population.fill()
    traffic = registry.Traffic(port, requests(), 500, 16)
    time.sleep(WARM_UP_SECONDS)
    traffic.finish()
    quiet_before = quiet_descriptors(portolan, population)
    population.fill()
    traffic = registry.Traffic(port, requests(), arguments.rate, arguments.connections)
    samples = soak(portolan, population, traffic, arguments.seconds)
    summary = traffic.finish()
    quiet_after = quiet_descriptors(portolan, population)
    breaches = report(
        samples, summary, population.changes(), quiet_before, quiet_after, arguments.memory_share
    )
    if traffic.failures:
        print("\nFirst failures:\n")
        registry.print_failures(traffic.failures, 10)
    print("\n" + ("Breached: " + "; ".join(breaches) if breaches else "No breach."))
    return 1 if breaches else 0


def requests() -> list[str]:
    return convergence.mixed_requests(DRAINED) + 4 * [f"GET /{service}/" for service in KILLED]


def quiet_descriptors(portolan: peers.Proxy, population: "Populations") -> int:
    """Descriptors when no instance is left and nobody asks."""
    population.leave()
    time.sleep(SETTLE_SECONDS)
    return portolan.server.descriptors()


def soak(
    portolan: peers.Proxy,
    population: Populations,
    traffic: registry.Traffic,
    seconds: float,
) -> Samples:
    samples = Samples()
    begin = time.monotonic()
    next_sample = begin + SAMPLE_SECONDS
    next_heartbeat = begin + HEARTBEAT_SECONDS
    turn = 0
    while (now := time.monotonic()) < begin + seconds:
        if not traffic.is_alive() or not portolan.server.is_alive():
            raise processes.ServerFailed("gateway or load generator died during the soak")
        turn += 1
        population.replace(turn)
        if now >= next_heartbeat:
            population.heartbeat()
            next_heartbeat += HEARTBEAT_SECONDS
        if now >= next_sample:
            next_sample += SAMPLE_SECONDS
            samples.times.append(now - begin)
            samples.resident.append(portolan.server.resident_bytes())
            samples.descriptors.append(portolan.server.descriptors())
            samples.answered.append(traffic.latest.get("answered", 0))
        time.sleep(1 / REPLACED_PER_SECOND)
    return samples


def report(
    samples: Samples,
    summary: dict,
    changes: int,
    quiet_before: int,
    quiet_after: int,
    memory_share_max: float,
) -> list[str]:
    """Prints the run and returns its breaches."""
    warm = [i for i, at in enumerate(samples.times) if at >= WARM_SHARE * samples.times[-1]]
    memory = [samples.resident[i] for i in warm]
    reference = median(memory[: max(1, len(memory) // 10)])
    growth = (median(memory[-max(1, len(memory) // 10) :]) - reference) / reference
    widest = (max(memory) - min(memory)) / reference
    rows = []
    before = (0.0, 0)
    for share in (0.0, 0.1, WARM_SHARE, 0.5, 0.75, 1.0):
        index = min(len(samples.times) - 1, int(share * len(samples.times)))
        now = (samples.times[index], samples.answered[index])
        # Since the line before: the generator tells how far it is about once a second, and
        # two samples may hear the same.
        rate = (now[1] - before[1]) / max(now[0] - before[0], SAMPLE_SECONDS)
        before = now
        rows.append(
            [
                f"{samples.times[index]:.0f}",
                figures.mebibytes(samples.resident[index]),
                str(samples.descriptors[index]),
                f"{rate:.0f}",
            ]
        )
    print(figures.table(["second", "resident MiB", "descriptors", "requests/s"], rows))
    print(
        f"\n{summary['answered']} requests answered, {changes} instance changes"
        f" (one leaver in {KILL_EVERY} killed);"
        f"\nfailed: {summary['failed_idempotent']} GET, {summary['failed_other']} POST"
        f" {summary['causes'] or ''}"
        f"\nresident memory after {WARM_SHARE:.0%} of the run: {growth:+.1%} to the end,"
        f" {widest:.1%} between its lowest and highest"
        f"\ndescriptors at rest: {quiet_before} before, {quiet_after} after"
    )
    breaches = []
    failed = summary["failed_idempotent"] + summary["failed_other"]
    if failed:
        breaches.append(f"{failed} requests failed")
    if widest > memory_share_max:
        breaches.append(f"resident memory moved by {widest:.1%}")
    if abs(quiet_after - quiet_before) > DESCRIPTORS_MAX:
        breaches.append(f"{quiet_after - quiet_before:+} descriptors at rest")
    return breaches
