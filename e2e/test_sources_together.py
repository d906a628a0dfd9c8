"""Five sources at once feed one service, and one of them lies."""

import json

import pytest

from harness.etcd import Etcd, address
from harness.federation import Site
from harness.gateway import command, config
from harness.origin import told
from harness.traffic import Load
from harness.waiting import until
from harness.wire import Client

NAMES = {"file", "consul", "eureka", "etcd", "http"}


@pytest.fixture
def world(start, origin, tmp_path, programs):
    """Five registries that know one instance each, and a gateway that reads them all."""
    return World(start, origin, tmp_path, programs)


class World:
    def __init__(self, start, origin, tmp_path, programs) -> None:
        self.origins = {name: origin(name) for name in NAMES}
        self.file = tmp_path / "services.json"
        self.file.write_text(json.dumps({"services": {"orders": {"instances": [self.item("file")]}}}))
        self.document = [self.item("http") | {"service": "orders"}]
        self.server = origin("inventory", handler=self._answer)
        self.etcd = programs(Etcd(tmp_path / "etcd")).wait_ready()
        self.etcd.put("services/orders/etcd", address(self.origins["etcd"]))
        self.sites = {name: Site(start, name) for name in ("consul", "eureka")}
        for name, site in self.sites.items():
            site.gateway.register("orders", name, self.origins[name].port, ttl="10m")
        self.gateway = start(config(sources=self.sources()))

    def item(self, name: str) -> dict:
        return {"id": name, "address": "127.0.0.1", "port": self.origins[name].port}

    def sources(self) -> dict:
        return {
            "local": {"file": {"path": str(self.file), "poll": "1s"}},
            "east": self.sites["consul"].source("consul"),
            "west": self.sites["eureka"].source("eureka"),
            "store": {"etcd": {"url": self.etcd.url, "prefix": "services"}},
            "list": {"http": {"url": f"http://127.0.0.1:{self.server.port}/", "interval": "100ms"}},
        }

    def answering(self) -> set[str]:
        with Client(self.gateway.port()) as client:
            answers = [client.request("GET", "/orders/", host="a.test") for _ in range(60)]
        return {told(answer)["origin"] for answer in answers if answer.status == 200}

    def source(self, name: str) -> dict:
        _, answer = self.gateway.admin("GET", "/v1/sources")
        return next(source for source in answer["sources"] if source["id"] == name)

    def _answer(self, _seen, _connection) -> bytes:
        text = json.dumps(self.document)
        return f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()


def test_one_service_of_five_sources_survives_a_liar_and_every_loss(world):
    until(lambda: world.answering() == NAMES, "all five to answer", 30)
    _, answer = world.gateway.admin("GET", "/v1/services/orders/instances")
    assert {instance["source"].split(":")[0] for instance in answer["instances"]} == NAMES
    with Load(world.gateway.port(), "/orders/", NAMES) as load:
        world.document = []
        until(lambda: world.source("http:list")["held"] == 1, "the guard to hold what the liar took back")
        # It has a tenth of its share meanwhile.
        until(lambda: "http" in world.answering(), "what is held to answer still", 30)
        for site in world.sites.values():
            site.gateway.kill()
        world.etcd.kill()
        world.file.unlink()
        for name in ("consul:east", "eureka:west", "etcd:store", "file:local"):
            until(lambda name=name: world.source(name)["state"] == "stale", f"{name} to be stale", 30)
        until(lambda: world.answering() == NAMES, "all five to answer still", 60)
    load.check("five sources, one lying, four lost")


def test_the_command_shows_the_sources_in_plain_words(world, tmp_path):
    until(lambda: world.answering() == NAMES, "all five to answer", 30)
    contact = ("--admin", f"http://127.0.0.1:{world.gateway.admin_port}")
    code, table, errors = command("sources", *contact, folder=tmp_path)
    assert code == 0, (table, errors)
    assert table.splitlines()[0].split()[:2] == ["SOURCE", "STATE"]
    assert "etcd:store" in table
    world.etcd.kill()
    until(lambda: world.source("etcd:store")["state"] == "stale", "etcd to be stale", 30)
    code, table, _ = command("sources", *contact, folder=tmp_path)
    assert code == 1
    assert "etcd:store: stale since" in table, table
    code, text, _ = command("sources", "--json", *contact, folder=tmp_path)
    assert len(json.loads(text)["sources"]) == 7
    assert command("sources", "--admin", "http://127.0.0.1:1", folder=tmp_path)[0] == 2
    metrics = world.gateway.metrics()
    assert metrics["portolan_source_stale{source=etcd:store}"] == 1
    assert metrics["portolan_source_instances{source=file:local}"] == 1


def test_ids_that_two_sources_claim_are_shown_as_conflicts(start, origin, tmp_path):
    one, two = origin("one"), origin("two")
    files = []
    for name, backend in (("first", one), ("second", two)):
        file = tmp_path / f"{name}.json"
        instance = {"id": "same", "address": "127.0.0.1", "port": backend.port}
        file.write_text(json.dumps({"services": {"orders": {"instances": [instance]}}}))
        files.append((name, {"file": {"path": str(file)}}))
    gateway = start(config(sources=dict(files)))
    _, answer = gateway.admin("GET", "/v1/services/orders")
    assert answer["conflicts"] == [{"id": "same", "winner": "file:first", "losers": ["file:second"]}]
