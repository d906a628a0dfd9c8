"""A gateway that clients of Consul speak to."""

import http.client
import json

import consul

from .gateway import config
from .ports import free_port


class Agent:
    """A gateway with Consul's API on a port of its own."""

    def __init__(self, start, folder: str = "gateway", checks=None, **parts) -> None:
        self.port = free_port()
        registry = {"consul": {"address": f"127.0.0.1:{self.port}"}} | ({"checks": checks} if checks else {})
        self._start = lambda: start(config(registry=registry, **parts), folder=folder)
        self.restart()

    def restart(self) -> None:
        """Starts it, anew where it has ended: with the same data."""
        self.gateway = self._start()
        self.client = consul.Consul(port=self.port)

    def call(self, method: str, path: str, body=None) -> tuple[int, dict, str]:
        """Asks; gives status, headers with lower-case names, and the text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read().decode()
        finally:
            connection.close()

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Sends and gives bytes as they are; fails with what is said unless it is done."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, f"{answer.status} {said.decode(errors='replace')}"
            return said
        finally:
            connection.close()

    def passing(self, service: str) -> list[str]:
        """The ids of a service's instances whose checks all pass."""
        _, entries = self.client.health.service(service, passing=True)
        return sorted(entry["Service"]["ID"] for entry in entries)
