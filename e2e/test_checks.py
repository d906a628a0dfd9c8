"""Checks of every kind, against real servers, and what they do to traffic."""

import socket
import stat
import time

from grpc_health.v1 import health_pb2
from harness.gateway import config
from harness.ports import free_port
from harness.waiting import until
from harness.wire import get

QUICK = {"interval": "200ms", "timeout": "1s", "fall": 1}


def automatic(start, **checks):
    return start(config(registry={"checks": checks}))


def instance(gateway, service="orders", name="a"):
    status, answer = gateway.admin("GET", f"/v1/services/{service}/instances/{name}")
    return answer if status == 200 else None


def is_now(gateway, status, name="a"):
    until(lambda: instance(gateway, name=name)["status"] == status, f"{name} to be {status}", 15)
    return instance(gateway, name=name)


def checks(gateway, name="a"):
    status, answer = gateway.admin("GET", f"/v1/services/orders/instances/{name}/checks")
    assert status == 200, answer
    return {check["id"]: check for check in answer["checks"]}


def test_a_request_is_sent_as_asked_and_its_answer_looked_at(start, web):
    gateway, server = automatic(start), web()
    check = {"http": {"path": "/health?x=1", "method": "POST", "host": "a.test", "headers": {"X-Token": "t"},
                      "body": "ping", "answer": {"regex": "^all is .+l$"}}} | QUICK
    gateway.register("orders", "a", server.port, check=check)
    is_now(gateway, "passing")
    command, path, headers, body = server.seen[0]
    assert (command, path, body) == ("POST", "/health?x=1", b"ping")
    assert headers["Host"] == "a.test" and headers["X-Token"] == "t"
    assert checks(gateway)["http"]["output"] == "all is well"
    server.body = b"all is lost"
    assert "does not hold" in is_now(gateway, "critical")["note"]
    server.body, server.status = b"all is well", 429
    assert is_now(gateway, "warning")["note"] == "status 429"
    server.status = 503
    assert is_now(gateway, "critical")["note"] == "status 503"
    assert get(gateway.port(), "/orders/").status == 503
    server.status = 200
    is_now(gateway, "passing")


def test_redirects_are_followed_only_if_asked(start, web):
    gateway, server = automatic(start), web()
    gateway.register("orders", "a", server.port, check={"http": {"path": "/moved"}} | QUICK)
    gateway.register("orders", "b", server.port, check={"http": {"path": "/moved", "redirects": 1}} | QUICK)
    assert is_now(gateway, "critical")["note"] == "status 302"
    is_now(gateway, "passing", "b")


def test_certificates_are_verified(start, web, authority):
    server = web(tls=authority.server("orders.test"))
    gateway = automatic(start, ca=str(authority.file))
    for name, tls in [("right", {"name": "orders.test"}), ("wrong", {"name": "other.test"}),
                      ("address", {}), ("lax", {"skip_verify": True})]:
        gateway.register("orders", name, server.port, check={"http": {"tls": tls}} | QUICK)
    is_now(gateway, "passing", "right")
    is_now(gateway, "passing", "lax")
    assert "orders.test, not for other.test" in is_now(gateway, "critical", "wrong")["note"]
    assert "not for 127.0.0.1" in is_now(gateway, "critical", "address")["note"]
    suspicious = start(config(), folder="suspicious")
    check = {"tcp": {"tls": {"name": "orders.test"}}} | QUICK
    suspicious.register("orders", "a", server.port, check=check)
    assert "not trusted" in is_now(suspicious, "critical")["note"]


def test_grpc_s_own_health_service_is_asked(start, grpc_health):
    gateway = automatic(start)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    grpc_health.states.set("", serving)
    grpc_health.states.set("shop.Orders", serving)
    gateway.register("orders", "a", grpc_health.port, check={"grpc": {}} | QUICK)
    gateway.register("orders", "b", grpc_health.port, check={"grpc": {"service": "shop.Orders"}} | QUICK)
    gateway.register("orders", "c", grpc_health.port, check={"grpc": {"service": "nobody"}} | QUICK)
    gateway.register("orders", "d", grpc_health.port, check={"h2ping": {}} | QUICK)
    for name in "abd":
        is_now(gateway, "passing", name)
    assert is_now(gateway, "critical", "c")["note"] == "the server does not know the service"
    grpc_health.states.set("shop.Orders", not_serving)
    assert is_now(gateway, "critical", "b")["note"] == "the server says NOT_SERVING"
    is_now(gateway, "passing", "a")


def test_a_plain_server_has_no_health_service_and_no_http2(start, web):
    gateway, server = automatic(start), web()
    gateway.register("orders", "a", server.port, check={"h2ping": {}} | QUICK)
    gateway.register("orders", "b", server.port, check={"grpc": {}} | QUICK)
    is_now(gateway, "critical", "a")
    is_now(gateway, "critical", "b")


def test_a_datagram_may_be_lost_but_not_refused(start):
    gateway = automatic(start)
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    check = {"udp": {"payload": "ping"}, "interval": "200ms", "timeout": "300ms", "fall": 1}
    gateway.register("orders", "a", silent.getsockname()[1], check=check)
    is_now(gateway, "passing")
    assert silent.recv(10) == b"ping"
    silent.close()
    assert is_now(gateway, "critical")["note"] == "connection refused"


