"""What sources said outlives the process: it starts and serves with every source down."""

import json

import pytest

from harness.gateway import config
from harness.origin import told
from harness.waiting import until
from harness.wire import get


def services(*origins) -> str:
    instances = [{"address": "127.0.0.1", "port": origin.port, "id": f"i{n}"} for n, origin in enumerate(origins)]
    return json.dumps({"services": {"orders": {"instances": instances}}})


def routed(file) -> dict:
    return config(
        sources={"edge": {"file": {"path": str(file), "poll": "1s"}}},
        routes={"all": {"target": "orders"}},
        upstreams={"orders": {"service": "orders"}},
    )


def instances(gateway) -> list[dict]:
    status, body = gateway.admin("GET", "/v1/services/orders/instances")
    return body["instances"] if status == 200 else []


def state_of(gateway) -> str:
    sources = gateway.admin("GET", "/v1/sources")[1]["sources"]
    return next(source["state"] for source in sources if source["id"] == "file:edge")


def is_stored(gateway, word: bytes) -> bool:
    return word in (gateway.folder / "data" / "portolan.redb").read_bytes()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_gateway_starts_and_serves_while_its_source_is_away(start, origin, tmp_path, end):
    one, two = origin("one"), origin("two")
    file = tmp_path / "services.json"
    file.write_text(services(one))
    gateway = start(routed(file))
    assert told(get(gateway.port()))["origin"] == "one"
    if end == "kill":
        # It is written once a second, off the path of changes, and when the program ends.
        until(lambda: is_stored(gateway, b"said:file:edge"), "the instance in the store")
    getattr(gateway, end)()
    file.unlink()
    again = start(routed(file))
    assert told(get(again.port()))["origin"] == "one"
    assert state_of(again) == "stale"
    assert [instance["stale"] for instance in instances(again)] == [True]
    file.write_text(services(two))
    until(lambda: state_of(again) == "current", "the source to be back")
    # The file is the word of its author: what it does not name is gone at once.
    assert [instance["id"] for instance in instances(again)] == ["i0"]
    assert told(get(again.port()))["origin"] == "two"


def test_what_a_source_took_back_is_not_remembered(start, origin, tmp_path):
    one, two, three = origin("one"), origin("two"), origin("three")
    file = tmp_path / "services.json"
    file.write_text(services(one, two))
    gateway = start(routed(file))
    until(lambda: is_stored(gateway, b"said:file:edge"), "the instances in the store")
    file.write_text(services(one))
    until(lambda: len(instances(gateway)) == 1, "one instance")
    file.write_text(services(three))
    until(lambda: told(get(gateway.port()))["origin"] == "three", "the third")
    # What was said last is written before the program ends.
    gateway.stop()
    file.unlink()
    again = start(routed(file))
    assert [instance["id"] for instance in instances(again)] == ["i0"]
    assert told(get(again.port()))["origin"] == "three"


def test_an_upgrade_while_the_source_is_away_keeps_what_it_said(start, origin, tmp_path):
    one = origin("one")
    file = tmp_path / "services.json"
    file.write_text(services(one))
    gateway = start(routed(file))
    until(lambda: instances(gateway), "the instance")
    file.unlink()
    until(lambda: state_of(gateway) == "stale", "the source to be stale")
    successor = start(gateway.settings, "--take-over")
    until(lambda: not gateway.is_running(), "the end of the predecessor", seconds=30)
    assert told(get(successor.port()))["origin"] == "one"
