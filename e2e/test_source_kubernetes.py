"""Services of a cluster, told by a server that behaves as Kubernetes' own does."""

import json
import os
import time

import pytest

from harness.gateway import binary, config, port_of
from harness.kubernetes import TOKEN, Cluster, endpoint
from harness.origin import told
from harness.processes import Program
from harness.traffic import Load, spread
from harness.waiting import until
from harness.wire import Client, get


@pytest.fixture
def cluster():
    running: list[Cluster] = []

    def cluster(**options) -> Cluster:
        running.append(Cluster(**options))
        return running[-1]

    yield cluster
    for one in running:
        one.close()


def reading(start, tmp_path, cluster, ca=None, token=None, **settings):
    file = cluster.kubeconfig(tmp_path, ca, **({"token": token} if token else {}))
    source = {"kubeconfig": str(file), "context": "test", "timeout": "1s"} | settings
    return start(config(sources={"cluster": {"kubernetes": source}}))


def stale(gateway) -> str | None:
    """Why the source does not know; none if it does."""
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    source = next(source for source in answer["sources"] if source["id"] == "kubernetes:cluster")
    return source["stale"]["reason"] if source.get("stale") else None


def members(gateway, service: str = "orders") -> dict:
    status, answer = gateway.admin("GET", f"/v1/services/{service}")
    return {member["id"]: member for member in answer["members"]} if status == 200 else {}


def origins_of(gateway, path: str = "/orders/", requests: int = 30) -> set:
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path) for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else None for answer in answers}


def serves(gateway, names: set, path: str = "/orders/", seconds: float = 10) -> None:
    until(lambda: origins_of(gateway, path) == names, f"{names} at {path}", seconds)


def fill(cluster, **origins) -> None:
    """A service `orders`, with a slice of its own for each of its pods."""
    cluster.service("orders", {"app.kubernetes.io/version": "1.4"})
    for name, origin in origins.items():
        cluster.slice(f"orders-{name}", "orders", origin.port, endpoint(name, zone="z1"))


def test_services_and_slices_over_tls_with_a_token(start, origin, cluster, tmp_path, authority):
    api = cluster(tls=authority.server("127.0.0.1"))
    one, two = origin("one"), origin("two")
    fill(api, one=one, two=two)
    api.service("empty")
    gateway = reading(start, tmp_path, api, authority.file, pods=True)
    serves(gateway, {"one", "two"})
    first = members(gateway)["one"]
    assert (first["version"], first["zone"], first["namespace"]) == ("1.4", "z1", "default"), first
    assert get(gateway.port(), "/empty/").status == 503
    api.put("pods", "one", {}, labels={"app.kubernetes.io/version": "1.5", "tier": "web"})
    until(lambda: members(gateway)["one"]["version"] == "1.5", "the pod's own version")
    assert members(gateway)["one"]["metadata"]["tier"] == "web"
    api.delete("endpointslices", "orders-two")
    serves(gateway, {"one"})
    api.delete("services", "orders")
    until(lambda: get(gateway.port(), "/orders/").status in (404, 503), "the service to go")


def test_the_account_of_the_pod_that_portolan_runs_in(origin, cluster, tmp_path, authority, programs):
    api = cluster(tls=authority.server("127.0.0.1"))
    fill(api, one=origin("one"))
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(TOKEN)
    (account / "namespace").write_text("default")
    (account / "ca.crt").write_bytes(authority.file.read_bytes())
    settings = config(sources={"cluster": {"kubernetes": {}}})
    file = tmp_path / "portolan.yaml"
    file.write_text(json.dumps(settings))
    # As in a pod: files of the account where they are mounted, and the server in the environment.
    place = "/run/secrets/kubernetes.io/serviceaccount"
    script = f'mount -t tmpfs none /run && mkdir -p {place} && cp "$0"/* {place} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, account,
               binary(), "run", "--config", file, "--data-dir", tmp_path / "data"]
    server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    programs(Program(command, tmp_path / "portolan.log", env=os.environ | server))
    web = port_of(settings["listeners"]["web"]["address"])

    def answer() -> int | None:
        try:
            return get(web, "/orders/").status
        except OSError:
            return None

    until(lambda: answer() == 200, "the service to be served", 20)


def test_conditions_decide_who_gets_requests(start, origin, cluster, tmp_path):
    api = cluster()
    one, two = origin("one"), origin("two")
    fill(api, one=one, two=two)
    gateway = reading(start, tmp_path, api)
    serves(gateway, {"one", "two"})
    api.slice("orders-two", "orders", two.port, endpoint("two", ready=False))
    serves(gateway, {"one"})
    assert members(gateway)["two"]["note"] == "not ready"
    api.slice("orders-two", "orders", two.port, endpoint("two"))
    serves(gateway, {"one", "two"})
    leaving = {"ready": False, "serving": True, "terminating": True}
    api.slice("orders-one", "orders", one.port, endpoint("one", **leaving))
    serves(gateway, {"two"})
    api.slice("orders-two", "orders", two.port, endpoint("two", ready=False, serving=False, terminating=True))
    serves(gateway, {"one"})


