"""The registries of ./bench registry: how each is started, and what its clients ask of it.

An operation of one that speaks HTTP/1.1 is a list of requests for our load generator. The others
have clients of their own in benchmarks/drivers, which print the same summary.
"""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import loads, parts, peers, processes

CONNECTIONS = 64
FSYNC = "every one, after fsync"
# Registered once for the heartbeats, and asked for: services of ten instances.
LEASES = 1_000
INSTANCES = 10
# No round registers more than so many.
REGISTRATIONS_MAX = 60_000
JSON = "Content-Type: application/json"

OPERATIONS = {
    "register": "a registration, answered when it is durable where the registry has that",
    "heartbeat": "a heartbeat of one instance",
    "query": f"a list of one service with {INSTANCES} instances",
}


@dataclass(frozen=True)
class Name:
    """An instance by number: ten make a service."""

    family: str
    number: int

    @property
    def service(self) -> str:
        return f"{self.family}-{self.number // INSTANCES}"

    @property
    def instance(self) -> str:
        return f"{self.family}-i{self.number}"

    @property
    def port(self) -> int:
        return 10_000 + self.number % 50_000


@dataclass
class Registry:
    """A running registry as one of its protocols shows it."""

    title: str
    server: processes.Server
    version: str
    run: Callable[[str, str, float], loads.Load]
    """What came of one operation, in a family of instances, for so many seconds."""
    durable: str = ""
    """Whether a registration outlives the process."""
    operations: tuple[str, ...] = tuple(OPERATIONS)
    ports: dict[str, int] = field(default_factory=dict)


class Requests:
    """Operations that are HTTP/1.1 requests."""

    def __init__(self, port: int, lines: dict[str, Callable[[Name], str]]) -> None:
        self._port = port
        self._lines = lines

    def run(self, operation: str, family: str, seconds: float) -> loads.Load:
        if operation == "fill":
            return self.fill(family, LEASES)
        count = REGISTRATIONS_MAX if operation == "register" else LEASES
        return self._send(operation, [Name(family, number) for number in range(count)], seconds)

    def fill(self, family: str, count: int) -> loads.Load:
        """Registers so many, and no more."""
        return self._send("register", [Name(family, number) for number in range(count)], 0)

    def _send(self, operation: str, names: list[Name], seconds: float) -> loads.Load:
        write = self._lines[operation]
        file = parts.RUN / "requests"
        file.write_text("\n".join(map(write, names)))
        bound = ["--count", str(len(names))] if operation == "register" else []
        lines = loads.drive(
            *("--address", f"127.0.0.1:{self._port}", "--requests", str(file)),
            *("--connections", str(CONNECTIONS), "--seconds", str(seconds), *bound),
            cores={peers.LOAD_CORE},
        )
        summary = lines[-1]
        failed = summary["failed_idempotent"] + summary["failed_other"]
        if failed > summary["answered"]:
            raise processes.ServerFailed(f"{operation}: {lines[0]}")
        return loads.Load(summary["answered"], failed, summary["elapsed_s"])


def native(port: int) -> Requests:
    def path(name: Name) -> str:
        return f"/v1/services/{name.service}/instances/{name.instance}"

    def register(name: Name) -> str:
        return f"PUT {path(name)}\t{JSON}\t=" + json.dumps(
            {"address": "127.0.0.1", "port": name.port, "ttl": "1h"}
        )

    return Requests(
        port,
        {
            "register": register,
            "heartbeat": lambda name: f"PUT {path(name)}/heartbeat",
            "query": lambda name: f"GET /v1/services/{name.service}/instances",
        },
    )


def eureka(port: int) -> Requests:
    def register(name: Name) -> str:
        body = {
            "instance": {
                "instanceId": name.instance,
                "hostName": "127.0.0.1",
                "ipAddr": "127.0.0.1",
                "app": name.service.upper(),
                "vipAddress": name.service,
                "status": "UP",
                "port": {"$": name.port, "@enabled": "true"},
                "leaseInfo": {"renewalIntervalInSecs": 1800, "durationInSecs": 3600},
                "dataCenterInfo": {
                    "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                    "name": "MyOwn",
                },
            }
        }
        return f"POST /eureka/apps/{name.service.upper()}\t{JSON}\t={json.dumps(body)}"

    return Requests(
        port,
        {
            "register": register,
            "heartbeat": lambda n: f"PUT /eureka/apps/{n.service.upper()}/{n.instance}?status=UP",
            "query": lambda n: f"GET /eureka/apps/{n.service.upper()}\tAccept: application/json",
        },
    )


def consul(port: int) -> Requests:
    def register(name: Name) -> str:
        check = {"TTL": "1h", "Status": "passing"}
        body = {"ID": name.instance, "Name": name.service, "Port": name.port, "Check": check}
        return f"PUT /v1/agent/service/register\t{JSON}\t={json.dumps(body)}"

    return Requests(
        port,
        {
            "register": register,
            "heartbeat": lambda name: f"PUT /v1/agent/check/pass/service:{name.instance}",
            "query": lambda name: f"GET /v1/health/service/{name.service}?passing",
        },
    )


