"""The proxies: how each is configured, started and asked for its version.

Every configuration is a file of benchmarks/peers with @NAMES@ filled in; the filled-in files
stay in .parts/bench/NAME for reading.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import parts, processes

TEMPLATES = parts.ROOT / "benchmarks" / "peers"
# The proxy has this core for itself; load and backend share the other.
PROXY_CORE = 0
LOAD_CORE = 1


@dataclass(frozen=True)
class Peer:
    """A proxy of the table."""

    name: str
    files: tuple[str, ...]
    command: Callable[[Path, int], list[str | Path]]
    version: Callable[[], list[str | Path]]
    route: str
    environment: Callable[[int], dict[str, str]] = lambda _workers: {}


@dataclass
class Proxy:
    """A running proxy and its ports."""

    peer: Peer
    server: processes.Server
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.peer.name


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "nginx",
            ("nginx.conf",),
            lambda d, _: [parts.program("nginx"), "-p", d, "-c", d / "nginx.conf"],
            lambda: [parts.program("nginx"), "-v"],
            "    location /r@N@/ { proxy_pass http://backend; }",
        ),
        Peer(
            "haproxy",
            ("haproxy.cfg",),
            lambda d, _: [parts.program("haproxy"), "-db", "-q", "-f", d / "haproxy.cfg"],
            lambda: [parts.program("haproxy"), "-v"],
            "  use_backend backend if { path_beg /r@N@/ }",
        ),
        Peer(
            "envoy",
            ("envoy.yaml",),
            lambda d, workers: [
                *(parts.program("envoy"), "-c", d / "envoy.yaml", "--concurrency", str(workers)),
                *("-l", "error", "--use-dynamic-base-id"),
            ],
            lambda: [parts.program("envoy"), "--version"],
            '        {match: {prefix: "/r@N@/"}, route: {cluster: backend}},',
        ),
        Peer(
            "traefik",
            ("traefik.yaml", "traefik-routes.yaml"),
            lambda d, _: [parts.program("traefik"), f"--configFile={d}/traefik.yaml"],
            lambda: [parts.program("traefik"), "version"],
            '    r@N@: {rule: "PathPrefix(`/r@N@/`)", entryPoints: [web], service: backend}',
            lambda workers: {"GOMAXPROCS": str(workers)},
        ),
        Peer(
            "caddy",
            ("Caddyfile",),
            lambda d, _: [
                *(parts.program("caddy"), "run", "--config", d / "Caddyfile"),
                *("--adapter", "caddyfile"),
            ],
            lambda: [parts.program("caddy"), "version"],
            "\thandle /r@N@/* {\n\t\treverse_proxy 127.0.0.1:@BACKEND@\n\t}",
            lambda workers: {"GOMAXPROCS": str(workers)},
        ),
        Peer(
            "portolan",
            ("portolan.yaml",),
            lambda d, _: [
                *(parts.portolan(), "run", "--config", d / "portolan.yaml"),
                *("--data-dir", d / "data"),
            ],
            lambda: [parts.portolan(), "--version"],
            "  r@N@: {match: [{prefix: /r@N@}], targets: [{upstream: backend}]}",
        ),
    )
}


def chosen(names: str) -> list[Peer]:
    """The peers of a comma-separated list, in its order; `all` is every one."""
    wanted = list(PEERS) if names == "all" else names.split(",")
    unknown = set(wanted) - set(PEERS)
    if unknown:
        raise parts.MissingPart(f"unknown peer {', '.join(sorted(unknown))}; {', '.join(PEERS)}")
    for name in wanted:
        # Looks for the program now, not in the middle of a run.
        PEERS[name].version()
    return [PEERS[name] for name in wanted]


def version(peer: Peer) -> str:
    """The version number that the program says of itself."""
    run = subprocess.run(peer.version(), capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", run.stdout + run.stderr)
    return found.group() if found else "unknown"


def proxy_cores(workers: int) -> set[int]:
    return {PROXY_CORE} if workers == 1 else {PROXY_CORE, LOAD_CORE}


def start(peer: Peer, backend: dict[str, int], workers: int = 1, routes: int = 0) -> Proxy:
    """Starts a proxy before the backend's ports."""
    directory = fresh(parts.RUN / (peer.name if not routes else f"{peer.name}-{routes}-routes"))
    ports = {name: processes.free_port() for name in ("PLAIN", "TLS", "GRPC", "ADMIN")}
    values = {
        **ports,
        **backend,
        "DIR": directory,
        "WORKERS": workers,
        "REUSEPORT": " reuseport" if workers > 1 else "",
        **certificate(),
    }
    lines = [peer.route.replace("@N@", f"{number:05}") for number in range(routes)]
    for name in peer.files:
        fill(name, directory, {"ROUTES": "\n".join(lines), **values})
    command = peer.command(directory, workers)
    environment = peer.environment(workers) | {"HOME": str(directory)}
    server = processes.Server(peer.name, command, directory, proxy_cores(workers), environment)
    for name in ("PLAIN", "TLS", "GRPC"):
        server.wait_for_port(ports[name], 60.0)
    return Proxy(peer, server, ports)


def start_backend() -> tuple[processes.Server, dict[str, int]]:
    """The nginx that answers behind every proxy."""
    directory = fresh(parts.RUN / "backend")
    web = directory / "www"
    web.mkdir()
    (web / "100k").write_bytes(b"x" * 102400)
    (web / "reply.grpc").write_bytes(grpc_frame(b"\x0a\x40" + b"r" * 64))
    ports = {name: processes.free_port() for name in ("BACKEND", "GRPC_BACKEND")}
    fill("backend.conf", directory, {"DIR": directory, "KIBIBYTE": "x" * 1024, **ports})
    for readable in (parts.RUN, directory, web):
        readable.chmod(0o755)
    command = [parts.program("nginx"), "-p", directory, "-c", directory / "backend.conf"]
    server = processes.Server("backend", command, directory, {LOAD_CORE})
    for port in ports.values():
        server.wait_for_port(port)
    return server, ports


def grpc_frame(message: bytes) -> bytes:
    """An uncompressed length-prefixed message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def certificate() -> dict[str, Path]:
    """A self-made ECDSA P-256 certificate, made once."""
    directory = parts.RUN / "certificate"
    cert, key, bundle = (directory / name for name in ("cert.pem", "key.pem", "bundle.pem"))
    if not bundle.exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                *(parts.program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "3650"),
                *("-subj", "/CN=localhost", "-keyout", key, "-out", cert),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
        bundle.write_bytes(cert.read_bytes() + key.read_bytes())
    return {"CERT": cert, "KEY": key, "BUNDLE": bundle}


def negotiated_tls(port: int) -> str:
    """Protocol and cipher that OpenSSL's client agrees on with a listener."""
    run = subprocess.run(
        [parts.program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}"],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    for line in run.stdout.splitlines():
        if line.startswith("New, "):
            return line.removeprefix("New, ").replace(", Cipher is", "")
    return "no handshake"


def fill(name: str, directory: Path, values: dict[str, object]) -> Path:
    """Writes a template into a directory, with its names filled in."""
    text = (TEMPLATES / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = directory / name
    path.write_text(text)
    return path


def fresh(directory: Path) -> Path:
    """An empty directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
