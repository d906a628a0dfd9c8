"""Portolan as a registry, and a fleet of backends to register there."""

import itertools
import json
import random
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

from benchmarks import parts, peers, processes

# Long enough that no lease runs out where the bench sends no heartbeats.
LONG_TTL = "1h"
SHORT_TTL = "30s"


class Refused(processes.ServerFailed):
    """The registry did not accept a write."""


class Connection:
    """A kept-alive HTTP/1.1 connection with as little in the way as possible."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        """Writes a request, without waiting for its answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), 10)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind = "Content-Type: application/json\r\n" if body else ""
        length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}{length}\r\n"
        self._socket.sendall(head.encode() + body)

    def receive(self) -> tuple[int, dict[str, str], bytes]:
        """Reads the answer: status, fields with small letters, body."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if fields.get("transfer-encoding") == "chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
        elif status not in (204, 304):
            while len(body) < int(fields.get("content-length", "0")):
                body += self._more()
        if fields.get("connection", "").lower() == "close":
            self.close()
        return status, fields, body

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        self.send(method, path, body)
        return self.receive()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _more(self) -> bytes:
        chunk = self._socket.recv(65536) if self._socket else b""
        if not chunk:
            self.close()
            raise processes.ServerFailed("a connection was closed instead of answered")
        return chunk


class Registry:
    """The native registry API."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)

    @staticmethod
    def path(service: str, instance: str) -> str:
        return f"/v1/services/{service}/instances/{instance}"

    @staticmethod
    def body(port: int, ttl: str = LONG_TTL) -> bytes:
        return json.dumps({"address": "127.0.0.1", "port": port, "ttl": ttl}).encode()

    def put(self, service: str, instance: str, port: int, ttl: str = LONG_TTL) -> None:
        self._write("PUT", self.path(service, instance), self.body(port, ttl))

    def heartbeat(self, service: str, instance: str) -> None:
        self._write("PUT", self.path(service, instance) + "/heartbeat")

    def delete(self, service: str, instance: str) -> None:
        self._write("DELETE", self.path(service, instance))

    def _write(self, method: str, path: str, body: bytes = b"") -> None:
        status, _, answer = self.connection.ask(method, path, body)
        check(status, method, path, answer)


def check(status: int, method: str, path: str, answer: bytes) -> None:
    if not 200 <= status < 300:
        raise Refused(f"{method} {path}: {status} {answer[:500].decode(errors='replace')}")


def start_portolan(workers: int = 1) -> peers.Proxy:
    """Portolan with its registry and automatic routes, nothing else configured."""
    directory = peers.fresh(parts.RUN / "portolan-registry")
    ports = {name: processes.free_port() for name in ("PLAIN", "ADMIN")}
    file = peers.fill("portolan-registry.yaml", directory, {"WORKERS": workers, **ports})
    command = [parts.portolan(), "run", "--config", file, "--data-dir", directory / "data"]
    server = processes.Server("portolan", command, directory, peers.proxy_cores(workers))
    for port in ports.values():
        server.wait_for_port(port)
    return peers.Proxy(peers.PEERS["portolan"], server, ports)


