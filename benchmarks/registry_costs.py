"""What an operation costs a registry: CPU of its process, in rounds that visit every registry.

Each registry has core 0, its clients have core 1. The load is a closed loop of 64 connections, so
the rate is what the two cores together reach; CPU per operation is the figure to trust.
"""

import argparse
from dataclasses import dataclass

from benchmarks import figures, machine, parts, processes, registries

FOREIGN_CORES_MAX = 0.2
RETRIES_MAX = 3
WARM_UP_SECONDS = 1.0
# Its instances are there for all rounds.
BASE = "base"


@dataclass(frozen=True)
class Round:
    """One registry doing one operation, once."""

    registry: str
    operation: str
    rate: float
    cpu_us: float
    failed: int
    foreign_cores: float


class Costs:
    """The rounds so far."""

    def __init__(self, running: list[registries.Registry], arguments: argparse.Namespace) -> None:
        self._running = running
        self._seconds = arguments.seconds
        self._planned = arguments.rounds
        self._families = 0
        self._rounds: list[Round] = []

    def measure(self) -> None:
        for registry in self._running:
            parts.say(f"{registry.title}: {registries.LEASES} instances")
            registry.run("fill", BASE, 0)
            for operation in registry.operations:
                self._once(registry, operation, WARM_UP_SECONDS)
        for number in range(self._planned):
            parts.say(f"round {number + 1} of {self._planned}")
            cut = number % len(self._running)
            for operation in registries.OPERATIONS:
                for registry in self._running[cut:] + self._running[:cut]:
                    if operation in registry.operations:
                        self._rounds.append(self._quiet(registry, operation))

    def print(self) -> None:
        for operation, meaning in registries.OPERATIONS.items():
            print(f"\n## {operation}: {meaning}\n")
            rows = []
            for registry in self._running:
                rounds = [
                    r
                    for r in self._rounds
                    if (r.registry, r.operation) == (registry.title, operation)
                ]
                if not rounds:
                    continue
                cpu = figures.median_interval([r.cpu_us for r in rounds])
                rate = figures.median_interval([r.rate for r in rounds])
                failed = sum(r.failed for r in rounds)
                durable = registry.durable if operation == "register" else ""
                rows.append([registry.title, cpu.text(1), rate.text(0), str(failed), durable])
            head = ["registry", "CPU us each", "each second", "failed", "durable"]
            print(figures.table(head, rows), flush=True)

    def _quiet(self, registry: registries.Registry, operation: str) -> Round:
        """Measures again while others use the machine."""
        for _ in range(RETRIES_MAX):
            found = self._once(registry, operation, self._seconds)
            if found.foreign_cores <= FOREIGN_CORES_MAX:
                break
        return found

    def _once(self, registry: registries.Registry, operation: str, seconds: float) -> Round:
        self._families += 1
        family = f"f{self._families}" if operation == "register" else BASE
        foreign = machine.ForeignCpu()
        before = registry.server.cpu_seconds()
        load = registry.run(operation, family, seconds)
        cpu = registry.server.cpu_seconds() - before
        if not registry.server.is_alive() or not load.requests:
            raise processes.ServerFailed(f"{registry.title} did no {operation}")
        return Round(
            registry=registry.title,
            operation=operation,
            rate=load.requests / load.seconds,
            cpu_us=cpu / load.requests * 1e6,
            failed=load.failed,
            foreign_cores=foreign.cores(),
        )
