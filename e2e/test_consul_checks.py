"""Checks as clients of Consul define them are run, wherever they point, and clients see what they found."""

import http.server
import json
import socket
import socketserver
import threading
import time

import consul
import pytest
from grpc_health.v1 import health_pb2

from harness.consul import Agent
from harness.ports import free_port
from harness.waiting import until
from harness.wire import get


@pytest.fixture
def agent(start):
    return Agent(start)


def register(agent, *checks, name="orders", **more) -> None:
    status, _, text = agent.call(
        "PUT", "/v1/agent/service/register", {"Name": name, "Checks": [*checks]} | more)
    assert status == 200, text


def checks(agent) -> dict:
    return agent.client.agent.checks()


def is_now(agent, check: str, status: str, output: str = "") -> None:
    def holds():
        found = checks(agent).get(check, {})
        return found.get("Status") == status and output in found["Output"]

    until(holds, f"{check} to be {status} with {output!r}", 15)


def test_a_request_is_sent_as_defined_to_any_address(agent, web):
    server = web()
    register(agent, {
        "CheckID": "site", "HTTP": f"http://localhost:{server.port}/health?x=1", "Method": "POST", "Body": "ping",
        "Header": {"Host": ["a.test"], "X-Token": ["t"]}, "Interval": "200ms", "Timeout": "1s"})
    is_now(agent, "site", "passing", "all is well")
    command, path, headers, body = server.seen[0]
    assert (command, path, body) == ("POST", "/health?x=1", b"ping")
    assert headers["Host"] == "a.test" and headers["X-Token"] == "t"
    shown = checks(agent)["site"]
    assert (shown["Type"], shown["Interval"], shown["Timeout"]) == ("http", "200ms", "1s")
    assert agent.passing("orders") == ["orders"], "a service needs no port for its checks"
    server.status = 429
    is_now(agent, "site", "warning", "status 429")
    server.status = 503
    is_now(agent, "site", "critical", "status 503: all is well")


def test_certificates_are_verified_unless_the_check_says_otherwise(start, web, authority):
    server = web(tls=authority.server("orders.test"))
    agent = Agent(start, checks={"ca": str(authority.file)})
    url = f"https://127.0.0.1:{server.port}/"
    tcp = {"TCP": f"127.0.0.1:{server.port}", "TCPUseTLS": True, "Interval": "200ms"}
    http = {"HTTP": url, "Interval": "200ms"}
    register(
        agent,
        http | {"CheckID": "named", "TLSServerName": "orders.test"},
        http | {"CheckID": "lax", "TLSSkipVerify": True},
        http | {"CheckID": "strict"},
        tcp | {"CheckID": "line", "TLSServerName": "orders.test"},
        tcp | {"CheckID": "wrong line", "TLSServerName": "other.test"})
    for name in ("named", "lax", "line"):
        is_now(agent, name, "passing")
    is_now(agent, "strict", "critical", "not for 127.0.0.1")
    is_now(agent, "wrong line", "critical", "not for other.test")


def test_grpc_h2_and_datagrams_are_asked_as_well(agent, grpc_health):
    grpc_health.states.set("shop.Orders", health_pb2.HealthCheckResponse.SERVING)
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    at = f"127.0.0.1:{grpc_health.port}"
    register(
        agent,
        {"CheckID": "grpc", "GRPC": f"{at}/shop.Orders", "Interval": "200ms"},
        {"CheckID": "nobody", "GRPC": f"{at}/nobody", "Interval": "200ms"},
        {"CheckID": "h2", "H2PING": at, "H2PingUseTLS": False, "Interval": "200ms"},
        {"CheckID": "udp", "UDP": f"127.0.0.1:{silent.getsockname()[1]}", "Interval": "200ms", "Timeout": "300ms"})
    for name in ("grpc", "h2", "udp"):
        is_now(agent, name, "passing")
    is_now(agent, "nobody", "critical", "does not know the service")
    grpc_health.states.set("shop.Orders", health_pb2.HealthCheckResponse.NOT_SERVING)
    is_now(agent, "grpc", "critical", "NOT_SERVING")
    silent.close()
    is_now(agent, "udp", "critical", "connection refused")