def test_a_program_runs_only_where_it_may(start, tmp_path):
    script = tmp_path / "check.sh"
    script.write_text('#!/bin/sh\necho "$PORTOLAN_SERVICE is tired"\nexit $(cat ' + str(tmp_path / "code") + ")\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "code").write_text("0")
    check = {"script": {"command": [str(script)]}} | QUICK
    closed = start(config(), folder="closed")
    closed.register("orders", "a", free_port(), check=check)
    assert "registry.checks.scripts" in is_now(closed, "critical")["note"]
    assert not (tmp_path / "ran").exists()
    gateway = automatic(start, scripts=True)
    gateway.register("orders", "a", free_port(), check=check)
    is_now(gateway, "passing")
    (tmp_path / "code").write_text("1")
    assert is_now(gateway, "warning")["note"] == "exit code 1: orders is tired"
    (tmp_path / "code").write_text("2")
    assert is_now(gateway, "critical")["note"] == "exit code 2: orders is tired"
    gateway.register("orders", "b", free_port(), check={
        "script": {"command": ["sh", "-c", f"sleep 300 & echo $! > {tmp_path}/child; wait"]},
        "interval": "60s", "timeout": "500ms", "fall": 1})
    assert is_now(gateway, "critical", "b")["note"] == "timed out after 500ms"
    child = int((tmp_path / "child").read_text())

    def is_gone():
        try:
            return "State:\tZ" in open(f"/proc/{child}/status", encoding="ascii").read()
        except OSError:
            return True

    until(is_gone, "the program's child to be killed")


def test_reports_must_come_in_time(start):
    gateway = automatic(start)
    path = "/v1/services/orders/instances/a/checks/ttl"
    gateway.register("orders", "a", free_port(), check={"ttl": "700ms"})
    assert instance(gateway)["status"] == "starting"
    status, answer = gateway.admin("PUT", path, {})
    assert (status, answer["status"]) == (200, "passing")
    assert instance(gateway)["status"] == "passing"
    gateway.admin("PUT", path, {"status": "warning", "note": "the disk is nearly full"})
    assert is_now(gateway, "warning")["note"] == "the disk is nearly full"
    assert is_now(gateway, "critical")["note"] == "no report within 700ms"
    assert gateway.admin("PUT", path.replace("/ttl", "/other"), {})[0] == 404


def test_several_checks_have_their_own_states_and_the_worst_counts(start, web):
    gateway, server = automatic(start), web()
    gateway.register("orders", "a", server.port, checks=[
        {"id": "web", "http": {}} | QUICK, {"id": "port", "tcp": {}} | QUICK, {"id": "own", "ttl": "1m"}])
    assert instance(gateway)["status"] == "starting"
    until(lambda: checks(gateway)["web"]["status"] == "passing", "the request to be answered")
    assert instance(gateway)["status"] == "starting"
    gateway.admin("PUT", "/v1/services/orders/instances/a/checks/own", {})
    is_now(gateway, "passing")
    server.status = 500
    assert is_now(gateway, "critical")["note"] == "web: status 500"
    states = {name: check["status"] for name, check in checks(gateway).items()}
    assert states == {"web": "critical", "port": "passing", "own": "passing"}


def test_a_word_to_begin_with_holds_until_something_is_found(start):
    gateway = automatic(start)
    port = free_port()
    gateway.register("orders", "a", port, check={"tcp": {}, "status": "passing", "interval": "400ms", "fall": 3})
    assert is_now(gateway, "passing")
    assert is_now(gateway, "critical")["note"] == "connection refused"


def test_whoever_stays_critical_goes_if_it_asked_for_that(start):
    gateway = automatic(start)
    gateway.register("orders", "a", free_port(), check={"tcp": {}, "deregister_after": "1s"} | QUICK)
    gateway.register("orders", "b", free_port(), check={"tcp": {}} | QUICK)
    is_now(gateway, "critical", "b")
    until(lambda: instance(gateway) is None, "it to go", 15)
    assert instance(gateway, name="b")["status"] == "critical"


def test_an_alias_follows_another_service(start, web):
    gateway, server = automatic(start), web()
    gateway.register("orders", "a", free_port(), check={"alias": {"service": "payments"}})
    assert is_now(gateway, "critical")["note"] == "payments is not there"
    gateway.register("payments", "p", server.port, check={"http": {}} | QUICK)
    is_now(gateway, "passing")
    server.status = 500
    assert is_now(gateway, "critical")["note"] == "payments/p gets no traffic"


def test_the_configuration_s_checks_use_the_upstream_s_tls(start, web, authority):
    server = web(tls=authority.server("orders.test"))
    upstream = {"addresses": [f"127.0.0.1:{server.port}"],
                "tls": {"ca": str(authority.file), "server_name": "orders.test"},
                "check": [{"http": {}} | QUICK, {"tcp": {}} | QUICK]}
    gateway = start(config({"all": {"target": "orders"}}, {"orders": upstream}))
    until(lambda: server.seen, "the probe")
    assert get(gateway.port(), "/").status == 200
    server.status = 500
    until(lambda: get(gateway.port(), "/").status == 503, "the sick one to be out", 15)


def test_hosts_that_do_not_answer_delay_nobody(start, web):
    """A thousand addresses that swallow what is sent, and one live instance."""
    gateway, server = automatic(start), web()
    for number in range(1000):
        path = f"/v1/services/dead/instances/{number}"
        body = {"address": f"198.18.{number // 250}.{number % 250 + 1}", "port": 9,
                "check": {"tcp": {}, "interval": "5s", "timeout": "5s"}}
        assert gateway.admin("PUT", path, body)[0] == 201
    began = time.monotonic()
    gateway.register("orders", "a", server.port, check={"http": {}} | QUICK)
    is_now(gateway, "passing")
    assert time.monotonic() - began < 3
    seen = len(server.seen)
    time.sleep(4)
    assert len(server.seen) - seen >= 14
    server.status = 503
    is_now(gateway, "critical")
    assert gateway.descriptors() < 2200
