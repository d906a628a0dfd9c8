"""Clients of Consul register, are checked, and find what others registered."""

import threading
import time

import consul
import pytest

from harness.consul import Agent
from harness.gateway import config
from harness.origin import told
from harness.waiting import until
from harness.wire import get


@pytest.fixture
def agent(start):
    return Agent(start)


def test_a_service_lives_by_its_ttl_check(agent, origin):
    backend = origin("one")
    service = agent.client.agent.service
    service.register("orders", service_id="orders-1", address="127.0.0.1", port=backend.port,
                     tags=["v1"], meta={"team": "shop"}, check=consul.Check.ttl("30s"))
    assert agent.passing("orders") == [], "a check is critical until it is told otherwise"
    assert get(agent.gateway.port(), "/orders/").status == 503
    agent.client.agent.check.ttl_pass("service:orders-1")
    assert agent.passing("orders") == ["orders-1"]
    assert told(get(agent.gateway.port(), "/orders/"))["origin"] == "one"
    agent.client.agent.check.ttl_fail("service:orders-1", "disk full")
    assert get(agent.gateway.port(), "/orders/").status == 503
    assert "disk full" in get(agent.gateway.port(), "/orders/").body.decode()
    service.deregister("orders-1")
    _, entries = agent.client.health.service("orders")
    assert entries == []


def test_a_check_that_is_not_told_in_time_turns_critical(agent):
    agent.client.agent.service.register("orders", port=9001, check=consul.Check.ttl("400ms"))
    agent.client.agent.check.ttl_pass("service:orders")
    assert agent.passing("orders") == ["orders"]
    until(lambda: agent.passing("orders") == [], "the check to turn critical")


def test_an_http_check_is_run(agent, origin):
    backend = origin("one")
    check = consul.Check.http(f"http://127.0.0.1:{backend.port}/", "100ms", timeout="1s")
    agent.client.agent.service.register("orders", address="127.0.0.1", port=backend.port, check=check)
    until(lambda: agent.passing("orders") == ["orders"], "the check to pass")
    backend.close()
    until(lambda: agent.passing("orders") == [], "the check to fail")


def test_what_others_registered_is_found(agent, origin):
    agent.gateway.register("payments", "p1", origin().port, tags=["blue"], metadata={"env": "prod"})
    _, services = agent.client.catalog.services()
    assert services["payments"] == ["blue"]
    _, entries = agent.client.health.service("payments", passing=True)
    [entry] = entries
    assert entry["Service"]["Meta"]["env"] == "prod"
    assert entry["Service"]["Address"] == "127.0.0.1"


def test_a_blocking_query_wakes_for_its_service_and_no_other(agent):
    agent.gateway.register("orders", "a", 9001, ttl="10m")
    index, _ = agent.client.health.service("orders")
    woken = []

    def wait() -> None:
        woken.append(agent.client.health.service("orders", index=index, wait="10s"))

    waiter = threading.Thread(target=wait)
    waiter.start()
    agent.gateway.register("payments", "p", 9002, ttl="10m")
    waiter.join(0.3)
    assert waiter.is_alive(), "a change to another service wakes nobody"
    began = time.monotonic()
    agent.gateway.register("orders", "b", 9003, ttl="10m")
    waiter.join(5)
    assert not waiter.is_alive() and time.monotonic() - began < 2
    later, entries = woken[0]
    assert int(later) > int(index) and len(entries) == 2


def test_maintenance_takes_a_service_out_whatever_it_says(agent, origin):
    backend = origin("one")
    agent.client.agent.service.register("orders", address="127.0.0.1", port=backend.port)
    assert get(agent.gateway.port(), "/orders/").status == 200
    agent.client.agent.service.maintenance("orders", "true", "disk swap")
    assert get(agent.gateway.port(), "/orders/").status == 503
    agent.client.agent.service.register("orders", address="127.0.0.1", port=backend.port)
    assert get(agent.gateway.port(), "/orders/").status == 503
    agent.client.agent.service.maintenance("orders", "false")
    assert get(agent.gateway.port(), "/orders/").status == 200


def test_the_agent_is_one_that_clients_accept(agent):
    me = agent.client.agent.self()
    assert me["Config"]["Datacenter"] == "dc1" and me["Config"]["NodeName"]
    assert ":" in agent.client.status.leader()
    status, headers, _ = agent.call("GET", "/v1/catalog/services")
    assert status == 200 and int(headers["x-consul-index"]) > 0


def test_what_is_not_there_says_so(agent):
    status, headers, text = agent.call("GET", "/v1/kv/a")
    assert (status, text) == (404, "") and int(headers["x-consul-index"]) > 0
    assert agent.call("GET", "/v1/nothing")[0] == 404
    assert agent.call("POST", "/v1/agent/services")[0] == 405
    status, _, text = agent.call("PUT", "/v1/agent/service/register", {"Port": 1})
    assert status == 400 and "name" in text.lower()
    status, _, _ = agent.call("GET", "/v1/health/service/orders?filter=Nonsense+==+1")
    assert status == 400


def test_a_taken_port_is_told_and_skipped(start):
    first = Agent(start)
    registry = {"consul": {"address": f"127.0.0.1:{first.port}"}}
    second = start(config(registry=registry), folder="second")
    assert "a foreign registry's protocol is not served" in second.output()
    assert second.is_ready()
