"""Registries over TLS: the server is verified, shows who it is, and asks the same of Portolan."""

import json
import re

import pytest
from kazoo.client import KazooClient

from conftest import Authority
from harness.gateway import config
from harness.nacos import Nacos
from harness.ports import free_port
from harness.relay import Relay
from harness.waiting import until
from harness.wire import get
from harness.zookeeper import Zookeeper


class Far:
    """Starts registries with one instance of `orders`; each gives the settings of a source that reads it."""

    def __init__(self, start, programs, folder, parts, authority, backend: int) -> None:
        self._start, self._programs, self._folder, self._parts = start, programs, folder, parts
        self._authority, self._backend = authority, backend
        self.relays: list[Relay] = []

    def _secure(self, port: int, *protocols: str) -> int:
        """A port that speaks TLS, wants a certificate, and passes on to that one."""
        context = self._authority.server("127.0.0.1", verify=True)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self.relays.append(Relay(port, context))
        return self.relays[-1].port

    def _portolan(self, **parts):
        gateway = self._start(config(**parts), folder="far")
        gateway.register("orders", "a", self._backend, ttl="10m")
        return gateway

    def _front(self, name: str) -> int:
        """A front of ours that speaks TLS itself."""
        port = free_port()
        tls = {"certificates": [self._authority.issue("127.0.0.1")], "client_ca": str(self._authority.file)}
        self._portolan(registry={name: {"address": f"127.0.0.1:{port}", "tls": tls}})
        return port

    def consul(self) -> dict:
        # Over HTTP/2, which both speak.
        return {"url": f"https://127.0.0.1:{self._front('consul')}", "wait": "5s"}

    def consul_of_http1(self) -> dict:
        port = free_port()
        self._portolan(registry={"consul": {"address": f"127.0.0.1:{port}"}})
        return {"url": f"https://127.0.0.1:{self._secure(port)}", "wait": "5s"}

    def eureka(self) -> dict:
        return {"url": f"https://127.0.0.1:{self._front('eureka')}/eureka", "interval": "200ms"}

    def portolan(self) -> dict:
        return {"url": f"https://127.0.0.1:{self._secure(self._portolan().admin_port)}"}

    def http(self) -> dict:
        gateway = self._portolan()
        port = self._secure(gateway.admin_port)
        return {
            "url": f"https://127.0.0.1:{port}/v1/services/orders/instances", "interval": "200ms",
            "items": "document.instances", "service": "orders",
            "map": {"address": '"127.0.0.1"', "port": str(self._backend)},
        }

    def _nacos(self) -> Nacos:
        server = Nacos(self._folder / "nacos", self._parts / "bin" / "rnacos")
        self._programs(server).wait_ready().register("orders", self._backend)
        return server

    def nacos(self) -> dict:
        server = self._nacos()
        return {
            "url": f"https://127.0.0.1:{self._secure(server.port)}",
            "grpc_port": self._secure(server.grpc_port, "h2"), "refresh": "500ms",
        }

    def nacos_by_http(self) -> dict:
        server = self._nacos()
        return {"url": f"https://127.0.0.1:{self._secure(server.port)}", "protocol": "http", "refresh": "500ms"}

    def zookeeper(self) -> dict:
        server = self._programs(Zookeeper(self._folder / "zookeeper")).wait_ready()
        writer = KazooClient(server.address, timeout=4)
        writer.start(20)
        node = {"name": "orders", "id": "a", "address": "127.0.0.1", "port": self._backend, "payload": {}}
        writer.create("/services/orders/a", json.dumps(node).encode(), makepath=True)
        writer.stop()
        writer.close()
        port = self._secure(int(server.address.rpartition(":")[2]))
        return {"servers": [f"127.0.0.1:{port}"], "layout": "curator", "base": "/services"}


@pytest.fixture
def far(start, programs, tmp_path, parts, authority, origin):
    far = Far(start, programs, tmp_path, parts, authority, origin().port)
    yield far
    for relay in far.relays:
        relay.close()


@pytest.mark.parametrize(
    "registry",
    ["consul", "consul_of_http1", "eureka", "portolan", "http", "nacos", "nacos_by_http", "zookeeper"],
)
def test_who_answers_is_verified_and_who_asks_shows_a_certificate(far, start, authority, tmp_path, registry):
    source = getattr(far, registry)()
    kind = registry.partition("_")[0]
    (tmp_path / "strangers").mkdir()
    strangers = Authority(tmp_path / "strangers")
    mine = authority.issue("portolan.test", file="portolan")
    settings = {
        "good": mine | {"ca": str(authority.file)},
        "wrong": mine | {"ca": str(strangers.file)},
        "bare": {"ca": str(authority.file)},
    }
    sources = {name: {kind: source | {"tls": tls}} for name, tls in settings.items()}
    near = start(config(sources=sources), folder="near")

    def reason(name: str) -> str:
        _, answer = near.admin("GET", "/v1/sources")
        found = next(found for found in answer["sources"] if found["id"] == f"{kind}:{name}")
        return found.get("stale", {}).get("reason", "")

    until(lambda: get(near.port(), "/orders/").status == 200, "the instance to be routed to", 30)
    ports = set(re.findall(r"127\.0\.0\.1:(\d+)", str(source))) | {str(source.get("grpc_port"))}
    refusals = {"wrong": "authority that is not trusted; name it in the source's `tls.ca`",
                "bare": "the server wants a client certificate; name one in the source's `tls`"}
    if registry == "nacos":
        # h2 hands on an error's words alone.
        refusals["bare"] = "received fatal alert: CertificateRequired"
    for name, words in refusals.items():
        until(lambda: words in reason(name), f"{name} to be refused, not {reason(name)}", 30)
        print(f"\n{registry}, {name}: {reason(name)}")
        told = set(re.findall(r"127\.0\.0\.1:(\d+)", reason(name)))
        assert told and told <= ports, "it says who refused, or was refused"
    assert not reason("good"), reason("good")
