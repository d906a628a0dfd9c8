"""./bench memory: what the proxies hold at rest, with many routes, with many idle clients."""

import argparse
import time

from benchmarks import figures, loads, machine, parts, peers

SETTLE_SECONDS = 2.0
REST_SECONDS = 5.0


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("memory", help="memory at rest, with routes, with idle clients")
    parser.add_argument("--peers", default="all", help=f"of {','.join(peers.PEERS)}")
    parser.add_argument("--routes", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    chosen = peers.chosen(arguments.peers)
    machine.print_heading("memory")
    _backend, ports = peers.start_backend()
    print_idle(chosen, ports, arguments.connections)
    print(f"\n## {arguments.routes} prefix routes to one upstream, at rest\n")
    rows = []
    for peer in chosen:
        begin = time.monotonic()
        proxy = peers.start(peer, ports, routes=arguments.routes)
        seconds = time.monotonic() - begin
        time.sleep(SETTLE_SECONDS)
        rows.append([peer.name, figures.mebibytes(proxy.server.resident_bytes()), f"{seconds:.2f}"])
        proxy.server.stop()
    print(figures.table(["proxy", "resident MiB", "ready after s"], rows), flush=True)
    return 0


def print_idle(chosen: list[peers.Peer], backend: dict[str, int], connections: int) -> None:
    """Each proxy alone, freshly started: at rest, then with connections that idle after one
    request each."""
    print(f"\n## At rest, and with {connections} idle connections\n")
    rows = []
    for peer in chosen:
        parts.say(f"idle connections: {peer.name}")
        proxy = peers.start(peer, backend)
        time.sleep(SETTLE_SECONDS)
        rest = proxy.server.resident_bytes()
        held = loads.hold_connections(proxy.ports["PLAIN"], connections)
        time.sleep(SETTLE_SECONDS)
        loaded = proxy.server.resident_bytes()
        before = proxy.server.cpu_seconds()
        time.sleep(REST_SECONDS)
        cpu = (proxy.server.cpu_seconds() - before) / REST_SECONDS
        closed = _closed(held)
        for connection in held:
            connection.close()
        proxy.server.stop()
        rows.append(
            [
                peer.name,
                figures.mebibytes(rest),
                figures.mebibytes(loaded),
                f"{(loaded - rest) / connections / 1024:.2f}",
                f"{cpu * 100:.2f}",
                str(closed),
            ]
        )
    head = ["proxy", "at rest MiB", "with idle MiB", "KiB/connection", "CPU % of a core", "closed"]
    print(figures.table(head, rows), flush=True)


def _closed(held: list) -> int:
    """How many connections the proxy has closed on us."""
    closed = 0
    for connection in held:
        connection.setblocking(False)
        try:
            closed += connection.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    return closed
