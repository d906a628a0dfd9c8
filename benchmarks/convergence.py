"""./bench convergence: how soon the gateway knows what the registry knows, and what it costs
the callers when instances come, go and die."""

import argparse
import os
import random
import time

from benchmarks import figures, machine, parts, peers, processes, registry

TRIALS_GIVE_UP_SECONDS = 10.0
SERVICES = 20
INSTANCES = 5
BATCH = 8
NOTICED_AFTER_SECONDS = 0.02
CHANGE_BATCHES_PER_SECOND = 30


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("convergence", help="registry write to routed request, and churn")
    parser.add_argument("--services", default="10,1000,10000", help="sizes of the registry")
    parser.add_argument("--trials", type=int, default=300, help="writes per size and kind")
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--changes", type=int, default=10_000, help="instance changes per kind")
    parser.add_argument("--rate", type=float, default=3_000, help="requests/s during changes")
    parser.add_argument(
        "--grace-ms", type=float, default=0, help="wait between deregistering and stopping"
    )
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    os.sched_setaffinity(0, {peers.LOAD_CORE})
    machine.print_heading("convergence")
    version = peers.version(peers.PEERS["portolan"])
    print(f"Portolan {version}, {arguments.workers} worker(s).\n", flush=True)
    sizes = [int(size) for size in arguments.services.split(",") if size]
    portolan = registry.start_portolan(arguments.workers)
    fleet = registry.Fleet()
    if sizes:
        print_writes(portolan, fleet, sizes, arguments.trials)
        portolan.server.stop()
        portolan = registry.start_portolan(arguments.workers)
    if arguments.deaths:
        print_deaths(portolan, fleet, arguments)
    if arguments.changes:
        print_changes(portolan, fleet, arguments)
    return 0


def print_writes(
    portolan: peers.Proxy, fleet: registry.Fleet, sizes: list[int], trials: int
) -> None:
    print("## Registry write to first correctly routed request\n")
    print("From the moment the write is sent to the moment the right instance has answered a")
    print("request through the gateway; requests are sent one after the other all the while.\n")
    here, there = (fleet.open(name) for name in ("here", "there"))
    store = registry.Registry(portolan.ports["ADMIN"])
    client = registry.Connection(portolan.ports["PLAIN"])
    registered = 0
    rows = []
    for size in sizes:
        begin = time.monotonic()
        for number in range(registered, size):
            store.put(f"s{number}", f"s{number}-1", here)
        seconds = time.monotonic() - begin
        parts.say(f"{size} services: {size - registered} writes in {seconds:.1f} s")
        registered = max(registered, size)
        new = [(f"new-{size}-{trial}", here, "here") for trial in range(trials)]
        moved = [("s0", *((there, "there"), (here, "here"))[trial % 2]) for trial in range(trials)]
        for kind, writes in (("new service", new), ("moved instance", moved)):
            milliseconds = [convergence(store, client, *write) * 1e3 for write in writes]
            rows.append(
                [
                    f"{size} services, {kind}",
                    *(f"{figures.percentile(milliseconds, q):.2f}" for q in (0.5, 0.9, 0.99)),
                    f"{max(milliseconds):.2f}",
                ]
            )
        for service, _, _ in new:
            store.delete(service, f"{service}-1")
        store.put("s0", "s0-1", here)
    head = ["registry, write", "p50 ms", "p90 ms", "p99 ms", "max ms"]
    print(figures.table(head, rows))
    print(f"\n{trials} writes per row, at random moments.", flush=True)


def convergence(
    store: registry.Registry, client: registry.Connection, service: str, port: int, expected: str
) -> float:
    """Seconds from sending a write to having the right answer."""
    # Writes at a steady beat would always meet the same phase of any timer.
    time.sleep(random.uniform(0.001, 0.015))
    path = store.path(service, f"{service}-1")
    begin = time.perf_counter()
    store.connection.send("PUT", path, store.body(port))
    while True:
        status, fields, _ = client.ask("GET", f"/{service}/")
        elapsed = time.perf_counter() - begin
        if status == 200 and fields.get("x-instance") == expected:
            break
        if elapsed > TRIALS_GIVE_UP_SECONDS:
            raise processes.ServerFailed(f"{service} is not routed to {expected}: {status}")
    status, _, answer = store.connection.receive()
    registry.check(status, "PUT", path, answer)
    return elapsed


