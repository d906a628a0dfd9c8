"""./bench registry: what registrations, heartbeats, queries and watches cost, beside others."""

import argparse
import os

from benchmarks import (
    convergence,
    machine,
    parts,
    peers,
    registries,
    registry,
    registry_costs,
    registry_scale,
)

PARTS = {
    "operations": "CPU and rate of each operation, beside the peers",
    "fetches": "full fetches by Eureka's API",
    "watches": "idle watches and how soon a change reaches them",
    "memory": "bytes an instance",
    "restart": "restart with a full store",
    "routable": "registry write to routed request",
}


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("registry", help="the registry beside etcd, ZooKeeper and others")
    parser.add_argument("--peers", default="all", help=f"of {','.join(registries.REGISTRIES)}")
    parser.add_argument("--parts", default="all", help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of operations (default 9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of load a round")
    parser.add_argument("--memory-instances", type=int, default=200_000)
    parser.add_argument("--restart-instances", type=int, default=100_000)
    parser.add_argument("--fetched-instances", type=int, default=10_000)
    parser.add_argument("--idle-watches", type=int, default=100_000)
    parser.add_argument("--woken-watches", type=int, default=10_000)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    os.sched_setaffinity(0, {peers.LOAD_CORE})
    wanted = _chosen(arguments.parts, PARTS)
    names = _chosen(arguments.peers, registries.REGISTRIES)
    machine.print_heading("registry")
    if "operations" in wanted:
        print_operations(names, arguments)
    if "fetches" in wanted:
        eureka = [name for name in ("portolan", "spring-eureka") if name in names]
        registry_scale.print_full_fetches(eureka, arguments.fetched_instances)
    if "watches" in wanted:
        registry_scale.print_watchers(arguments.idle_watches, arguments.woken_watches)
    if "memory" in wanted:
        registry_scale.print_memory(arguments.memory_instances)
    if "restart" in wanted:
        registry_scale.print_restart(arguments.restart_instances)
    if "routable" in wanted:
        print()
        portolan = registry.start_portolan()
        convergence.print_writes(portolan, registry.Fleet(), [10_000], trials=300)
    return 0


def print_operations(names: list[str], arguments: argparse.Namespace) -> None:
    running = [one for name in names for one in registries.REGISTRIES[name]()]
    said = ", ".join(f"{one.title} {one.version}" for one in running)
    print(f"{said}. {arguments.rounds} rounds of {arguments.seconds:g} s.", flush=True)
    costs = registry_costs.Costs(running, arguments)
    costs.measure()
    costs.print()
    for one in running:
        if one.server.is_alive():
            one.server.stop()


def _chosen(names: str, known: dict[str, object]) -> list[str]:
    wanted = list(known) if names == "all" else names.split(",")
    unknown = set(wanted) - set(known)
    if unknown:
        raise parts.MissingPart(f"unknown {', '.join(sorted(unknown))}; one of {', '.join(known)}")
    return wanted
