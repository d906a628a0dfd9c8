"""The first minute: no configuration, one curl.

The ports are the real ones, so each test has a network of its own.
"""

import json
import re
import subprocess

import pytest

from harness.gateway import binary
from harness.loopback import Loopback
from harness.processes import Program
from harness.waiting import until


ORIGIN = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.path} {self.headers['x-forwarded-prefix']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 9001), Handler).serve_forever()
"""


@pytest.fixture
def network(tmp_path, programs):
    network = Loopback(tmp_path)
    programs(network.holder)
    programs(Program(network.inside("python3", "-c", ORIGIN), tmp_path / "origin.log"))
    network.gateway = programs(Program(network.inside(binary()), tmp_path / "portolan.log", cwd=tmp_path))

    def ready() -> bool:
        assert network.gateway.is_running(), network.gateway.output()
        probe = network.inside("curl", "-sf", "http://127.0.0.1:9070/ready")
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    until(ready, "readiness")
    listens = ["sh", "-c", "ss -Hltn 'sport = :9001' | grep -q LISTEN"]
    until(lambda: subprocess.run(network.inside(*listens), check=False).returncode == 0, "the origin")
    return network


REGISTER = ["-X", "PUT", "http://localhost:9070/v1/services/orders/instances/a", "-H", "content-type: application/json",
            "-d", '{"port": 9001}']


def test_one_curl_makes_a_service_reachable(network, tmp_path):
    answer = json.loads(network.curl(*REGISTER))
    assert answer["revision"] > 0
    assert network.curl("http://localhost:8080/orders/list") == "/list /orders"
    assert network.curl("http://orders.localhost:8080/list") == "/list None"
    assert network.curl(answer["url"]).startswith("/ ")
    assert (tmp_path / "portolan-data").is_dir()


def test_the_summary_has_commands_that_work_as_printed(network):
    """Every `curl` line of the summary is typed in as it stands."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", network.gateway.output())
    assert "8080" in said and "9070" in said, said
    commands = [line.strip().lstrip("$ ") for line in said.splitlines() if line.strip().lstrip("$ ").startswith("curl ")]
    assert len(commands) == 3, said
    for command in commands:
        network.run("sh", "-c", f"{command} --max-time 5 -sS")


def test_everything_listens_on_loopback_only(network):
    shown = network.run("ss", "-Hltn")
    addresses = [line.split()[3] for line in shown.splitlines()]
    assert addresses and all(address.startswith(("127.", "[::1]")) for address in addresses), addresses


def test_the_registry_forgets_nothing_while_it_runs(network):
    network.curl(*REGISTER)
    assert "orders" in network.curl("http://localhost:9070/v1/services")
    assert "portolan_catalog_services 1" in network.curl("http://localhost:9070/metrics")
