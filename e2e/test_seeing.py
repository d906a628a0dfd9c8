"""What the gateway tells about its requests."""

import json
import re
import signal

from harness.gateway import config, to_origin
from harness.origin import told
from harness.waiting import until
from harness.wire import Client, get, raw


def lines(gateway, file: str = "access.log") -> list[str]:
    path = gateway.folder / file
    return path.read_text().splitlines() if path.exists() else []


def logging(start, origin, format_: str):
    settings = config(**to_origin(origin()), access_log={"enabled": True, "format": format_, "path": "access.log"})
    return start(settings)


def test_json_records_tell_the_whole_story(start, origin):
    gateway = logging(start, origin, "json")
    with Client(gateway.port()) as client:
        told(client.request("POST", "/a/b?secret=1", body=b"hello", host="shop.test"))
    until(lambda: lines(gateway), "a line")
    record = json.loads(lines(gateway)[0])
    assert record["method"] == "POST" and record["path"] == "/a/b" and record["authority"] == "shop.test"
    assert record["status"] == 200 and record["attempts"] == 1
    assert record["route"] == "all" and record["upstream"] == "origin" and record["listener"] == "web"
    assert record["received_bytes"] == 5 and record["sent_bytes"] > 100
    assert record["client"].startswith("127.0.0.1:") and record["address"].startswith("127.0.0.1:")
    assert 0 < record["first_byte_us"] <= record["total_us"] < 5_000_000
    assert "secret" not in lines(gateway)[0]


def test_text_records_can_be_read_by_a_person(start, origin):
    gateway = logging(start, origin, "text")
    get(gateway.port(), "/a", host="shop.test")
    until(lambda: lines(gateway), "a line")
    assert re.search(r"GET shop\.test/a .*200 [0-9.]+ms", lines(gateway)[0]), lines(gateway)


def test_failures_are_recorded_with_their_cause(start, origin):
    gateway = logging(start, origin, "json")
    raw(gateway.port(), b"nonsense\r\n\r\n")
    raw(gateway.port(), b"GET / HTTP/1.1\r\n\r\n")
    until(lambda: len(lines(gateway)) >= 2, "two lines")
    causes = {json.loads(line).get("cause") for line in lines(gateway)}
    assert causes == {"http_request_malformed"}, lines(gateway)


def test_a_client_that_leaves_is_recorded(start, origin):
    gateway = logging(start, origin, "json")
    client = Client(gateway.port())
    client.send("GET /slow/1000 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: gateway.metric("portolan_requests_active") == 1, "the request")
    client.close()
    until(lambda: lines(gateway), "a line")
    assert json.loads(lines(gateway)[0])["cause"] == "client_disconnected"


def test_no_client_can_forge_a_line(start, origin):
    gateway = logging(start, origin, "json")
    get(gateway.port(), "/%0d%0aforged%1b[31m", host="a.test")
    until(lambda: lines(gateway), "a line")
    assert len(lines(gateway)) == 1
    assert all(" " <= character <= "~" for character in lines(gateway)[0])


def test_the_access_log_is_opened_again_after_rotation(start, origin):
    gateway = logging(start, origin, "text")
    get(gateway.port(), "/first")
    until(lambda: lines(gateway), "the first line")
    (gateway.folder / "access.log").rename(gateway.folder / "access.log.1")
    gateway.signal(signal.SIGHUP)
    until(lambda: (gateway.folder / "access.log").exists(), "the new file")
    get(gateway.port(), "/second")
    until(lambda: any("/second" in line for line in lines(gateway)), "the second line")
    assert len(lines(gateway, "access.log.1")) == 1


def test_metrics_can_be_parsed_and_count(start, origin):
    gateway = start(config())
    gateway.register("orders", "a", origin().port)
    for _ in range(10):
        get(gateway.port(), "/orders/")
    get(gateway.port(), "/orders/status/503")
    get(gateway.port(), "/nobody/")
    until(lambda: gateway.metric("portolan_requests_total") == 12, "twelve requests")
    assert gateway.metric("portolan_requests_total", service="orders", **{"class": "2xx"}) == 10
    assert gateway.metric("portolan_requests_total", service="orders", **{"class": "5xx"}) == 1
    assert gateway.metric("portolan_faults_total", cause="service_not_found") == 1
    assert gateway.metric("portolan_request_duration_seconds_count", service="orders") == 11
    assert gateway.metric("portolan_first_byte_seconds_count", service="orders") == 11
    assert gateway.metric("portolan_connections_accepted_total") == 12
    assert gateway.metric("portolan_catalog_instances") == 1
    assert gateway.metric("process_resident_memory_bytes") > 1_000_000
    until(lambda: gateway.metric("portolan_connections_open") == 0, "closed connections to be noticed")


def test_metrics_stay_bounded_whatever_clients_ask_for(start):
    gateway = start(config())
    before = len(gateway.metrics())
    for number in range(200):
        get(gateway.port(), f"/service-{number}/", host=f"host-{number}.test")
    assert len(gateway.metrics()) < before + 60


def test_errors_of_ours_are_problems_a_person_understands(start):
    gateway = start(config())
    answer = get(gateway.port(), "/orders/x")
    problem = json.loads(answer.body)
    assert answer["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status == 404
    assert problem["cause"] == "service_not_found"
    assert "orders" in problem["detail"]
    status = answer["proxy-status"]
    assert status is None or "portolan" in status.lower()


def test_logs_have_no_line_per_request(start, origin):
    gateway = start(config(**to_origin(origin())))
    before = len(gateway.output().splitlines())
    for _ in range(50):
        get(gateway.port(), "/noise")
    assert "/noise" not in gateway.output()
    assert len(gateway.output().splitlines()) - before < 5
