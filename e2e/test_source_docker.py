"""A real Docker daemon, and services that are containers."""

import signal
import time
from collections import Counter

import pytest

from harness.docker import Docker
from harness.gateway import config
from harness.traffic import Load, spread
from harness.origin import told
from harness.ports import free_port
from harness.waiting import until
from harness.wire import Client, get


@pytest.fixture
def docker(tmp_path_factory, programs) -> Docker:
    """A daemon with the host's network. Its socket has to have a short path."""
    daemon = programs(Docker(tmp_path_factory.mktemp("d")))
    daemon.build()
    return daemon


def reading(start, docker, **settings):
    source = {"host": f"unix://{docker.socket}"} | settings
    return start(config(sources={"local": {"docker": source}}))


def stale(gateway) -> str | None:
    """Why the source does not know; none if it does."""
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    source = next(source for source in answer["sources"] if source["id"] == "docker:local")
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
    serves(gateway, {"steady"})
    assert members(gateway)["checked"]["note"] == "paused"
    docker.api("POST", "/containers/checked/unpause")
    serves(gateway, {"steady", "checked"}, seconds=20)
    sick = docker.api("POST", "/containers/checked/exec", {"Cmd": ["sh", "-c", "echo no > /sick"]})
    docker.api("POST", f"/exec/{sick['Id']}/start", {"Detach": True})
    serves(gateway, {"steady"}, seconds=20)
    assert members(gateway)["checked"]["status"] == "critical"


def test_what_can_t_be_used_hides_nothing_else(start, docker):
    gateway = reading(start, docker)
    docker.run("good", free_port())
    serves(gateway, {"good"})
    docker.run("odd", free_port(), labels={"portolan.port": "http"})
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