def print_deaths(
    portolan: peers.Proxy, fleet: registry.Fleet, arguments: argparse.Namespace
) -> None:
    print("\n## Instance death to last failed request\n")
    print("One of three instances dies without a word; nobody deregisters it for 1.5 s.\n")
    store = registry.Registry(portolan.ports["ADMIN"])
    population = registry.Population(store, fleet, registry.LONG_TTL)
    population.fill(["mortal"], 3)
    requests = ["GET /mortal/", "POST /mortal/"]
    traffic = registry.Traffic(portolan.ports["PLAIN"], requests, arguments.rate, 32)
    time.sleep(1.0)
    windows = []
    for _ in range(arguments.deaths):
        [member] = population.pick(1)
        killed_us = time.time() * 1e6
        fleet.kill(member.instance)
        time.sleep(1.5)
        windows.append((killed_us, time.time() * 1e6))
        store.delete(member.service, member.instance)
        population.members.remove(member)
        population.join("mortal")
        time.sleep(0.3)
    summary = traffic.finish()
    last = []
    for begin, end in windows:
        times = [f["at_us"] for f in traffic.failures if begin - 1000 <= f["at_us"] <= end]
        last.append(max(0.0, (max(times, default=begin) - begin) / 1e3))
    row = [
        str(arguments.deaths),
        f"{figures.percentile(last, 0.5):.1f}",
        f"{figures.percentile(last, 0.99):.1f}",
        str(summary["failed_idempotent"]),
        str(summary["failed_other"]),
        str(summary["answered"]),
    ]
    head = ["deaths", "last failure p50 ms", "p99 ms", "failed GET", "failed POST", "answered"]
    print(figures.table(head, [row]), flush=True)
    registry.print_failures(traffic.failures)
    population.leave()


def print_changes(
    portolan: peers.Proxy, fleet: registry.Fleet, arguments: argparse.Namespace
) -> None:
    print(f"\n## Failed requests during {arguments.changes} instance changes, under load\n")
    services = [f"churn-{number}" for number in range(SERVICES)]
    store = registry.Registry(portolan.ports["ADMIN"])
    population = registry.Population(store, fleet, registry.LONG_TTL)
    population.grace_seconds = arguments.grace_ms / 1e3
    population.fill(services, INSTANCES)
    time.sleep(0.5)
    rows = []
    failures = {}
    for kind in ("drain", "kill"):
        parts.say(f"{arguments.changes} changes by {kind}")
        traffic = registry.Traffic(
            portolan.ports["PLAIN"], mixed_requests(services), arguments.rate, 64
        )
        seconds, changes = change(population, kind, arguments.changes, traffic)
        summary = traffic.finish()
        failures[kind] = traffic.failures
        rows.append(
            [
                {"drain": "left by drain", "kill": "killed"}[kind],
                str(changes),
                f"{changes / seconds:.0f}",
                str(summary["answered"]),
                str(summary["failed_idempotent"]),
                str(summary["failed_other"]),
                f"{summary['p99_us'] / 1e3:.1f}",
            ]
        )
    head = ["instances", "changes", "changes/s", "answered", "failed GET", "failed POST", "p99 ms"]
    print(figures.table(head, rows), flush=True)
    print(f"\n{SERVICES} services of {INSTANCES} instances; GET and POST, one in eight takes 5 ms.")
    grace = f"{arguments.grace_ms:g} ms after" if arguments.grace_ms else "as soon as"
    print(f"Drained: deregistered, then stopped {grace} that is answered. Killed: its sockets")
    print("close at once, and 20 ms later somebody deregisters it.", flush=True)
    for kind, found in failures.items():
        if found:
            print(f"\nFirst failures, {kind}:\n")
            registry.print_failures(found)


def change(
    population: registry.Population, kind: str, count: int, traffic: registry.Traffic
) -> tuple[float, int]:
    """Replaces instances until `count` changes are made; returns seconds and changes."""
    begin = time.monotonic()
    first = population.changes
    batch_seconds = 1 / CHANGE_BATCHES_PER_SECOND
    due = begin
    while population.changes - first < count and traffic.is_alive():
        if kind == "drain":
            population.replace_by_drain(BATCH)
        else:
            population.replace_by_kill(BATCH, NOTICED_AFTER_SECONDS)
        due += batch_seconds
        time.sleep(max(0.0, due - time.monotonic()))
    return time.monotonic() - begin, population.changes - first


def mixed_requests(services: list[str]) -> list[str]:
    """GET and POST to every service; one in eight takes a while."""
    requests = []
    for number in range(8):
        query = "?delay=5" if number == 7 else ""
        for index, service in enumerate(services):
            method = "GET" if (number + index) % 2 == 0 else "POST"
            requests.append(f"{method} /{service}/{query}")
    return requests
