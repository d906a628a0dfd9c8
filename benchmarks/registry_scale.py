"""How much of a registry fits, and how long things take that are about all of it."""

import json
import subprocess
import time
import urllib.request

from benchmarks import figures, loads, parts, peers, processes, registries

CHANGES = 20
SETTLE_SECONDS = 3.0
FULL_SECONDS = 5.0
STREAMS = 25


def print_memory(instances: int) -> None:
    """Bytes an instance, all in: what the process grew by, over how many it holds."""
    print(f"\n## {instances} instances\n")
    server, ports = registries.start_portolan("registry-memory")
    time.sleep(SETTLE_SECONDS)
    empty = server.resident_bytes()
    begin = time.monotonic()
    registries.native(ports["ADMIN"]).fill("bulk", instances)
    seconds = time.monotonic() - begin
    time.sleep(SETTLE_SECONDS)
    full = server.resident_bytes()
    row = [
        str(instances),
        f"{seconds:.1f}",
        figures.mebibytes(empty),
        figures.mebibytes(full),
        f"{(full - empty) / instances:.0f}",
    ]
    head = ["instances", "registered in s", "empty MiB", "full MiB", "bytes/instance"]
    print(figures.table(head, [row]), flush=True)
    server.stop()


def print_restart(instances: int) -> None:
    """From the start of the process to the first right answer about the last instance."""
    print(f"\n## Restart with {instances} instances in the store\n")
    server, ports = registries.start_portolan("registry-restart")
    registries.native(ports["ADMIN"]).fill("bulk", instances)
    last = registries.Name("bulk", instances - 1)
    rows = []
    for kind, stop in (("terminated", server.stop), ("killed", None)):
        if stop is None:
            server.process.kill()
            server.process.wait()
            processes.running.remove(server)
        else:
            stop()
        begin = time.monotonic()
        server, ports = registries.restart_portolan(server.directory)
        path = f"/v1/services/{last.service}/instances/{last.instance}"
        while not _is_there(ports["ADMIN"], path):
            time.sleep(0.01)
        seconds = time.monotonic() - begin
        rows.append([kind, f"{seconds:.2f}", f"{server.cpu_seconds():.2f}"])
    server.stop()
    print(figures.table(["stopped by", "s to the last answer", "CPU s"], rows), flush=True)


def print_full_fetches(names: list[str], instances: int) -> None:
    """Whole registries by Eureka's API, as new clients ask for them."""
    print(f"\n## Full fetches of {instances} instances by Eureka's API\n")
    rows = []
    for name in names:
        registry = next(r for r in registries.REGISTRIES[name]() if "Eureka" in r.title)
        port = registry.ports["EUREKA"]
        registries.eureka(port).fill("bulk", instances)
        # A Spring server answers from a cache that is 30 s old at most.
        _wait_for_all(port, instances)
        for kind, fields in (
            ("JSON", ["Accept: application/json"]),
            ("JSON, gzip", ["Accept: application/json", "Accept-Encoding: gzip"]),
            ("XML", ["Accept: application/xml"]),
        ):
            rows.append([f"{registry.title}, {kind}", *_fetches(registry, port, fields)])
        registry.server.stop()
    head = ["registry", "fetches/s", "CPU ms each", "MiB each"]
    print(figures.table(head, rows), flush=True)


def _fetches(registry: registries.Registry, port: int, fields: list[str]) -> list[str]:
    file = parts.RUN / "full-fetch"
    file.write_text("\t".join(["GET /eureka/apps", *fields]))
    options = ["--address", f"127.0.0.1:{port}", "--requests", str(file)]
    options += ["--connections", "4", "--seconds", str(FULL_SECONDS), "--timeout-ms", "60000"]
    cores = {peers.LOAD_CORE}
    loads.drive(*options[:-4], "--seconds", "1", *options[-2:], cores=cores)
    before = registry.server.cpu_seconds()
    summary = loads.drive(*options, cores=cores)[-1]
    cpu = registry.server.cpu_seconds() - before
    size = len(_get(port, "/eureka/apps", dict(field.split(": ") for field in fields)))
    answered = max(1, summary["answered"])
    rate = summary["answered"] / summary["elapsed_s"]
    return [f"{rate:.1f}", f"{cpu / answered * 1e3:.2f}", f"{size / 2**20:.2f}"]


def _wait_for_all(port: int, instances: int) -> None:
    last = registries.Name("bulk", instances - 1)
    deadline = time.monotonic() + 90
    while last.instance.encode() not in _get(port, "/eureka/apps", {"Accept": "application/json"}):
        if time.monotonic() > deadline:
            raise processes.ServerFailed("the full list never was full")
        time.sleep(1)


def print_watchers(idle: int, woken: int) -> None:
    """Watches by server-sent events, some on each HTTP/2 connection."""
    print("\n## Watches\n")
    rows = []
    for count in (woken, idle):
        server, ports = registries.start_portolan("registry-watch")
        registries.native(ports["ADMIN"]).fill("watched", registries.INSTANCES)
        time.sleep(SETTLE_SECONDS)
        empty = server.resident_bytes()
        rows.append([str(count), *_watch(server, ports["ADMIN"], count, empty)])
        server.stop()
    head = ["watches", "KiB each", "idle CPU %", "p50 ms", "p99 ms", "max ms"]
    print(figures.table(head, rows), flush=True)
    print(f"\nFrom sending a registration to the last watch having read it, {CHANGES} times: the")
    print("median of each. The one client reads all watches, on a core of its own.", flush=True)


def _watch(server: processes.Server, port: int, count: int, empty: int) -> list[str]:
    path = f"/v1/watch?service={registries.Name('watched', 0).service}"
    command = [parts.load_generator(), "watch", "--address", f"127.0.0.1:{port}", "--path", path]
    command += ["--connections", str(count // STREAMS), "--streams", str(STREAMS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    directory = peers.fresh(parts.RUN / "watchers")
    client = processes.Server("watchers", command, directory, {peers.LOAD_CORE}, **pipes)
    if _report(client)["reached"] != count:
        raise processes.ServerFailed("not every watch was told the state")
    time.sleep(SETTLE_SECONDS)
    held = server.resident_bytes() - empty
    before = server.cpu_seconds()
    time.sleep(SETTLE_SECONDS)
    idle_cpu = (server.cpu_seconds() - before) / SETTLE_SECONDS
    reports = []
    for number in range(CHANGES):
        client.process.stdin.write("again\n")
        client.process.stdin.flush()
        _change(port, registries.Name("watched", number % registries.INSTANCES), number)
        reports.append(_report(client))
    client.stop()
    milliseconds = [
        f"{figures.median_interval([r[key] for r in reports]).middle / 1e3:.1f}"
        for key in ("p50_us", "p99_us", "max_us")
    ]
    return [f"{held / count / 1024:.2f}", f"{idle_cpu * 100:.1f}", *milliseconds]


def _change(port: int, name: registries.Name, number: int) -> None:
    path = f"/v1/services/{name.service}/instances/{name.instance}"
    body = json.dumps({"metadata": {"number": str(number)}}).encode()
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PATCH")
    urllib.request.urlopen(request, timeout=60).close()


def _report(client: processes.Server) -> dict[str, float]:
    line = client.process.stdout.readline()
    if not line:
        raise processes.ServerFailed(f"watchers: {client.log.read_text()}")
    return json.loads(line)


def _is_there(port: int, path: str) -> bool:
    try:
        return bool(_get(port, path, {}))
    except OSError:
        return False


def _get(port: int, path: str, fields: dict[str, str]) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=fields)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()
