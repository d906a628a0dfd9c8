"""A Consul is read by blocking queries: our own front, which real clients of Consul can't tell from it."""

from harness import federation
from harness.consul import Agent
from harness.gateway import config
from harness.waiting import until
from harness.wire import get

KIND = "consul"


def test_changes_are_routable_soon(start, origin):
    federation.changes_are_routable_soon(start, origin, KIND, within_ms=100)


def test_nothing_fails_while_the_far_one_does(start, origin):
    federation.nothing_fails_while_the_far_one_does(start, origin, KIND)


def test_two_that_read_each_other_keep_no_ghosts(start, origin):
    federation.two_that_read_each_other_keep_no_ghosts(start, origin, KIND)


def test_one_that_reads_itself_says_so(start, origin):
    federation.one_that_reads_itself_says_so(start, origin, KIND)


def reading(start, agent: Agent, **settings):
    source = {"url": f"http://127.0.0.1:{agent.port}", "wait": "5s"} | settings
    return start(config(sources={"far": {"consul": source}}), folder="near")


def shown(gateway, service: str) -> list[dict]:
    status, answer = gateway.admin("GET", f"/v1/services/{service}/instances")
    return [] if status == 404 else answer["instances"]


def test_what_is_registered_by_a_client_of_consul_is_mapped(start, origin):
    agent = Agent(start, folder="far")
    near = reading(start, agent)
    agent.client.agent.service.register(
        "web", service_id="web-1", address="127.0.0.1", port=origin("web").port,
        tags=["blue", "team=a"], meta={"version": "v2", "zone": "z1"},
    )
    found = until(lambda: shown(near, "web"), "the service")[0]
    assert found["version"] == "v2" and found["zone"] == "z1" and found["tags"] == ["blue", "team=a"]
    assert found["metadata"]["team"] == "a"
    agent.client.agent.service.maintenance("web-1", "true", "a new disk")
    until(lambda: shown(near, "web")[0]["override"] == "maintenance", "maintenance to be known")
    assert get(near.port(), "/web/").status == 503, "nobody is sent there"
    agent.client.agent.service.maintenance("web-1", "false")
    until(lambda: shown(near, "web")[0]["override"] == "none", "its end to be known")


def test_checks_are_followed(start, origin):
    agent = Agent(start, folder="far")
    near = reading(start, agent)
    check = {"TTL": "60s", "Status": "passing"}
    body = {"Name": "web", "ID": "w", "Address": "127.0.0.1", "Port": origin("web").port, "Check": check}
    assert agent.call("PUT", "/v1/agent/service/register", body)[0] == 200
    until(lambda: shown(near, "web"), "the service")
    for verb, status in (("fail", "critical"), ("warn", "warning"), ("pass", "passing")):
        assert agent.call("PUT", f"/v1/agent/check/{verb}/service:w?note=because")[0] == 200
        until(lambda: shown(near, "web")[0]["status"] == status, f"it to be {status}")


def test_hundreds_of_services_are_followed_by_few_connections(start, origin):
    agent = Agent(start, folder="far")
    backend = origin("web")
    for number in range(300):
        agent.gateway.register(f"s{number}", "a", backend.port, ttl="10m")
    near = reading(start, agent)
    status = lambda: near.admin("GET", "/v1/sources")[1]["sources"]
    known = lambda: next((found["services"] for found in status() if found["id"] == "consul:far"), 0)
    until(lambda: known() == 300, "all to be known", 30)
    agent.gateway.register("s77", "b", backend.port, ttl="10m")
    until(lambda: len(shown(near, "s77")) == 2, "the change of one")
    agent.gateway.register("more", "a", backend.port, ttl="10m")
    until(lambda: shown(near, "more"), "one more")
    assert near.descriptors() < 100, near.descriptors()
