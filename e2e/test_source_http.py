"""Any JSON that a server answers is read by expressions."""

import json
import time

from harness.gateway import config
from harness.origin import told
from harness.traffic import Load
from harness.waiting import until
from harness.wire import get


def reply(body, tag: str, status: str = "200 OK") -> bytes:
    text = json.dumps(body)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\netag: \"{tag}\"\r\n\r\n{text}".encode()


class Inventory:
    """A server with a document, which says 304 to whoever has it."""

    def __init__(self, origin) -> None:
        self.document, self.version, self.failure = {"hosts": []}, 0, None
        self.unchanged = 0
        self.server = origin("inventory", handler=self._answer)

    def _answer(self, seen, _connection) -> bytes:
        if self.failure:
            return reply({}, "x", self.failure)
        if seen["if-none-match"] == f'"{self.version}"':
            self.unchanged += 1
            return b"HTTP/1.1 304 Not Modified\r\n\r\n"
        return reply(self.document, str(self.version))

    def put(self, *hosts) -> None:
        self.document, self.version = {"hosts": list(hosts)}, self.version + 1


def host(role: str, backend) -> dict:
    return {"role": role, "ip": "127.0.0.1", "port": backend.port}


def reading(start, inventory: Inventory):
    return start(config(sources={"inventory": {"http": {
        "url": f"http://127.0.0.1:{inventory.server.port}/hosts.json",
        "interval": "100ms",
        "items": "document.hosts",
        "map": {"service": "item.role", "address": "item.ip"},
    }}}))


def test_a_document_becomes_services_and_is_followed(start, origin):
    inventory = Inventory(origin)
    one, two = origin("one"), origin("two")
    inventory.put(host("orders", one))
    gateway = reading(start, inventory)
    until(lambda: get(gateway.port(), "/orders/").status == 200, "the document's service")
    assert told(get(gateway.port(), "/orders/"))["origin"] == "one"
    until(lambda: inventory.unchanged > 3, "it to be asked for only if it changed")
    began = time.monotonic()
    inventory.put(host("orders", one), host("users", two))
    until(lambda: get(gateway.port(), "/users/").status == 200, "the new service")
    print(f"\nhttp: change to routable in {(time.monotonic() - began) * 1000:.0f} ms, asked every 100 ms")


def test_a_failure_keeps_what_was_known(start, origin):
    inventory = Inventory(origin)
    inventory.put(host("orders", origin("one")))
    gateway = reading(start, inventory)
    until(lambda: get(gateway.port(), "/orders/").status == 200, "the document's service")

    def stale() -> str:
        _, answer = gateway.admin("GET", "/v1/sources")
        source = next(found for found in answer["sources"] if found["id"] == "http:inventory")
        return source.get("stale", {}).get("reason", "")

    with Load(gateway.port(), "/orders/") as load:
        inventory.failure = "500 Internal Server Error"
        until(lambda: "500" in stale(), "the source to be stale")
        load.goes_on()
        inventory.failure = None
        until(lambda: not stale(), "the source to be back")
        inventory.document, inventory.version = {"hosts": {"not": "a list"}}, 99
        until(lambda: "not to a list" in stale(), "it to say what is wrong")
        load.goes_on()
        # An empty list is not believed at once: the last of a service is held by the guard.
        inventory.put()
        until(lambda: not stale(), "the source to be back")
        load.goes_on()
