"""Clients of Eureka work against Portolan, and find what others registered."""

import gzip
import json
import subprocess
import threading
import xml.etree.ElementTree as ET

from harness.eureka import Server, all_of, hash_of
from harness.gateway import command, config
from harness.origin import told
from harness.waiting import until
from harness.wire import get


def test_the_whole_life_of_an_instance(start, origin):
    server = Server(start, guard={"hold": "0s"})
    backend = origin("me")
    beat = "apps/ORDERS/a?status=UP&lastDirtyTimestamp=1000"
    assert server.status("PUT", beat) == 404
    assert server.register("ORDERS", "a", backend.port) == 204
    assert server.status("PUT", beat) == 200
    assert told(get(server.gateway.port(), "/orders/"))["origin"] == "me"

    out = "apps/ORDERS/a/status?value=OUT_OF_SERVICE"
    assert server.status("PUT", out) == 200
    assert get(server.gateway.port(), "/orders/").status == 503
    shown = server.shown("ORDERS", "a")
    assert (shown["status"], shown["overriddenStatus"]) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")
    view = server.gateway.admin("GET", "/v1/services/orders/instances/a")[1]
    assert view["override"] == "maintenance", "every protocol sees it"
    assert server.register("ORDERS", "a", backend.port, lastDirtyTimestamp="2000") == 204
    assert server.shown("ORDERS", "a")["status"] == "OUT_OF_SERVICE", "it outlives a registration"
    assert server.status("DELETE", "apps/ORDERS/a/status?value=UP") == 200
    assert told(get(server.gateway.port(), "/orders/"))["origin"] == "me"

    assert server.status("PUT", "apps/ORDERS/a/metadata?version=v2") == 200
    view = server.gateway.admin("GET", "/v1/services/orders/instances/a")[1]
    assert view["version"] == "v2"
    assert server.register("ORDERS", "a", backend.port, lastDirtyTimestamp="3000", status="DOWN") == 204
    assert get(server.gateway.port(), "/orders/").status == 503
    assert server.status("DELETE", "apps/ORDERS/a") == 200
    assert server.status("DELETE", "apps/ORDERS/a") == 404
    assert server.status("PUT", beat) == 404

    lease = {"durationInSecs": 1, "renewalIntervalInSecs": 1}
    assert server.register("ORDERS", "b", backend.port, leaseInfo=lease) == 204
    until(lambda: server.status("PUT", "apps/ORDERS/c") == 404 and not all_of(server.json("apps")),
          "the silent one to be gone", 8)
    assert server.status("PUT", "apps/ORDERS/b") == 404, "it should register"
    assert server.register("ORDERS", "b", backend.port) == 204


def curl(*arguments: str) -> tuple[str, str]:
    """Runs curl; gives the status and the body."""
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *arguments], capture_output=True, text=True, timeout=10, check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return status, body


def test_curl_speaks_json_and_xml(start, origin):
    server = Server(start)
    port = origin("me").port
    xml = (
        "<instance><instanceId>x</instanceId><hostName>localhost</hostName><app>SHOP</app>"
        f"<ipAddr>127.0.0.1</ipAddr><port enabled='true'>{port}</port><vipAddress>shop,store</vipAddress>"
        "<dataCenterInfo class='com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo'>"
        "<name>MyOwn</name></dataCenterInfo><metadata><my__key>a &amp; b</my__key></metadata></instance>"
    )
    for base in ("eureka", "eureka/v2", "v2", "eureka/v1"):
        url = f"http://127.0.0.1:{server.port}/{base}"
        assert curl("-H", "Content-Type: application/xml", "-d", xml, f"{url}/apps/SHOP") == ("204", "")
        status, body = curl(f"{url}/apps/")
        root = ET.fromstring(body)
        assert (status, root.tag, root.findtext("apps__hashcode")) == ("200", "applications", "UP_1_")
        instance = root.find("application/instance")
        assert instance.findtext("metadata/my__key") == "a & b"
        assert instance.find("port").attrib == {"enabled": "true"}
        status, body = curl("-H", "Accept: application/json", f"{url}/vips/store")
        found = json.loads(body)["applications"]["application"][0]["instance"][0]
        assert found["port"] == {"$": port, "@enabled": "true"}
        assert found["metadata"] == {"my_key": "a & b"}
        assert curl("-X", "PUT", f"{url}/apps/shop/x") == ("200", "")
        assert curl("-X", "DELETE", f"{url}/apps/SHOP/x") == ("200", "")
        assert curl(f"{url}/apps/SHOP")[0] == "404"