PORTOLAN_PORTS = ("PLAIN", "ADMIN", "EUREKA", "CONSUL")


def start_portolan(name: str = "portolan-store") -> tuple[processes.Server, dict[str, int]]:
    """Portolan as it is shipped: the store on disk, every front open."""
    directory = peers.fresh(parts.RUN / name)
    return restart_portolan(directory)


def restart_portolan(directory: Path) -> tuple[processes.Server, dict[str, int]]:
    """The same, over what an earlier one has stored."""
    ports = {name: processes.free_port() for name in PORTOLAN_PORTS}
    file = peers.fill("portolan-fronts.yaml", directory, ports)
    command = [parts.portolan(), "run", "--config", file, "--data-dir", directory / "data"]
    server = processes.Server("portolan", command, directory, {peers.PROXY_CORE})
    for port in ports.values():
        server.wait_for_port(port)
    return server, ports


def start_fronts() -> list[Registry]:
    """Portolan once for each of its protocols; one process serves them all."""
    server, ports = start_portolan("registry")
    version = peers.version(peers.PEERS["portolan"])
    fronts = (
        ("Portolan, native", native, "ADMIN"),
        ("Portolan, Eureka's API", eureka, "EUREKA"),
        ("Portolan, Consul's API", consul, "CONSUL"),
    )
    return [
        Registry(title, server, version, speak(ports[port]).run, FSYNC, ports=ports)
        for title, speak, port in fronts
    ]


def start_etcd() -> list[Registry]:
    directory = peers.fresh(parts.RUN / "etcd")
    client, peer = processes.free_port(), processes.free_port()
    here, there = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    command = [
        *(parts.program("etcd"), "--name", "a", "--data-dir", directory / "data"),
        *("--listen-client-urls", here, "--advertise-client-urls", here),
        *("--listen-peer-urls", there, "--initial-advertise-peer-urls", there),
        *("--initial-cluster", f"a={there}", "--log-level", "error"),
    ]
    server = processes.Server("etcd", command, directory, {peers.PROXY_CORE}, {"GOMAXPROCS": "1"})
    server.wait_for_port(client)
    version = _said([parts.program("etcd"), "--version"])
    run, ports = partial(_driver, "etcd.py", client), {"CLIENT": client}
    return [Registry("etcd, gRPC", server, version, run, FSYNC, ports=ports)]


def start_zookeeper() -> list[Registry]:
    directory = peers.fresh(parts.RUN / "zookeeper")
    port = processes.free_port()
    (directory / "zoo.cfg").write_text(
        f"tickTime=2000\ndataDir={directory}/data\nclientPort={port}\n"
        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n"
        "maxSessionTimeout=3600000\n"
    )
    (directory / "log4j.properties").write_text("log4j.rootLogger=OFF\n")
    jars = parts.zookeeper_jars()
    command = [
        *(parts.program("java"), "-Xmx512m", "-cp", f"{directory}:{jars}"),
        *("org.apache.zookeeper.server.quorum.QuorumPeerMain", directory / "zoo.cfg"),
    ]
    server = processes.Server("zookeeper", command, directory, {peers.PROXY_CORE})
    server.wait_for_port(port, 60)
    run = partial(_driver, "zookeeper.py", port)
    return [Registry("ZooKeeper", server, parts.zookeeper_version(), run, FSYNC)]


def start_spring() -> list[Registry]:
    directory = peers.fresh(parts.RUN / "spring-eureka")
    port = processes.free_port()
    command = [
        *(parts.program("java"), "-Xmx768m", "-jar", parts.spring_eureka()),
        *(f"--server.port={port}", "--server.address=127.0.0.1", "--logging.level.root=OFF"),
        "--eureka.instance.hostname=127.0.0.1",
    ]
    server = processes.Server("spring-eureka", command, directory, {peers.PROXY_CORE})
    server.wait_for_port(port, 120)
    run = eureka(port).run
    ports = {"EUREKA": port}
    return [Registry("Spring Cloud Eureka", server, parts.SPRING_CLOUD, run, "no", ports=ports)]


REGISTRIES: dict[str, Callable[[], list[Registry]]] = {
    "portolan": start_fronts,
    "etcd": start_etcd,
    "zookeeper": start_zookeeper,
    "spring-eureka": start_spring,
}


def _driver(script: str, port: int, operation: str, family: str, seconds: float) -> loads.Load:
    """Runs a client of a protocol that is not HTTP/1.1."""
    command = [parts.python_with("kazoo", "grpcio"), parts.ROOT / "benchmarks/drivers" / script]
    done = subprocess.run(
        [str(word) for word in (*command, port, operation, family, seconds)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=processes.pinned({peers.LOAD_CORE}),
    )
    if done.returncode != 0:
        raise processes.ServerFailed(f"{script} {operation}: {done.stderr[-2000:]}")
    summary = json.loads(done.stdout)
    return loads.Load(summary["answered"], summary["failed"], summary["elapsed_s"])


def _said(command: list[str | Path]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (run.stdout + run.stderr).split()
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")
