"""Instances come and go, and requests follow at once."""

import http.client
import json
import time
import urllib.parse

from harness.gateway import config
from harness.origin import field_of, reply, told
from harness.waiting import until
from harness.wire import Client, get


def automatic(start, **parts):
    return start(config(**parts))


def test_a_registered_service_is_reachable_at_once_by_path_and_by_host(start, origin):
    gateway = automatic(start)
    answer = gateway.register("orders", "a", origin("orders").port)
    assert answer["revision"] > 0
    story = told(get(gateway.port(), "/orders/list?x=1"))
    assert story["target"] == "/list?x=1"
    assert field_of(story, "x-forwarded-prefix") == "/orders"
    story = told(get(gateway.port(), "/list", host="orders.localhost:8080"))
    assert story["target"] == "/list"
    assert told(get(gateway.port(), "/orders"))["target"] == "/"


def test_every_write_is_routable_when_it_is_answered(start, origin):
    gateway = automatic(start)
    backend = origin()
    for number in range(50):
        gateway.register(f"service-{number}", "a", backend.port)
        assert get(gateway.port(), f"/service-{number}/").status == 200


def test_an_unknown_service_is_404_and_one_without_instances_503(start, origin):
    gateway = automatic(start)
    answer = get(gateway.port(), "/nobody/x")
    assert answer.status == 404
    assert answer["content-type"] == "application/problem+json"
    gateway.register("orders", "a", origin().port, status="critical")
    answer = get(gateway.port(), "/orders/x")
    problem = json.loads(answer.body)
    assert answer.status == 503 and problem["cause"] == "destination_unavailable"
    assert "orders" in problem["detail"]


def test_a_deregistered_instance_gets_no_more(start, origin):
    gateway = automatic(start)
    one, two = origin("one"), origin("two")
    gateway.register("orders", "a", one.port)
    gateway.register("orders", "b", two.port)
    seen = {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(40)}
    assert seen == {"one", "two"}
    status, answer = gateway.admin("DELETE", "/v1/services/orders/instances/a")
    assert status == 200, answer
    assert {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(40)} == {"two"}


def test_leaving_with_a_drain_lets_requests_end(start, origin):
    gateway = automatic(start)
    slow, other = origin("slow"), origin("other")
    gateway.register("orders", "a", slow.port)
    client = Client(gateway.port())
    client.send("GET /orders/slow/500 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: slow.requests, "the request at the instance")
    gateway.register("orders", "b", other.port)
    began = time.monotonic()
    status, answer = gateway.admin("DELETE", "/v1/services/orders/instances/a?drain=5s")
    assert status == 200, answer
    assert time.monotonic() - began < 4
    assert told(client.reader.answer())["origin"] == "slow"
    assert {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(10)} == {"other"}


def test_a_silent_instance_goes_after_its_time(start, origin):
    gateway = automatic(start, guard={"hold": "0s"})
    gateway.register("orders", "a", origin("a").port, ttl="1s")
    gateway.register("orders", "b", origin("b").port, ttl="1s")
    gateway.register("orders", "c", origin("c").port, ttl="60s")

    def names() -> set:
        return {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(30)}

    def beat() -> bool:
        gateway.admin("PUT", "/v1/services/orders/instances/b/heartbeat", {})
        return names() == {"b", "c"}

    until(beat, "the silent one to be gone", 8)


def test_a_heartbeat_of_a_stranger_is_404(start):
    gateway = automatic(start)
    assert gateway.admin("PUT", "/v1/services/orders/instances/x/heartbeat", {})[0] == 404


def test_a_heartbeat_changes_the_status(start, origin):
    gateway = automatic(start)
    gateway.register("orders", "a", origin().port)
    path = "/v1/services/orders/instances/a/heartbeat"
    assert gateway.admin("PUT", path, {"status": "critical", "note": "disk full"})[0] == 200
    assert get(gateway.port(), "/orders/").status == 503
    assert gateway.admin("PUT", path, {"status": "passing"})[0] == 200
    assert get(gateway.port(), "/orders/").status == 200


def test_an_address_may_be_left_out(start, origin):
    gateway = automatic(start)
    status, answer = gateway.admin("POST", "/v1/services/orders/instances", {"port": origin("me").port})
    assert status == 201, answer
    assert told(get(gateway.port(), "/orders/"))["origin"] == "me"


def test_bad_registrations_are_problems_that_say_what_is_wrong(start):
    gateway = automatic(start)
    for body in ({}, {"port": 0}, {"port": 70000}, {"port": 1, "address": "nowhere"}, {"port": 1, "ttl": "soon"}, {"prot": 1}):
        status, problem = gateway.admin("PUT", "/v1/services/orders/instances/a", body)
        assert status in (400, 422), (body, status, problem)
        assert problem["status"] == status and problem["title"], problem
    assert gateway.admin("PUT", "/v1/services/b%20d/instances/a", {"port": 1})[0] in (400, 422)


def test_what_is_registered_can_be_read(start, origin):
    gateway = automatic(start)
    gateway.register("orders", "a", origin().port, metadata={"team": "shop"}, tags=["x"], version="v1")
    assert "orders" in json.dumps(gateway.admin("GET", "/v1/services")[1])
    shown = json.dumps(gateway.admin("GET", "/v1/services/orders/instances")[1])
    assert "shop" in shown and "v1" in shown
    assert gateway.admin("GET", "/v1/services/nobody")[0] == 404
    assert gateway.admin("GET", "/v1/sources")[0] == 200
    assert "orders" in json.dumps(gateway.admin("GET", "/v1/events")[1])


def test_a_list_is_filtered_by_a_condition(start):
    gateway = automatic(start)
    for id, weight in [("a", 10), ("b", 90)]:
        gateway.register("orders", id, 9001, weight=weight, zone="z1", metadata={"team": "shop"})

    def ask(condition: str) -> tuple[int, dict]:
        query = urllib.parse.urlencode({"filter": condition})
        return gateway.admin("GET", f"/v1/services/orders/instances?{query}")

    status, body = ask('zone == "z1" && weight > 50 && metadata.exists(k, metadata[k] == "shop")')
    assert status == 200 and [one["id"] for one in body["instances"]] == ["b"]
    status, problem = ask('zone == "z1" && wait > 50')
    assert status == 400 and "column 17: no field `wait`" in problem["detail"], problem


def test_a_watch_tells_changes_as_they_come(start, origin):
    gateway = automatic(start)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=10)
    connection.request("GET", "/v1/watch?service=orders", headers={"accept": "text/event-stream"})
    stream = connection.getresponse()
    assert stream.status == 200
    assert stream.getheader("content-type").startswith("text/event-stream")
    gateway.register("orders", "a", origin().port)
    said = b""
    while b'"a"' not in said:
        line = stream.readline()
        assert line, said
        said += line
    connection.close()