class Fleet:
    """Backends that open, stop and die by command; see benchmarks/load/src/fleet.rs."""

    def __init__(self) -> None:
        self.server = processes.Server(
            "fleet",
            [parts.load_generator(), "fleet"],
            peers.fresh(parts.RUN / "fleet"),
            {peers.LOAD_CORE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, instance: str) -> int:
        """Starts a backend; returns its port."""
        # The port is chosen here and not by the kernel, out of the ephemeral range.
        return int(self._command(f"open {instance} {processes.free_port()}"))

    def stop(self, instance: str) -> None:
        """Answers what was asked, then closes."""
        self._command(f"stop {instance}")

    def kill(self, instance: str) -> None:
        """Closes every socket at once."""
        self._command(f"kill {instance}")

    def _command(self, line: str) -> str:
        self.server.process.stdin.write(line + "\n")
        self.server.process.stdin.flush()
        word, _, fact = self.server.process.stdout.readline().strip().partition(" ")
        if word != "ok":
            raise processes.ServerFailed(f"fleet: {line}: {fact or 'it is gone'}")
        return fact


@dataclass
class Member:
    """A registered instance of the fleet."""

    service: str
    instance: str


class Population:
    """Services with a steady number of instances that keep being replaced."""

    def __init__(self, registry: Registry, fleet: Fleet, ttl: str, seed: int = 1) -> None:
        self.registry = registry
        self.fleet = fleet
        self.ttl = ttl
        self.members: list[Member] = []
        self.changes = 0
        # A gateway that answers a deregistration once it has let go needs none.
        self.grace_seconds = 0.0
        self._dice = random.Random(seed)
        self._numbers = itertools.count()

    def fill(self, services: list[str], instances: int) -> None:
        for service in services:
            for _ in range(instances):
                self.join(service)

    def join(self, service: str) -> None:
        instance = f"{service}-{next(self._numbers)}"
        self.registry.put(service, instance, self.fleet.open(instance), self.ttl)
        self.members.append(Member(service, instance))
        self.changes += 1

    def replace_by_drain(self, count: int) -> None:
        """Members of different services leave as a good program does: deregister, then stop."""
        for member in self.pick(count):
            self.registry.delete(member.service, member.instance)
            self.changes += 1
            time.sleep(self.grace_seconds)
            self.fleet.stop(member.instance)
            self.members.remove(member)
            self.join(member.service)

    def replace_by_kill(self, count: int, noticed_after: float) -> None:
        """Members die; somebody notices and deregisters them later."""
        picked = self.pick(count)
        for member in picked:
            self.fleet.kill(member.instance)
        time.sleep(noticed_after)
        for member in picked:
            self.registry.delete(member.service, member.instance)
            self.changes += 1
            self.members.remove(member)
            self.join(member.service)

    def pick(self, count: int) -> list[Member]:
        """Random members, no two of the same service."""
        shuffled = self._dice.sample(self.members, len(self.members))
        by_service = {member.service: member for member in shuffled}
        return list(by_service.values())[:count]

    def heartbeat(self) -> None:
        for member in self.members:
            self.registry.heartbeat(member.service, member.instance)

    def leave(self) -> None:
        """Everybody leaves."""
        for member in self.members:
            self.registry.delete(member.service, member.instance)
            self.fleet.stop(member.instance)
        self.members.clear()


class Traffic:
    """Our load generator in the background, every line of it kept."""

    def __init__(self, port: int, requests: list[str], rate: float, connections: int) -> None:
        parts.RUN.mkdir(parents=True, exist_ok=True)
        file = parts.RUN / "traffic.requests"
        file.write_text("\n".join(requests))
        options = ["--address", f"127.0.0.1:{port}", "--connections", str(connections)]
        options += ["--requests", str(file), "--rate", str(rate)]
        options += ["--seconds", "0", "--report-ms", "1000"]
        self._server = processes.Server(
            "traffic",
            [parts.load_generator(), "drive", *options],
            parts.RUN / "traffic",
            {peers.LOAD_CORE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.failures: list[dict] = []
        self.latest: dict = {}
        self.summary: dict = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        return self._server.is_alive()

    def finish(self) -> dict:
        """Stops sending, awaits the last answers, returns the summary."""
        if self.is_alive():
            self._server.process.stdin.close()
        self._reader.join(30)
        self._server.process.wait(30)
        self._server.stop()
        if not self.summary:
            raise processes.ServerFailed(f"load generator: {self._server.log.read_text()}")
        return self.summary

    def _read(self) -> None:
        for line in self._server.process.stdout:
            fact = json.loads(line)
            if "failure" in fact:
                self.failures.append(fact)
            elif "summary" in fact:
                self.summary = fact
            else:
                self.latest = fact


def print_failures(failures: list[dict], count: int = 5) -> None:
    """The first failures as they were, for whoever has to find the cause."""
    for failure in failures[:count]:
        answer = failure["answer"].replace("\r\n", " | ")[-300:]
        print(
            f"- {failure['method']} {failure['path']}: {failure['failure']}"
            f" after {failure['waited_us'] / 1000:.1f} ms {answer}"
        )
    if len(failures) > count:
        print(f"- and {len(failures) - count} more")
