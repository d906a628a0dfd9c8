"""A gateway with Consul's API, and py-consul as its client."""

import http.client
import json

import consul

from .gateway import config
from .ports import free_port


class Agent:
    """A gateway with Consul's API on a port of its own."""

    def __init__(self, start, folder: str = "gateway", **parts) -> None:
        self.port = free_port()
        registry = {"consul": {"address": f"127.0.0.1:{self.port}"}}
        self.gateway = start(config(registry=registry, **parts), folder=folder)
        self.client = consul.Consul(port=self.port)

    def call(self, method: str, path: str, body=None) -> tuple[int, dict, str]:
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
        _, entries = self.client.health.service(service, passing=True)
        return sorted(entry["Service"]["ID"] for entry in entries)
