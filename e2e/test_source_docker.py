"""A real Docker daemon, and services that are containers."""

import json
import signal
import subprocess
import time
from collections import Counter

import pytest

from harness.docker import Docker
from harness.gateway import binary, config
from harness.origin import told
from harness.ports import free_port
from harness.processes import Program
from harness.traffic import Load, spread
from harness.waiting import until
from harness.wire import Client, get


@pytest.fixture
def docker(tmp_path_factory, programs) -> Docker:
    """A daemon with the host's network. Its socket has to have a short path."""
    daemon = programs(Docker(tmp_path_factory.mktemp("d")))
    daemon.build()
    return daemon


@pytest.fixture
def docker_apart(tmp_path_factory, programs) -> Docker:
    """A daemon with bridges, in a network of its own."""
    folder = tmp_path_factory.mktemp("n")
    apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    daemon = programs(Docker(folder, tuple(apart), bridge="10.200.0.1/24"))
    daemon.build()
    return daemon


def reading(start, docker, **settings):
    source = {"host": f"unix://{docker.socket}"} | settings
    return start(config(sources={"local": {"docker": source}}))


def state(gateway) -> dict:
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    return next(source for source in answer["sources"] if source["id"] == "docker:local")


def stale(gateway) -> str | None:
    """Why the source does not know; none if it does."""
    source = state(gateway)
    return source["stale"]["reason"] if source.get("stale") else None


def members(gateway, service: str = "orders") -> dict:
    """The members of a service by the names of their containers."""
    status, answer = gateway.admin("GET", f"/v1/services/{service}")
    if status == 404:
        return {}
    return {member["metadata"]["container"]: member for member in answer["members"]}


def names_of(gateway, path: str = "/orders/", requests: int = 30) -> set:
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path) for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else None for answer in answers}


def serves(gateway, names: set, path: str = "/orders/", seconds: float = 10) -> None:
    until(lambda: names_of(gateway, path) == names, f"{names} at {path}", seconds)


def test_containers_come_and_go(start, docker):
    gateway = reading(start, docker)
    assert get(gateway.port(), "/orders/").status == 404
    docker.run("one", free_port(), labels={"portolan.version": "v1", "portolan.zone": "z1", "portolan.meta.team": "a"})
    docker.run("two", free_port())
    docker.run("other", free_port(), labels={"portolan.enable": "false"})
    serves(gateway, {"one", "two"})
    one = members(gateway)["one"]
    assert (one["version"], one["zone"], one["metadata"]["team"]) == ("v1", "z1", "a"), one
    docker.kill_container("one")
    serves(gateway, {"two"})
    docker.api("POST", "/containers/one/start")
    serves(gateway, {"one", "two"})
    docker.api("DELETE", "/containers/two?force=true")
    serves(gateway, {"one"})


def test_paused_and_unhealthy_containers_get_nothing(start, docker):
    gateway = reading(start, docker)
    port = free_port()
    docker.run("steady", free_port())
    docker.run("checked", port, health=f"wget -q -O /dev/null http://127.0.0.1:{port}/ && ! cat /sick")
    serves(gateway, {"steady", "checked"}, seconds=20)
    docker.api("POST", "/containers/checked/pause")
    # Who asks a frozen program waits for as long as it is frozen.
    until(lambda: not members(gateway)["checked"]["is_open"], "the pause to be known")
    serves(gateway, {"steady"})
    assert members(gateway)["checked"]["note"] == "paused"
    docker.api("POST", "/containers/checked/unpause")
    serves(gateway, {"steady", "checked"}, seconds=20)
    sick = docker.api("POST", "/containers/checked/exec", {"Cmd": ["sh", "-c", "echo no > /sick"]})
    docker.api("POST", f"/exec/{sick['Id']}/start", {"Detach": True})
    until(lambda: members(gateway)["checked"]["status"] == "critical", "the sickness to be known", 30)
    serves(gateway, {"steady"}, seconds=20)


def test_what_can_t_be_used_is_told_and_hides_nothing_else(start, docker):
    gateway = reading(start, docker)
    docker.run("good", free_port())
    serves(gateway, {"good"})
    docker.run("odd", free_port(), labels={"portolan.port": "http"})
    until(lambda: state(gateway)["unfit"], "what is passed over to be counted")
    assert "container `odd`" in state(gateway)["unfit_example"] and "portolan.port" in state(gateway)["unfit_example"]
    docker.run("after", free_port())
    serves(gateway, {"good", "after"})
    assert set(members(gateway)) == {"good", "after"} and not stale(gateway)


