"""Eureka's protocol, and programs that speak it by a client library."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from .gateway import ROOT, config
from .ports import free_port

CLIENTS = ROOT / "e2e" / "clients"


class Server:
    """A gateway with Eureka's protocol on a port of its own."""

    def __init__(self, start, **parts) -> None:
        self.port = free_port()
        registry = {"eureka": {"address": f"127.0.0.1:{self.port}"}}
        self._start = start
        self.gateway = start(config(registry=registry, **parts))

    def begin_anew(self) -> None:
        """Ends it without a chance to say goodbye, and starts it without its data."""
        self.gateway.kill()
        self.gateway = self._start(self.gateway.settings, folder="anew")

    def call(self, method: str, path: str, body=None, **fields: str) -> tuple[int, dict, bytes]:
        """Asks under /eureka; gives status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            fields = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request(method, f"/eureka/{path}", data, fields)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def status(self, method: str, path: str, body=None, **fields: str) -> int:
        return self.call(method, path, body, **fields)[0]

    def json(self, path: str) -> dict:
        status, _, body = self.call("GET", path, accept="application/json")
        assert status == 200, (path, status, body)
        return json.loads(body)

    def register(self, app: str, instance: str, port: int, **besides) -> int:
        info = {
            "instanceId": instance, "hostName": "localhost", "app": app, "ipAddr": "127.0.0.1",
            "port": {"$": port, "@enabled": "true"}, "vipAddress": app.lower(),
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn",
            },
            "lastDirtyTimestamp": "1000",
        } | besides
        return self.status("POST", f"apps/{app}", {"instance": info}, content_type="application/json")

    def shown(self, app: str, instance: str) -> dict:
        return self.json(f"apps/{app}/{instance}")["instance"]


def hash_of(instances) -> str:
    """The hash as a client computes it."""
    counts = Counter(instance["status"] for instance in instances)
    return "".join(f"{status}_{count}_" for status, count in sorted(counts.items()))


def all_of(applications: dict) -> list:
    listed = applications["applications"]["application"]
    return [instance for app in listed for instance in app["instance"]]


class Client:
    """A program that speaks by a client library, and the lines that it says."""

    def __init__(self, command: list, environment: dict) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
        )
        self.said: list[dict] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("{"):
                self.said.append(json.loads(line))

    def has_said(self, event: str, after: int = 0, **facts) -> bool:
        wanted = {"event": event} | facts
        return any(wanted.items() <= said.items() for said in self.said[after:])

    def leave(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(10) == 0, self.said
        self._reader.join(5)
        assert self.has_said("stopped", error=None), self.said

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(5)


# What the packages for Node are called, and what ids of instances end in.
PACKAGES = {"js": "eureka-js-client", "rocket": "@rocketsoftware/eureka-js-client"}
JAVA = {"netflix": "clients.Netflix", "spring": "clients.Spring"}
LIBRARIES = [*PACKAGES, "py", *JAVA]


def program_of(library: str, parts: Path, *arguments) -> list[str]:
    """How a program is started that speaks by this library."""
    texts = [str(argument) for argument in arguments]
    if library in PACKAGES:
        return ["node", str(CLIENTS / "eureka.js"), *texts, PACKAGES[library], library]
    if library in JAVA:
        work = parts / "java" / "work" / "target"
        path = f"{work / 'classes'}:{work / 'dependency'}/*"
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]
        return ["java", *options, "-cp", path, JAVA[library], *texts]
    return [sys.executable, str(CLIENTS / "eureka.py"), *texts]
