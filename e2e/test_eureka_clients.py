"""Eureka's clients live their whole lives against Portolan: their own code, unchanged."""

import json
import os
import re
import subprocess
import time
import urllib.request

import pytest

from harness.eureka import LIBRARIES, PACKAGES, Server
from harness.gateway import ROOT
from harness.origin import told
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until
from harness.wire import get

# A lease of theirs lasts 4 s.
LONGER_THAN_A_LEASE = 5
# A virtual machine has to start, and looks once a second.
PATIENCE = 60


class Life:
    """A server, two programs that speak by one library, and what is around them."""

    def __init__(self, library: str, start, origin, client) -> None:
        self.server = Server(start, guard={"hold": "0s"})
        self.library = library
        self.own, self.native = origin("own"), origin("native")
        self.place = f"127.0.0.1:{self.own.port}"
        self.native_place = f"127.0.0.1:{self.native.port}"
        self.server.gateway.register("native", "n", self.native.port)
        self.orders = client(library, self.server.port, "orders", self.own.port, "native")
        self.shop = client(library, self.server.port, "shop", origin("shop").port, "orders")

    def registered(self, app: str) -> bool:
        path = f"/v1/services/{app}/instances/{app}-{self.library}"
        return self.server.gateway.admin("GET", path)[0] == 200

    def orders_status(self) -> int:
        return get(self.server.gateway.port(), "/orders/").status

    def sees(self, program, places: list[str], what: str) -> None:
        """Waits for the program to say that it sees exactly these, from now on."""
        count = len(program.said)
        until(lambda: program.has_said("seen", after=count, places=sorted(places)), what, PATIENCE)


@pytest.mark.alone
@pytest.mark.timeout(150)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_lives_a_whole_life(library, start, origin, client):
    life = Life(library, start, origin, client)
    server, orders, shop = life.server, life.orders, life.shop

    # It registers, is routed to, and lives by its heartbeats.
    until(lambda: life.registered("orders") and life.registered("shop"), "both to register", PATIENCE)
    began = time.monotonic()
    until(lambda: life.orders_status() == 200, "the route")
    assert told(get(server.gateway.port(), "/orders/"))["origin"] == "own"
    shown = server.shown("ORDERS", f"orders-{library}")
    assert shown["metadata"]["zone"] == "z1" and shown["leaseInfo"]["durationInSecs"] == 4

    # It finds others: what registered natively, what registered by its own library, what
    # comes and goes later.
    life.sees(orders, [life.native_place], "orders to find the native instance")
    life.sees(shop, [life.place], "shop to find orders")
    later = origin("later")
    server.gateway.register("native", "o", later.port)
    life.sees(orders, [life.native_place, f"127.0.0.1:{later.port}"], "orders to find one more")
    server.gateway.admin("DELETE", "/v1/services/native/instances/o")
    life.sees(orders, [life.native_place], "orders to miss it")

    # An operator takes it out and lets it back.
    status = f"apps/ORDERS/orders-{library}/status?value="
    assert server.status("PUT", f"{status}OUT_OF_SERVICE") == 200
    assert life.orders_status() == 503
    life.sees(shop, [], "shop to see orders taken out")
    until(lambda: time.monotonic() > began + LONGER_THAN_A_LEASE, "a lease to have passed")
    assert life.orders_status() == 503, "its heartbeats do not undo it"
    assert server.status("DELETE", f"{status}UP") == 200
    until(lambda: life.orders_status() == 200, "the route to be back", PATIENCE)
    life.sees(shop, [life.place], "shop to see orders back")
    again = server.shown("ORDERS", f"orders-{library}")["leaseInfo"]["durationInSecs"]
    assert again == 4 and life.registered("shop")

    # The server loses everything: they register again, and find each other again.
    server.begin_anew()
    until(lambda: life.registered("orders") and life.registered("shop"), "both again", PATIENCE)
    life.sees(shop, [life.place], "shop to find orders again")

    # One leaves, the other one dies.
    shop.leave()
    assert not life.registered("shop"), "whoever leaves is gone at once"
    orders.stop()
    until(lambda: not life.registered("orders"), "the dead one to be gone", 15)