def test_a_change_is_routable_at_once(start, docker):
    gateway = reading(start, docker)
    docker.run("first", free_port())
    serves(gateway, {"first"})
    seconds = []
    with Client(gateway.port()) as client:
        for number in range(15):
            docker.run(f"c{number}", free_port(), labels={"portolan.service": f"s{number}"})
            began = time.monotonic()
            while client.request("GET", f"/s{number}/").status != 200:
                assert time.monotonic() - began < 10
            seconds.append(time.monotonic() - began)
    spread("docker start -> routable, after the daemon's answer", seconds)
    assert sorted(seconds)[len(seconds) // 2] < 1


def test_no_request_fails_while_the_daemon_is_lost(start, docker):
    gateway = reading(start, docker, timeout="1s")
    for name in ("one", "two", "three"):
        docker.run(name, free_port())
    serves(gateway, {"one", "two", "three"})
    all_names = {"one", "two", "three"}
    with Load(gateway.port(), "/orders/", all_names) as load:
        docker.signal(signal.SIGSTOP)
        until(lambda: stale(gateway), "the source to notice a silent daemon", 30)
        docker.signal(signal.SIGCONT)
        until(lambda: not stale(gateway), "the source to recover", 30)
        docker.kill()
        until(lambda: stale(gateway), "the source to notice a dead daemon", 30)
        assert str(docker.socket) in stale(gateway), stale(gateway)
        time.sleep(0.5)
        docker.again()
        began = time.monotonic()
        until(lambda: not stale(gateway), "the source to recover", 60)
        print(f"\ndaemon back -> in step: {time.monotonic() - began:.2f} s")
        docker.run("four", free_port())
        load.right = all_names | {"four"}
        serves(gateway, all_names | {"four"})
        load.check("docker lost")


def test_containers_that_end_under_load_are_left_at_once(start, docker):
    gateway = reading(start, docker)
    docker.run("lasting", free_port())
    docker.run("leaving", free_port())
    serves(gateway, {"lasting", "leaving"})
    with Load(gateway.port(), "/orders/", {"lasting", "leaving"}) as load:
        docker.api("POST", "/containers/leaving/pause")
        until(lambda: not members(gateway)["leaving"]["is_open"], "the pause to be known")
        time.sleep(0.2)
        counts = Counter(load.answered)
        time.sleep(0.5)
        assert load.answered["leaving"] <= counts["leaving"] + 4, "only what was under way"
        docker.api("POST", "/containers/leaving/unpause")
        until(lambda: load.answered["leaving"] > counts["leaving"] + 20, "traffic to return")
        docker.kill_container("leaving")
        serves(gateway, {"lasting"})
        print(f"\nfailed while a container was killed: {len(load.failed)}")
        assert len(load.failed) <= 4, load.failed


def test_a_daemon_over_tls_that_asks_for_a_certificate(start, programs, tmp_path_factory, authority):
    server = authority.issue("127.0.0.1", file="daemon") | {"ca": str(authority.file)}
    daemon = programs(Docker(tmp_path_factory.mktemp("t"), tls=server))
    daemon.build()
    daemon.run("one", free_port())
    mine = authority.issue("portolan.test", file="portolan") | {"ca": str(authority.file)}
    source = {"host": f"tcp://127.0.0.1:{daemon.port}"}
    gateway = start(config(sources={"local": {"docker": source | {"tls": mine}}}))
    serves(gateway, {"one"})
    daemon.run("two", free_port())
    serves(gateway, {"one", "two"})
    bare = {"ca": str(authority.file)}
    stranger = start(config(sources={"local": {"docker": source | {"tls": bare}}}), folder="stranger")
    until(lambda: stale(stranger), "the refusal to be told")
    assert f"127.0.0.1:{daemon.port}" in stale(stranger), stale(stranger)


class Apart:
    """A gateway in the network of a daemon; it is asked from within."""

    def __init__(self, folder, docker, programs, **settings) -> None:
        self.docker = docker
        settings = config(sources={"local": {"docker": {"host": f"unix://{docker.socket}"} | settings}})
        self.web = settings["listeners"]["web"]["address"]
        self.control = settings["admin"]["address"]
        folder.mkdir()
        file = folder / "portolan.yaml"
        file.write_text(json.dumps(settings))
        command = [*self._inside(), binary(), "run", "--config", file, "--data-dir", folder / "data"]
        programs(Program(command, folder / "portolan.log"))
        until(lambda: self.get(self.control, "/ready") is not None, "the gateway to be ready")

    def get(self, address: str, path: str):
        command = [*self._inside(), "curl", "-sSf", "--max-time", "5", f"http://{address}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def member(self, service: str, name: str) -> dict | None:
        told = json.loads(self.get(self.control, f"/v1/services/{service}") or '{"members": []}')
        return next((one for one in told["members"] if one["metadata"]["container"] == name), None)

    def _inside(self) -> list[str]:
        return ["nsenter", "--net", "--target", str(self.docker.pid)]


def test_bridges_networks_and_published_ports(docker_apart, programs, tmp_path):
    """All of it in a network of its own: addresses of bridges are seen only there."""
    docker = docker_apart
    inner, outer = Apart(tmp_path / "inner", docker, programs), Apart(tmp_path / "outer", docker, programs, use="published")
    docker.api("POST", "/networks/create", {"Name": "shop_back"})
    published = {"8080/tcp": [{"HostIp": "", "HostPort": "8088"}]}
    docker.run("one", 8080, address="0.0.0.0", network="bridge", PortBindings=published)
    until(lambda: inner.get(inner.web, "/orders/"), "the container to be reached by its own address")
    until(lambda: outer.get(outer.web, "/orders/"), "the container to be reached where its port is published")
    assert inner.member("orders", "one")["endpoints"]["default"].startswith("10.200.0."), inner.member("orders", "one")
    assert outer.member("orders", "one")["endpoints"]["default"] == "127.0.0.1:8088"
    two = docker.run("two", 8080, address="0.0.0.0", network="bridge",
                     labels={"portolan.service": "users", "portolan.network": "back"})
    docker.run("after", 8080, address="0.0.0.0", network="bridge")
    until(lambda: inner.member("orders", "after"), "the container after it")
    assert not inner.member("users", "two"), "it has no address in the network that it wants"
    docker.api("POST", "/networks/shop_back/connect", {"Container": two})
    until(lambda: inner.get(inner.web, "/users/"), "the network to be seen")
    assert not inner.member("users", "two")["endpoints"]["default"].startswith("10.200.0.")
