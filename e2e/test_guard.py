"""Many instances fall silent at once, and are served all the same."""

import time

from harness.gateway import config
from harness.origin import told
from harness.waiting import until
from harness.wire import get


def guarded(start, parts=None, **guard):
    """A gateway whose holds outlast the test."""
    return start(config(guard={"hold": "60s"} | guard, **(parts or {})))


def holds(gateway) -> dict:
    """Every hold by the instance's id."""
    status, guard = gateway.admin("GET", "/v1/guard")
    assert status == 200, guard
    return {hold["id"]: hold for hold in guard["holds"]}


def ids(gateway, service="orders") -> set:
    status, answer = gateway.admin("GET", f"/v1/services/{service}/instances")
    assert status == 200, answer
    return {instance["id"] for instance in answer["instances"]}


def fall_silent(gateway, origin, count: int, **more) -> int:
    """So many instances that register once and then say nothing; the answer is how many stay."""
    for number in range(count):
        gateway.register("orders", f"i{number:02}", origin("orders").port, ttl="1s", **more)
    allowed = max(1, count * 15 // 100)
    until(lambda: len(holds(gateway)) == count - allowed, "all leases to end", 30)
    return count - allowed


def test_many_that_fall_silent_at_once_are_served(start, origin):
    gateway = guarded(start)
    kept = fall_silent(gateway, origin, 20, zone="eu-1")
    assert len(ids(gateway)) == kept
    for _ in range(20):
        assert get(gateway.port(), "/orders/").status == 200
    hold = next(iter(holds(gateway).values()))
    assert hold["scope"] == "service" and hold["absence"] == "silent", hold
    assert hold["expected"] <= 20 and hold["cause"] and hold["since"], hold
    assert gateway.metric("portolan_guard_removed_instances_total", reason="within_share") == 20 - kept
    assert gateway.admin("GET", "/v1/sources")[1]["sources"][0]["held"] <= kept


def test_one_call_lets_them_go(start, origin):
    gateway = guarded(start)
    kept = fall_silent(gateway, origin, 7)
    assert gateway.metric("portolan_guard_held_instances", scope="service") == kept
    status, answer = gateway.admin("POST", "/v1/guard/resolve", {"action": "release", "service": "orders"})
    assert status == 200 and answer["resolved"] == kept, answer
    assert ids(gateway) == set() and holds(gateway) == {}
    assert get(gateway.port(), "/orders/").status == 503
    status, problem = gateway.admin("POST", "/v1/guard/resolve", {"action": "release"})
    assert status == 404 and problem["cause"] == "hold_not_found", problem


def test_one_call_keeps_them_beyond_their_time(start, origin):
    gateway = guarded(start, hold="3s")
    fall_silent(gateway, origin, 3)
    one, other = sorted(holds(gateway))
    status, answer = gateway.admin("POST", "/v1/guard/resolve", {"action": "keep", "id": one, "service": "orders"})
    assert status == 200 and answer["resolved"] == 1, answer
    until(lambda: ids(gateway) == {one}, "the other's time to be over", 10)
    assert holds(gateway)[one]["keeping"] == "told"
    assert other not in holds(gateway)


def test_a_registration_ends_a_hold(start, origin):
    gateway = guarded(start)
    fall_silent(gateway, origin, 3)
    back = next(iter(holds(gateway)))
    gateway.register("orders", back, origin("back").port, ttl="60s")
    assert back not in holds(gateway)
    shown = gateway.admin("GET", f"/v1/services/orders/instances/{back}")[1]
    assert shown["guard"] == "none", shown


def test_real_traffic_keeps_a_silent_instance(start, origin):
    # The usual algorithm may well prefer the quicker of two.
    parts = {
        "routes": {"orders": {"target": "orders"}},
        "upstreams": {"orders": {"service": "orders", "balance": "random"}},
    }
    gateway = guarded(start, parts, evidence="4s")
    gateway.register("orders", "loud", origin("loud").port, ttl="120s")
    gateway.register("orders", "quiet", origin("quiet").port, ttl="1s")

    def asked() -> set:
        return {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(20)}

    def is_vouched() -> bool:
        asked()
        return holds(gateway).get("quiet", {}).get("keeping") == "vouched"

    until(is_vouched, "the quiet one's lease to end", 10)
    assert "quiet" in asked()
    assert gateway.metric("portolan_guard_vouched_instances") == 1
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert "quiet" in asked()
    assert holds(gateway)["quiet"]["answered_at"]
    until(lambda: ids(gateway) == {"loud"}, "it to go when nobody asks it any more", 20)


def test_one_that_refuses_connections_goes_early(start, origin):
    gateway = guarded(start)
    backends = [origin(f"o{number}") for number in range(3)]
    for number, backend in enumerate(backends):
        gateway.register("orders", f"i{number}", backend.port, ttl="2s")
    for backend in backends:
        backend.close()

    def is_down_to_one() -> bool:
        get(gateway.port(), "/orders/")
        return len(ids(gateway)) == 1

    until(is_down_to_one, "those that refuse connections to go", 30)
    assert len(holds(gateway)) == 1, "never the last"