def test_namespaces_and_selectors_narrow_what_is_read(start, origin, cluster, tmp_path):
    api = cluster()
    one = origin("one")
    fill(api, one=one)
    api.service("web", {"tier": "web"})
    api.slice("web-1", "web", one.port, endpoint("w"))
    api.put("services", "far", {"spec": {"ports": [{"name": "http"}]}}, namespace="other", labels={"tier": "web"})
    gateway = reading(start, tmp_path, api, namespaces=["default"], selector="tier=web")
    serves(gateway, {"one"}, "/web/")
    assert get(gateway.port(), "/orders/").status == 404
    assert get(gateway.port(), "/other/far/").status == 404


@pytest.mark.alone
def test_what_moves_between_slices_is_never_gone(start, origin, cluster, tmp_path):
    api = cluster()
    one = origin("one")
    api.service("orders")
    api.slice("a", "orders", one.port, endpoint("one"))
    gateway = reading(start, tmp_path, api)
    serves(gateway, {"one"})
    with Load(gateway.port(), "/orders/", {"one"}) as load:
        for number in range(30):
            here, there = ("a", "b") if number % 2 == 0 else ("b", "a")
            api.slice(here, "orders", one.port)
            time.sleep(0.02)
            api.slice(there, "orders", one.port, endpoint("one"))
            time.sleep(0.02)
        load.check("30 moves between slices")


def test_a_server_that_forgot_is_listed_anew_without_an_empty_moment(start, origin, cluster, tmp_path):
    api = cluster()
    one, two, three = origin("one"), origin("two"), origin("three")
    fill(api, one=one, two=two)
    api.bookmark_seconds = 60
    gateway = reading(start, tmp_path, api)
    serves(gateway, {"one", "two"})
    lists = api.asked["list", "endpointslices"]
    with Load(gateway.port(), "/orders/", {"one", "two"}) as load:
        api.kill()
        load.right = {"one", "two", "three"}
        api.slice("orders-three", "orders", three.port, endpoint("three"))
        api.forget()
        api.start()
        serves(gateway, {"one", "two", "three"}, seconds=20)
        assert api.asked["list", "endpointslices"] > lists
        load.check("410")
    assert not stale(gateway)


def test_a_watch_is_taken_up_where_bookmarks_say(start, origin, cluster, tmp_path):
    api = cluster()
    one, two = origin("one"), origin("two")
    fill(api, one=one)
    gateway = reading(start, tmp_path, api)
    serves(gateway, {"one"})
    lists = api.asked["list", "endpointslices"], api.asked["list", "services"]
    # What was forgotten was before the bookmark, so nothing need be listed again.
    api.forget()
    time.sleep(4 * api.bookmark_seconds)
    api.cut()
    api.slice("orders-two", "orders", two.port, endpoint("two"))
    serves(gateway, {"one", "two"})
    assert (api.asked["list", "endpointslices"], api.asked["list", "services"]) == lists
    assert not stale(gateway)


def test_refusals_say_which_verb_on_what(start, origin, cluster, tmp_path):
    api = cluster()
    one = origin("one")
    fill(api, one=one)
    api.denied = {("list", "endpointslices")}
    gateway = reading(start, tmp_path, api)
    until(lambda: stale(gateway), "the refusal to be told")
    reason = stale(gateway)
    assert "may not list endpointslices of discovery.k8s.io in all namespaces" in reason, reason
    assert "verbs list and watch" in reason and "system:serviceaccount:test:reader" in reason, reason
    api.denied = set()
    serves(gateway, {"one"}, seconds=40)
    api.denied = {("watch", "services")}
    api.cut()
    until(lambda: stale(gateway), "the refusal to be told", 20)
    assert "may not watch services in all namespaces" in stale(gateway), stale(gateway)
    assert origins_of(gateway) == {"one"}, "what was known stays"


def test_a_wrong_token_is_told(start, cluster, tmp_path):
    gateway = reading(start, tmp_path, cluster(), token="wrong")
    until(lambda: stale(gateway), "the refusal to be told")
    assert "does not know us" in stale(gateway), stale(gateway)


def test_no_request_fails_while_the_server_is_lost(start, origin, cluster, tmp_path):
    api = cluster()
    origins = {name: origin(name) for name in ("one", "two", "three")}
    fill(api, **origins)
    gateway = reading(start, tmp_path, api)
    serves(gateway, set(origins))
    with Load(gateway.port(), "/orders/", set(origins)) as load:
        api.pause()
        until(lambda: stale(gateway), "the source to notice a silent server", 30)
        assert "did not answer within" in stale(gateway), stale(gateway)
        api.go_on()
        until(lambda: not stale(gateway), "the source to recover", 30)
        api.kill()
        until(lambda: stale(gateway), "the source to notice a dead server", 30)
        api.start()
        began = time.monotonic()
        until(lambda: not stale(gateway), "the source to recover", 60)
        print(f"\nserver back -> in step: {time.monotonic() - began:.2f} s")
        load.check("API server lost")


def test_a_change_is_routable_at_once(start, origin, cluster, tmp_path):
    api = cluster()
    one = origin("one")
    fill(api, one=one)
    gateway = reading(start, tmp_path, api)
    serves(gateway, {"one"})
    seconds = []
    with Client(gateway.port()) as client:
        for number in range(50):
            api.service(f"s{number}")
            began = time.monotonic()
            api.slice(f"s{number}-1", f"s{number}", one.port, endpoint("one"))
            while client.request("GET", f"/s{number}/").status != 200:
                assert time.monotonic() - began < 10
            seconds.append(time.monotonic() - began)
    spread("slice -> routable", seconds)
    assert sorted(seconds)[len(seconds) // 2] < 0.2