def test_a_long_poll_returns_when_something_changes(start, origin):
    gateway = automatic(start)
    revision = gateway.register("orders", "a", origin().port)["revision"]
    began = time.monotonic()
    status, _ = gateway.admin("GET", f"/v1/watch?service=orders&after={revision}&wait=1s")
    assert status in (200, 204) and 0.5 < time.monotonic() - began < 5
    began = time.monotonic()
    status, _ = gateway.admin("GET", f"/v1/watch?service=orders&after={revision - 1}&wait=9s")
    assert status == 200 and time.monotonic() - began < 5


def test_the_automatic_lane_can_be_filtered(start, origin):
    gateway = automatic(start, gateway={"automatic": {"enabled": True, "filter": {"env": "prod"}}})
    prod, staging = origin("prod"), origin("staging")
    gateway.register("orders", "a", prod.port, metadata={"env": "prod"})
    gateway.register("orders", "b", staging.port, metadata={"env": "staging"})
    assert {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(20)} == {"prod"}


def test_the_automatic_lane_is_off_when_routes_are_configured(start, origin):
    backend = origin()
    routes = {"one": {"match": [{"exact": "/one"}], "policies": [{"respond": {"status": 200, "body": "x"}}]}}
    gateway = start(config(routes=routes))
    gateway.register("orders", "a", backend.port)
    assert get(gateway.port(), "/orders/").status == 404


def test_foreign_pages_can_not_reach_the_admin_api(start):
    gateway = automatic(start)
    assert gateway.admin("GET", "/v1/services", headers={"host": "evil.test"})[0] in (403, 421)
    assert gateway.admin("GET", "/v1/services", headers={"origin": "http://evil.test"})[0] == 403
    assert gateway.admin("GET", "/v1/services", headers={"host": "localhost:9070"})[0] == 200


def test_services_of_a_file_are_followed(start, origin, tmp_path):
    one, two = origin("one"), origin("two")
    file = tmp_path / "services.yaml"

    def write(backend) -> None:
        instances = {"services": {"orders": {"instances": [{"id": "a", "address": "127.0.0.1", "port": backend.port}]}}}
        fresh = tmp_path / "fresh.yaml"
        fresh.write_text(json.dumps(instances))
        fresh.replace(file)

    write(one)
    gateway = automatic(start, sources={"edge": {"file": {"path": str(file)}}})
    until(lambda: get(gateway.port(), "/orders/").status == 200, "the file's service")
    assert told(get(gateway.port(), "/orders/"))["origin"] == "one"
    write(two)
    until(lambda: told(get(gateway.port(), "/orders/"))["origin"] == "two", "the changed file")
    file.write_text("services: [broken\n")
    time.sleep(0.5)
    assert told(get(gateway.port(), "/orders/"))["origin"] == "two", "last known good"


def test_a_host_name_in_an_upstream_is_looked_up(start, origin):
    backend = origin("named")
    upstreams = {"origin": {"hosts": [f"localhost:{backend.port}"]}}
    gateway = start(config(routes={"all": {"target": "origin"}}, upstreams=upstreams))
    until(lambda: get(gateway.port()).status == 200, "the name to be looked up")


def test_namespaces_keep_services_apart(start, origin):
    gateway = automatic(start)
    body = {"address": "127.0.0.1", "port": origin("shop").port}
    status, answer = gateway.admin("PUT", "/v1/namespaces/shop/services/orders/instances/a", body)
    assert status == 201, answer
    assert get(gateway.port(), "/orders/").status == 404


def test_checks_take_a_sick_instance_out_and_back(start, origin):
    healthy = {"sick": True}

    def answer(seen, connection):
        return reply(500 if healthy["sick"] and seen.target == "/health" else 200, b"ok")

    gateway = automatic(start)
    gateway.register("orders", "a", origin(handler=answer).port,
                     check={"http": {"path": "/health"}, "interval": "1s", "timeout": "1s"})
    until(lambda: get(gateway.port(), "/orders/").status == 503, "the sick one to be out", 15)
    problem = json.loads(get(gateway.port(), "/orders/").body)
    assert "check" in problem["detail"] or "failing" in problem["detail"], problem
    healthy["sick"] = False
    until(lambda: get(gateway.port(), "/orders/").status == 200, "the healed one to be back", 15)