class Docker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """As much of a Docker engine as runs programs in a container; every one says what `says` holds."""

    daemon_threads = True

    def __init__(self, path) -> None:
        self.says, self.code, self.commands = b"fine", 0, []
        engine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def address_string(self):
                return "unix"

            def answer(self):
                asked = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path.endswith("/start"):
                    body = b"\1\0\0\0" + len(engine.says).to_bytes(4, "big") + engine.says
                elif self.command == "GET":
                    body = json.dumps({"ExitCode": engine.code}).encode()
                else:
                    engine.commands.append((self.path, json.loads(asked)["Cmd"]))
                    body = b'{"Id": "e1"}'
                self.send_response(201 if body == b'{"Id": "e1"}' else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *unused):
                pass

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_programs_run_only_where_the_configuration_allows_it(start, tmp_path):
    script = {"CheckID": "script", "Args": ["sh", "-c", "echo well; exit 1"], "Interval": "200ms"}
    docker = {"CheckID": "docker", "DockerContainerID": "web", "Shell": "/bin/ash", "Args": ["./check all"], "Interval": "200ms"}
    closed = Agent(start, folder="closed")
    for check in (script, docker):
        status, _, text = closed.call("PUT", "/v1/agent/service/register", {"Name": "orders", "Check": check})
        assert status == 400 and "Scripts are disabled" in text
    assert closed.client.agent.services() == {}
    engine = Docker(tmp_path / "docker.sock")
    try:
        agent = Agent(start, checks={"scripts": True, "docker": str(tmp_path / "docker.sock")})
        register(agent, script, docker)
        is_now(agent, "script", "warning", "well")
        is_now(agent, "docker", "passing", "fine")
        path, command = engine.commands[0]
        assert "/containers/web/exec" in path and command == ["/bin/ash", "-c", "./check all"]
        engine.code = 2
        is_now(agent, "docker", "critical", "exit code 2")
    finally:
        engine.shutdown()
        engine.server_close()


def test_the_worst_of_several_checks_counts_and_warnings_get_traffic(agent, origin, web):
    backend, site = origin("one"), web()
    register(
        agent,
        {"CheckID": "site", "HTTP": f"http://127.0.0.1:{site.port}/", "Interval": "200ms"},
        {"CheckID": "port", "TCP": f"127.0.0.1:{backend.port}", "Interval": "200ms"},
        {"CheckID": "told", "TTL": "1m"}, Address="127.0.0.1", Port=backend.port)
    is_now(agent, "site", "passing")
    is_now(agent, "port", "passing")
    assert agent.passing("orders") == [], "one was not told yet"
    assert get(agent.gateway.port(), "/orders/").status == 503
    agent.client.agent.check.ttl_pass("told")
    assert agent.passing("orders") == ["orders"]
    site.status = 429
    is_now(agent, "site", "warning")
    assert agent.passing("orders") == [], "`passing` is without warnings"
    assert agent.call("GET", "/v1/agent/health/service/id/orders")[0] == 429
    assert get(agent.gateway.port(), "/orders/").status == 200
    site.status = 500
    is_now(agent, "site", "critical")
    assert get(agent.gateway.port(), "/orders/").status == 503
    assert {name: check["Status"] for name, check in checks(agent).items()} == {
        "site": "critical", "port": "passing", "told": "passing"}


def test_it_takes_as_many_in_a_row_as_the_check_says(agent, web):
    site = web()
    register(agent, {
        "CheckID": "site", "HTTP": f"http://127.0.0.1:{site.port}/", "Interval": "200ms",
        "SuccessBeforePassing": 3, "FailuresBeforeWarning": 2, "FailuresBeforeCritical": 4})
    is_now(agent, "site", "passing")
    assert len(site.seen) >= 3
    site.status, before = 500, len(site.seen)
    is_now(agent, "site", "warning")
    assert len(site.seen) - before >= 2
    is_now(agent, "site", "critical")
    assert len(site.seen) - before >= 4


def test_a_status_to_begin_with_holds_until_something_is_found(agent):
    register(agent, {
        "CheckID": "port", "TCP": f"127.0.0.1:{free_port()}", "Status": "passing", "Interval": "500ms",
        "FailuresBeforeCritical": 3})
    assert agent.passing("orders") == ["orders"]
    is_now(agent, "port", "critical", "connection refused")


def test_a_service_goes_when_a_check_of_it_was_critical_for_too_long(agent):
    gone = {"Interval": "200ms", "DeregisterCriticalServiceAfter": "1s"}
    register(agent, {"TCP": f"127.0.0.1:{free_port()}"} | gone, name="probed")
    register(agent, {"TTL": "10m", "DeregisterCriticalServiceAfter": "1s"}, name="told")
    register(agent, {"TCP": f"127.0.0.1:{free_port()}", "Interval": "200ms"}, name="patient")
    until(lambda: set(agent.client.agent.services()) == {"patient"}, "two of them to go", 15)