@pytest.mark.parametrize("library", ["js", "py"])
def test_a_client_that_lives_by_heartbeats_does_not_register_again(library, start, origin, client):
    server = Server(start, guard={"hold": "0s"})
    program = client(library, server.port, "orders", origin("own").port, "orders")
    instance = f"/v1/services/orders/instances/orders-{library}"
    until(lambda: server.gateway.admin("GET", instance)[0] == 200, "the registration")

    def registered_at() -> str:
        return server.shown("ORDERS", f"orders-{library}")["leaseInfo"]["registrationTimestamp"]

    before, began = registered_at(), time.monotonic()
    until(lambda: time.monotonic() > began + LONGER_THAN_A_LEASE, "a lease to have passed")
    assert registered_at() == before
    assert server.gateway.admin("DELETE", instance)[0] == 200
    until(lambda: server.gateway.admin("GET", instance)[0] == 200, "it to register again", 15)
    program.leave()


@pytest.mark.parametrize("library", PACKAGES)
def test_a_client_for_node_passes_its_own_integration_tests(library, start, parts, tmp_path):
    server = Server(start)
    modules = parts / "node" / "node_modules"
    package = modules / PACKAGES[library]
    text = (package / "test" / "integration.test.js").read_text()
    text, imports = re.subn(
        r"import Eureka from '../src/index';",
        f"import clients from '{PACKAGES[library]}';\nconst Eureka = clients.Eureka;", text,
    )
    # The last one is the server's.
    head, _, tail = text.rpartition("port: 8080")
    assert imports == 1 and head, text
    (tmp_path / "integration.mjs").write_text(f"{head}port: {server.port}{tail}")
    (tmp_path / "node_modules").symlink_to(modules)
    done = subprocess.run(
        [modules / ".bin" / "mocha", "--exit", "integration.mjs"],
        cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[2-9] passing", done.stdout) and "failing" not in done.stdout, done.stdout


def test_the_client_for_rust_passes_its_own_integration_tests(start, parts):
    server = Server(start)
    done = subprocess.run(
        [parts / "bin" / "eureka-client-tests", "--ignored", "--nocapture"],
        env=os.environ | {"EUREKA_URI": f"http://127.0.0.1:{server.port}"},
        capture_output=True, text=True, timeout=50, check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(r"test result: ok\. 10 passed", said), said
    # What its tests only warn of.
    assert "Warning" not in said and "Note:" not in said, said


def test_prometheus_discovers_instances(start, origin, parts, programs, tmp_path):
    server = Server(start)
    one = origin("one")
    server.register("ORDERS", "a", one.port, metadata={"team": "shop"})
    server.gateway.register("native", "n", one.port)
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{
            "job_name": "services",
            "eureka_sd_configs": [
                {"server": f"http://127.0.0.1:{server.port}/eureka", "refresh_interval": "1s"},
            ],
        }],
    }))
    programs(Program(
        [parts / "prometheus" / "usr" / "bin" / "prometheus",
         f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
         f"--web.listen-address={address}"],
        tmp_path / "prometheus.log",
    ))

    def found() -> dict:
        try:
            with urllib.request.urlopen(f"http://{address}/api/v1/targets", timeout=5) as answer:
                targets = json.load(answer)["data"]["activeTargets"]
        except OSError:
            return {}
        labels = [target["discoveredLabels"] for target in targets]
        return {label["__meta_eureka_app_instance_id"]: label for label in labels}

    until(lambda: set(found()) == {"a", "n"}, "both to be found", 20)
    labels = found()["a"]
    assert labels["__address__"] == f"localhost:{one.port}"
    assert labels["__meta_eureka_app_name"] == "ORDERS"
    assert labels["__meta_eureka_app_instance_status"] == "UP"
    assert labels["__meta_eureka_app_instance_metadata_team"] == "shop"
    assert found()["n"]["__meta_eureka_app_name"] == "NATIVE"

    assert server.status("PUT", "apps/ORDERS/a/status?value=OUT_OF_SERVICE") == 200
    until(lambda: found()["a"]["__meta_eureka_app_instance_status"] == "OUT_OF_SERVICE", "it to be out")
    assert server.status("DELETE", "apps/ORDERS/a") == 200
    until(lambda: set(found()) == {"n"}, "it to be gone")
