"""The workloads: which program loads a proxy, and how its answer is read."""

import json
import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts, peers, processes

GRPC_PATH = "/bench.Echo/Unary"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """What came of one round of load."""

    requests: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class Workload:
    """A way to load a proxy, by the ports it listens on."""

    name: str
    title: str
    command: Callable[[dict[str, int], float], list[str | Path]]
    read: Callable[[str], Load]


def read_wrk(output: str) -> Load:
    """Requests answered; failed are socket errors and answers outside 2xx and 3xx."""
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", output)
    if not done:
        raise processes.ServerFailed(f"wrk said:\n{output}")
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed = sum(map(int, errors.groups())) if errors else 0
    failed += int(refused.group(1)) if refused else 0
    seconds = float(done.group(2)) * {"m": 6e4, **_UNITS}[done.group(3)] / 1e3
    return Load(int(done.group(1)), failed, seconds)


def read_h2load(output: str) -> Load:
    """Requests succeeded; failed are the others that came to an end."""
    finished = re.search(r"finished in ([\d.]+)(us|ms|s|m)", output)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not finished or not counts:
        raise processes.ServerFailed(f"h2load said:\n{output}")
    _done, succeeded, failed, errored = map(int, counts.groups())
    seconds = float(finished.group(1)) * {"m": 6e4, **_UNITS}[finished.group(2)] / 1e3
    return Load(succeeded, failed + errored, seconds)


def _wrk(scheme: str, port: str, path: str, *headers: str) -> Callable:
    def command(ports: dict[str, int], seconds: float) -> list[str | Path]:
        fields = [word for header in headers for word in ("-H", header)]
        url = f"{scheme}://127.0.0.1:{ports[port]}{path}"
        # wrk takes whole seconds only.
        return [parts.program("wrk"), "-t1", "-c64", f"-d{max(1, round(seconds))}s", *fields, url]

    return command


def _h2load(url: str, *options: str) -> Callable:
    def command(ports: dict[str, int], seconds: float) -> list[str | Path]:
        place = url.format(**ports)
        shape = ["-t1", "-c16", "-m32", "-D", str(max(1, round(seconds)))]
        return [parts.program("h2load"), *shape, *options, place]

    return command


def _grpc(ports: dict[str, int], seconds: float) -> list[str | Path]:
    message = parts.RUN / "request.grpc"
    message.write_bytes(peers.grpc_frame(b"\x0a\x20" + b"q" * 32))
    url = "http://127.0.0.1:{GRPC}" + GRPC_PATH
    fields = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    return _h2load(url, "-d", str(message), *fields)(ports, seconds)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "http1-1k",
            "HTTP/1.1, 1 KiB, 64 kept-alive connections (wrk)",
            _wrk("http", "PLAIN", "/1k"),
            read_wrk,
        ),
        Workload(
            "http1-100k",
            "HTTP/1.1, 100 KiB, 64 kept-alive connections (wrk)",
            _wrk("http", "PLAIN", "/100k"),
            read_wrk,
        ),
        Workload(
            "tls-1k",
            "HTTP/1.1 over TLS, 1 KiB, 64 kept-alive connections (wrk)",
            _wrk("https", "TLS", "/1k"),
            read_wrk,
        ),
        Workload(
            "tls-100k",
            "HTTP/1.1 over TLS, 100 KiB, 64 kept-alive connections (wrk)",
            _wrk("https", "TLS", "/100k"),
            read_wrk,
        ),
        Workload(
            "h2-tls-1k",
            "HTTP/2 over TLS, 1 KiB, 16 connections x 32 streams (h2load)",
            _h2load("https://127.0.0.1:{TLS}/1k"),
            read_h2load,
        ),
        Workload(
            "grpc-unary",
            "gRPC unary, HTTP/2 on both sides, 16 connections x 32 streams (h2load)",
            _grpc,
            read_h2load,
        ),
        Workload(
            "new-connection",
            "HTTP/1.1, 1 KiB, a new connection per request, 64 at a time (wrk)",
            _wrk("http", "PLAIN", "/1k", "Connection: close"),
            read_wrk,
        ),
    )
}


def run(workload: Workload, ports: dict[str, int], seconds: float, cores: set[int]) -> Load:
    """One round of load, pinned to `cores`."""
    command = [str(word) for word in workload.command(ports, seconds)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=processes.pinned(cores),
        timeout=seconds + 60,
    )
    return workload.read(done.stdout + done.stderr)


def open_loop(port: int, rate: float, seconds: float, cores: set[int]) -> dict[str, float]:
    """Latencies at a constant rate, counted from when each request was due."""
    lines = drive(
        *("--address", f"127.0.0.1:{port}", "--request", "GET /1k"),
        *("--rate", str(rate), "--connections", "64", "--seconds", str(seconds)),
        cores=cores,
    )
    return lines[-1]


def drive(*options: str, cores: set[int]) -> list[dict]:
    """Runs our own load generator to its end and returns what it printed."""
    done = subprocess.run(
        [str(parts.load_generator()), "drive", *options],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=processes.pinned(cores),
    )
    if done.returncode != 0:
        raise processes.ServerFailed(f"load generator: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def hold_connections(port: int, count: int) -> list[socket.socket]:
    """Opens connections, asks one request on each, and leaves them open."""
    request = b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    held = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 10)
        connection.sendall(request)
        held.append(connection)
        received = b""
        while len(received) < 1024:
            chunk = connection.recv(65536)
            if not chunk:
                raise processes.ServerFailed("a connection was closed instead of answered")
            received += chunk
    return held