def test_checks_of_the_node_itself_are_run_and_count_for_its_services(agent, web):
    site = web()
    agent.client.agent.service.register("orders")
    add = agent.client.agent.check.register
    assert add("disk", consul.Check.ttl("700ms"), notes="of the machine")
    assert add("site", consul.Check.http(f"http://127.0.0.1:{site.port}/", "200ms"))
    is_now(agent, "site", "passing")
    assert agent.passing("orders") == [], "the disk was not told"
    agent.client.agent.check.ttl_pass("disk", "half full")
    assert agent.passing("orders") == ["orders"]
    _, on_node = agent.client.health.node(agent.client.agent.self()["Config"]["NodeName"])
    assert {check["CheckID"] for check in on_node} == {"serfHealth", "disk", "site"}
    is_now(agent, "disk", "critical", "TTL expired (last output before timeout follows): half full")
    assert agent.passing("orders") == []
    assert agent.client.agent.check.deregister("disk")
    assert agent.passing("orders") == ["orders"]


def test_an_alias_follows_a_service_by_its_id(agent):
    register(agent, {"CheckID": "follows", "AliasService": "db-1"}, name="side")
    is_now(agent, "follows", "critical", "is not there")
    register(agent, {"CheckID": "own", "TTL": "1m", "Status": "passing"}, name="db", ID="db-1")
    is_now(agent, "follows", "passing")
    agent.client.agent.check.ttl_fail("own")
    is_now(agent, "follows", "critical", "gets no traffic")


def test_a_change_by_another_api_survives_the_next_change_of_a_check(agent):
    register(agent, {"CheckID": "own", "TTL": "1m"}, Port=9001, Meta={"a": "1"})
    path = "/v1/services/orders/instances/orders"
    assert agent.gateway.admin("PATCH", path, {"metadata": {"team": "shop"}, "weight": 50})[0] == 200
    agent.client.agent.check.ttl_pass("own")
    agent.client.agent.check.register("more", consul.Check.ttl("1m"), service_id="orders")
    agent.client.agent.check.ttl_pass("more")
    agent.client.agent.check.deregister("more")
    _, shown = agent.gateway.admin("GET", path)
    assert (shown["metadata"]["team"], shown["weight"], shown["status"]) == ("shop", 50, "passing")
    assert agent.client.agent.services()["orders"]["Meta"] == {"a": "1", "team": "shop"}


def test_what_checks_found_outlives_the_process(agent):
    register(agent, {"CheckID": "a", "TTL": "10m"}, {"CheckID": "b", "TTL": "10m"})
    agent.client.agent.check.register("disk", consul.Check.ttl("10m"))
    for check in ("a", "b", "disk"):
        agent.client.agent.check.ttl_pass(check)
    agent.gateway.kill()
    agent.restart()
    assert agent.passing("orders") == ["orders"]
    assert {name: check["Status"] for name, check in checks(agent).items()} == {
        "a": "passing", "b": "passing", "disk": "passing"}
    agent.client.agent.check.ttl_fail("b", "broken")
    assert agent.passing("orders") == []
    agent.gateway.kill()
    agent.restart()
    assert agent.passing("orders") == []
    agent.client.agent.check.ttl_pass("a")
    assert agent.passing("orders") == [], "b is still broken"
    agent.client.agent.check.ttl_pass("b")
    assert agent.passing("orders") == ["orders"]


def test_beats_that_say_something_else_wake_nobody(agent):
    register(agent, {"CheckID": "own", "TTL": "1m"})
    agent.client.agent.check.ttl_pass("own", "beat 0")
    index, _ = agent.client.health.service("orders")
    woken = []
    waiter = threading.Thread(
        target=lambda: woken.append(agent.client.health.service("orders", index=index, wait="10s")))
    waiter.start()
    for beat in range(1, 20):
        agent.client.agent.check.ttl_pass("own", f"beat {beat}")
    waiter.join(0.3)
    assert waiter.is_alive(), "nothing changed but the output"
    assert checks(agent)["own"]["Output"] == "beat 19"
    began = time.monotonic()
    agent.client.agent.check.ttl_fail("own")
    waiter.join(5)
    assert not waiter.is_alive() and time.monotonic() - began < 2


def test_what_can_t_be_checked_is_refused_and_changes_nothing(agent):
    for check in ({"HTTP": "ftp://a/"}, {"TCP": "nowhere"}, {"GRPC": "a:99999"}, {"OSService": "x"}):
        body = {"Name": "orders", "Check": check | {"Interval": "1s"}}
        status, _, text = agent.call("PUT", "/v1/agent/service/register", body)
        assert status == 400 and text.startswith("Invalid check: "), text
    assert agent.client.agent.services() == {}