def test_delta_and_hash_agree_under_concurrent_writes(start):
    server = Server(start)
    failures: list = []

    def write(writer: int) -> None:
        try:
            for turn in range(60):
                app, instance = f"APP{turn % 4}", f"i{writer}-{turn % 7}"
                assert server.register(app, instance, 1 + turn, lastDirtyTimestamp=str(turn + 1)) == 204
                if turn % 5 == 1:
                    assert server.status("DELETE", f"apps/{app}/{instance}") in (200, 404)
                if turn % 5 == 2:
                    server.status("PUT", f"apps/{app}/{instance}/status?value=OUT_OF_SERVICE")
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    known: dict = {}
    rounds = 0
    ended = False
    while not ended:
        # One more round after the last write.
        ended = rounds >= 5 and not any(writer.is_alive() for writer in writers)
        rounds += 1
        delta = server.json("apps/delta")
        for instance in all_of(delta):
            key = (instance["app"], instance["instanceId"])
            if instance["actionType"] == "DELETED":
                known.pop(key, None)
            else:
                known[key] = instance
        assert hash_of(known.values()) == delta["applications"]["apps__hashcode"]
        full = server.json("apps")
        assert hash_of(all_of(full)) == full["applications"]["apps__hashcode"]
    for writer in writers:
        writer.join()
    assert not failures, failures
    status, fields, zipped = server.call("GET", "apps", accept="application/json", accept_encoding="gzip")
    assert status == 200 and fields["content-encoding"] == "gzip"
    assert len(all_of(json.loads(gzip.decompress(zipped)))) == len(known)


def test_a_port_that_is_taken_is_told_and_skipped(start, origin):
    taken = origin("somebody else")
    gateway = start(config(registry={"eureka": {"address": f"127.0.0.1:{taken.port}"}}))
    assert "a foreign registry's protocol is not served" in gateway.output()
    assert "is in use" in gateway.output()
    gateway.register("orders", "a", origin("me").port)
    assert told(get(gateway.port(), "/orders/"))["origin"] == "me"


def test_the_protocol_is_switched_on_and_off_by_a_reload(start, tmp_path):
    server = Server(start)
    assert f"eureka    http://localhost:{server.port}" in server.gateway.output(), "it is shown"
    assert server.status("GET", "apps") == 200
    settings = server.gateway.settings
    server.gateway.write(settings | {"registry": {"eureka": {"enabled": False}}})
    server.gateway.hang_up()

    def is_off() -> bool:
        try:
            server.status("GET", "apps")
        except OSError:
            return True
        return False

    until(is_off, "the listener to be closed")
    server.gateway.write(settings)
    server.gateway.hang_up()
    until(lambda: not is_off(), "the listener to be back")


def test_pages_of_other_hosts_are_refused(start):
    server = Server(start)
    assert server.status("GET", "apps", host="evil.example") == 421
    assert server.status("GET", "apps", host=f"localhost:{server.port}") == 200
    assert server.status("GET", "apps", origin="http://evil.example") == 403


def test_a_configuration_that_opens_it_to_others_is_refused(tmp_path):
    file = tmp_path / "portolan.yaml"
    file.write_text("registry: {eureka: {address: '0.0.0.0:8761'}}\n")
    code, output, errors = command("check", file, folder=tmp_path)
    assert code == 1 and "1 error" in output and "open to others" in output, output + errors
