"""Other people's clients of Consul, unmodified, live their whole life against Portolan."""

import json
import os
import re
import shutil
import subprocess

import pytest

from harness.consul import Agent
from harness.gateway import ROOT
from harness.peers import listens
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until
from harness.wire import get

CLIENTS = ROOT / "e2e" / "clients"


@pytest.fixture
def agent(start):
    return Agent(start)


def run(command: list, seconds: float, **environment) -> str:
    """What a program said that ended well."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=seconds, check=False,
        env=os.environ | {name: str(value) for name, value in environment.items()})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_program_by_npm_s_consul_lives_its_life(agent, parts):
    node = shutil.which("node") or "node"
    said = run([node, CLIENTS / "consul.js", agent.port], 40, NODE_PATH=parts / "node" / "node_modules")
    steps = [json.loads(line)["event"] for line in said.splitlines()]
    assert steps == ["registers", "beats", "queries", "watches", "registersAgainAfterALoss", "keepsKeys", "locks",
                     "deregisters"]


def test_a_program_by_consul_s_go_api_lives_its_life(agent, parts):
    said = run([parts / "bin" / "consul-life"], 40, CONSUL_HTTP_ADDR=f"127.0.0.1:{agent.port}")
    assert said.splitlines() == ["registers", "beats", "queries", "watches", "registers again after a loss",
                                 "keeps keys", "locks", "deregisters"]


# Which tests of rs-consul are left out, and why.
RUST_LEFT_OUT = {
    "acl_tests::test_acl_retrieve_tokens": "secrets are stored hashed and shown once",
    "acl_tests::test_read_token": "secrets are stored hashed and shown once",
    "smoke_acl::smoke_test_token_policy_retrieval": "it reads a policy's index as 32 bits; ours are revisions",
}
# The first token of its agent, by its configuration.
RUST_TOKEN = "8fc9e787-674f-0709-cfd5-bfdabd73a70d"


def rust(agent, parts, *arguments: str) -> dict[str, str]:
    """How the tests of rs-consul that these arguments choose ended."""
    programs = sorted(
        (parts / "cargo-target" / "debug" / "deps").glob("test_runner-*"), key=lambda file: file.stat().st_mtime)
    program = [file for file in programs if not file.suffix][-1]
    done = subprocess.run(
        [program, "--test-threads=2", *arguments], capture_output=True, text=True, timeout=100, check=False,
        env=os.environ | {"CONSUL_HTTP_ADDR": f"http://127.0.0.1:{agent.port}", "RUST_BACKTRACE": "0"})
    results = dict(re.findall(r"^test (\S+) \.\.\. (\w+)$", done.stdout, re.MULTILINE))
    failed = {name for name, result in results.items() if result != "ok"}
    assert failed <= set(RUST_LEFT_OUT), done.stdout[-4000:] + done.stderr[-2000:]
    return results


@pytest.mark.timeout(120)
def test_the_tests_of_rs_consul_pass(agent, parts):
    # What the suite's own agent has in its configuration.
    for number, tag in enumerate(("first", "second", "third"), 1):
        agent.client.agent.service.register(
            "test-service", service_id=f"test-service-{number}", address=".".join([str(number)] * 4),
            port=20000 + number, tags=[tag])
    assert len(rust(agent, parts, "--skip", "acl")) == 11


def test_the_tests_of_rs_consul_about_access_pass_but_for_what_is_left_out(start, parts):
    agent = Agent(start, access={})
    assert agent.call("PUT", "/v1/acl/bootstrap", {"BootstrapSecret": RUST_TOKEN})[0] == 200
    results = rust(agent, parts, "acl")
    assert len(results) == 5 and {name for name in results if results[name] != "ok"} == set(RUST_LEFT_OUT)


def test_traefik_sends_to_what_it_finds(agent, origin, tmp_path, parts, programs):
    backend = origin("one")
    entry = free_port()
    (tmp_path / "traefik.yml").write_text(json.dumps({
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"web": {"address": f"127.0.0.1:{entry}"}},
        "providers": {"consulCatalog": {
            "endpoint": {"address": f"127.0.0.1:{agent.port}"}, "watch": True, "refreshInterval": "1s"}},
    }))
    traefik = [parts / "venv" / "bin" / "traefik", f"--configFile={tmp_path / 'traefik.yml'}"]
    programs(Program(traefik, tmp_path / "traefik.log"))
    until(lambda: listens(entry), "Traefik", 30)
    agent.client.agent.service.register("orders", address="127.0.0.1", port=backend.port)

    def status() -> int:
        return get(entry, "/", host="orders").status

    until(lambda: status() == 200, "Traefik to find the service", 20)
    agent.client.agent.service.maintenance("orders", "true")
    until(lambda: status() != 200, "Traefik to leave it out", 20)
    agent.client.agent.service.maintenance("orders", "false")
    until(lambda: status() == 200, "Traefik to find it again", 20)
    agent.client.agent.service.deregister("orders")
    until(lambda: status() == 404, "Traefik to forget it", 20)


def test_victoria_metrics_scrapes_what_it_finds(agent, web, tmp_path, programs):
    site, port = web(), free_port()
    site.body = b"shop_orders 7\n"
    (tmp_path / "vm.yml").write_text(json.dumps({"scrape_configs": [{
        "job_name": "found", "scrape_interval": "1s",
        "consul_sd_configs": [{"server": f"127.0.0.1:{agent.port}", "services": ["orders"]}],
        "relabel_configs": [{"source_labels": ["__meta_consul_service_metadata_team"], "target_label": "team"}],
    }]}))
    program = shutil.which("victoria-metrics", path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert program, "victoria-metrics is missing: apt-get install victoria-metrics"
    programs(Program([
        program, f"-storageDataPath={tmp_path / 'vm'}", f"-httpListenAddr=127.0.0.1:{port}",
        f"-promscrape.config={tmp_path / 'vm.yml'}", "-promscrape.consulSDCheckInterval=1s",
        "-search.latencyOffset=0s"], tmp_path / "vm.log"))
    until(lambda: listens(port), "VictoriaMetrics", 30)
    agent.client.agent.service.register("orders", address="127.0.0.1", port=site.port, meta={"team": "shop"})

    def ask(path: str) -> dict:
        return json.loads(get(port, path).body)["data"]

    def labels() -> list[dict]:
        return [target["labels"] for target in ask("/api/v1/targets")["activeTargets"]]

    until(lambda: labels() and labels()[0]["team"] == "shop", "the target to be found", 20)
    until(lambda: ask("/api/v1/query?query=shop_orders")["result"], "its figures to be read", 20)
    assert site.seen[0][1] == "/metrics"
    agent.client.agent.service.deregister("orders")
    until(lambda: not labels(), "the target to go", 20)
