"""The tables of ./bench gateway."""

import argparse
import json
import time
from math import isnan
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import figures, loads, machine, parts, peers

if TYPE_CHECKING:
    from benchmarks.gateway import Bench


def print_setting(arguments: argparse.Namespace, proxies: list[peers.Proxy]) -> None:
    machine.print_heading("gateway")
    if arguments.workers == 1:
        print("One worker per proxy, alone on core 0; load and backend (nginx) on core 1.")
    else:
        print("Two workers per proxy on both cores; load and backend on both cores too.")
    print(
        f"{arguments.rounds} paired rounds of {arguments.seconds:g} s. Figures are medians; a ratio"
    )
    print("is the median of the ratios of each round, with its 90 % interval. CPU is user + system")
    print("time of the proxy's processes over requests answered. Resident memory is its largest")
    print("process, under load.\n")
    folder = parts.RUN.relative_to(parts.ROOT)
    rows = []
    for proxy in proxies:
        files = ", ".join(f"{proxy.server.directory.name}/{name}" for name in proxy.peer.files)
        tls = peers.negotiated_tls(proxy.ports["TLS"])
        rows.append([proxy.name, peers.version(proxy.peer), tls, files])
    print(figures.table(["proxy", "version", "TLS agreed on", f"files in {folder}"], rows))


def print_workloads(bench: "Bench", workloads: list[loads.Workload]) -> None:
    counts = bench.instructions.available
    head = ["proxy", "requests/s", "CPU us/request", "of it user", f"CPU / {bench.reference()}"]
    head += ["user instructions/request"] if counts else []
    head += ["resident MiB", "failed", "foreign CPU"]
    for workload in workloads:
        print(f"\n## {workload.title}\n")
        base = bench.of(workload.name, bench.reference())
        rows = []
        for proxy in bench.proxies:
            mine = bench.of(workload.name, proxy.name)
            row = [
                proxy.name,
                f"{median(r.rate for r in mine):.0f}",
                f"{median(r.cpu_us for r in mine):.2f}",
                f"{median(r.user_us for r in mine):.1f}",
                paired_ratio(mine, base, "cpu_us"),
            ]
            row += [f"{median(r.instructions or 0 for r in mine):.0f}"] if counts else []
            row += [
                figures.mebibytes(median(r.resident_bytes for r in mine)),
                str(sum(r.failed for r in mine)),
                f"{max(r.foreign_cores for r in mine):.2f}",
            ]
            rows.append(row)
        print(figures.table(head, rows), flush=True)
    if not counts:
        print("\nUser instructions: not counted, this machine has no counter for them.")


def print_latency(bench: "Bench") -> None:
    rate = bench.latencies[0].rate
    reference = bench.reference()
    print(f"\n## Latency by open loop at {rate:.0f} requests/s, half of {reference}'s rate\n")
    print("1 KiB over HTTP/1.1, 64 connections; counted from the moment a request was due.\n")
    base = [r for r in bench.latencies if r.proxy == reference]
    quantiles = ("p50_us", "p99_us", "p999_us")
    rows = []
    for name in ["direct", *(proxy.name for proxy in bench.proxies)]:
        mine = [r for r in bench.latencies if r.proxy == name]
        rows.append(
            [
                name,
                *(f"{median(getattr(r, quantile) for r in mine):.0f}" for quantile in quantiles),
                paired_ratio(mine, base, "p99_us"),
                str(sum(r.failed + r.unsent for r in mine)),
                f"{max(r.load_core_busy for r in mine):.0%}",
                f"{max(r.foreign_cores for r in mine):.2f}",
            ]
        )
    head = ["proxy", "p50 us", "p99 us", "p99.9 us", f"p99 / {reference}", "failed"]
    print(figures.table([*head, "load core busy", "foreign CPU"], rows), flush=True)
    print("\n`direct` is the backend without a proxy: what load and backend cost by themselves.")
    print("Where the load core is busy to the brim, a latency is the bench's and not the proxy's.")


def save(bench: "Bench") -> None:
    """Keeps every round, for another look."""
    parts.RESULTS.mkdir(parents=True, exist_ok=True)
    path = parts.RESULTS / time.strftime("gateway-%Y%m%d-%H%M%S.json", time.gmtime())
    rounds = [vars(r) for r in [*bench.rounds, *bench.latencies]]
    path.write_text(json.dumps(rounds, indent=1))
    print(f"\nEvery round: {path.relative_to(parts.ROOT)}")


def paired_ratio(mine: list, base: list, name: str) -> str:
    """The ratio of a figure within each round, summed up."""
    by_number = {r.number: getattr(r, name) for r in base}
    ratios = [getattr(r, name) / by_number[r.number] for r in mine]
    known = [ratio for ratio in ratios if not isnan(ratio)]
    return figures.median_interval(known).text() if known else "-"
