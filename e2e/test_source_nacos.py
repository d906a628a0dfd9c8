"""A real server of Nacos's protocols, and the services that it knows."""

import json
import signal
import time

import pytest

from harness.gateway import config
from harness.traffic import Load, spread
from harness.nacos import Heart, Nacos
from harness.origin import told
from harness.relay import Relay
from harness.waiting import until
from harness.wire import Client, get


@pytest.fixture
def nacos(tmp_path, programs, parts):
    """Starts servers."""

    def nacos(folder: str = "nacos", **settings: str) -> Nacos:
        return programs(Nacos(tmp_path / folder, parts / "bin" / "rnacos", **settings)).wait_ready()

    return nacos


@pytest.fixture
def relay():
    running: list[Relay] = []

    def relay(target: int) -> Relay:
        running.append(Relay(target))
        return running[-1]

    yield relay
    for one in running:
        one.close()


def reading(start, server: Nacos, parts=None, **settings):
    """A gateway with a source `nacos` that reads this server."""
    source = {"url": server.url, "grpc_port": server.grpc_port, "refresh": "500ms"} | settings
    if source.get("protocol") == "http":
        source.pop("grpc_port")
    return start(config(sources={"one": {"nacos": source}}, **(parts or {})))


def state(gateway) -> dict:
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    return next(source for source in answer["sources"] if source["id"] == "nacos:one")


def origins_of(gateway, path: str = "/orders/", requests: int = 30) -> set:
    """Who answers; the status where nobody does."""
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path, host="a.test") for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else answer.status for answer in answers}


def serves(gateway, names: set, path: str = "/orders/", seconds: float = 10) -> None:
    try:
        until(lambda: origins_of(gateway, path) == names, f"{names} at {path}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {origins_of(gateway, path)}: {state(gateway)}") from None


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_is_registered_is_served(start, origin, nacos, protocol):
    server = nacos()
    one, two = origin("one"), origin("two")
    # Of so few the guard would let nobody go.
    gateway = reading(start, server, protocol=protocol, parts={"guard": {"share": 90}})
    assert get(gateway.port(), "/orders/").status == 404
    server.register("orders", one.port)
    serves(gateway, {"one"})
    server.register("orders", two.port, weight=0.5, metadata={"version": "v2"})
    serves(gateway, {"one", "two"})
    members = {member["id"]: member for member in gateway.admin("GET", "/v1/services/orders")[1]["members"]}
    second = members[f"127.0.0.1:{two.port}"]
    assert second["weight"] == 50 and second["version"] == "v2", second
    server.register("orders", origin("three").port)
    serves(gateway, {"one", "two", "three"})
    # Both answer well still, and the list names others.
    server.deregister("orders", one.port)
    serves(gateway, {"two", "three"})
    server.register("orders", two.port, enabled="false")
    serves(gateway, {"three"})


def test_groups_and_namespaces_are_scopes(start, origin, nacos):
    server = nacos()
    gateway = reading(start, server, namespaces=["public", "dev"], groups=["DEFAULT_GROUP", "G1"])
    server.register("orders", origin("plain").port)
    server.register("orders", origin("grouped").port, groupName="G1")
    server.register("orders", origin("dev").port, namespaceId="dev")
    names = lambda: {(s["namespace"], s["service"]) for s in gateway.admin("GET", "/v1/services")[1]["services"]}  # noqa: E731
    until(lambda: names() == {("default", "orders"), ("default.g1", "orders"), ("dev", "orders")}, "three services")
    serves(gateway, {"plain"})


def test_who_stops_beating_is_not_served(start, origin, nacos, request):
    server = nacos(RNACOS_NAMING_HEALTH_TIMEOUT_SECOND="3", RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND="6")
    lasting, ending = origin("lasting"), origin("ending")
    for one in (lasting, ending):
        server.register("orders", one.port, ephemeral="true")
    hearts = [Heart(server, "orders", one.port) for one in (lasting, ending)]
    request.addfinalizer(hearts[0].stop)
    gateway = reading(start, server)
    serves(gateway, {"lasting", "ending"})
    hearts[1].stop()
    ending.close()
    serves(gateway, {"lasting"}, seconds=30)


def test_a_change_is_routable_at_once(start, origin, nacos):
    server = nacos()
    first, backend = origin("first"), origin("origin")
    for number in range(50):
        server.register(f"s{number}", first.port)
    gateway = reading(start, server)
    until(lambda: all(get(gateway.port(), f"/s{n}/").status == 200 for n in range(50)), "all services")
    seconds = []
    with Client(gateway.port()) as client:
        for number in range(50):
            begun = time.monotonic()
            server.register(f"s{number}", backend.port)
            while told(client.request("GET", f"/s{number}/", host="a.test"))["origin"] != "origin":
                assert time.monotonic() - begun < 10
            seconds.append(time.monotonic() - begun)
    spread("nacos, pushed: from the begin of a registration to the first answer", seconds)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("trouble", ["kill", "pause", "cut"])
def test_requests_go_on_while_nacos_is_gone(start, origin, nacos, programs, relay, trouble, protocol):
    server = nacos()
    web, wire = relay(server.port), relay(server.grpc_port)
    one, two, three = origin("one"), origin("two"), origin("three")
    server.register("orders", one.port)
    server.register("orders", two.port)
    server.register("others", three.port)
    places = {"url": f"http://127.0.0.1:{web.port}", "grpc_port": wire.port}
    gateway = reading(start, server, protocol=protocol, **places)
    serves(gateway, {"one", "two"})
    with Load(gateway.port(), "/orders/", {"one", "two", "four"}) as load:
        if trouble == "kill":
            server.kill()
        elif trouble == "pause":
            server.signal(signal.SIGSTOP)
        else:
            web.cut()
            wire.cut()
        until(lambda: state(gateway).get("stale"), "the source to be stale", 40)
        print(f"\n{trouble}: {state(gateway)['stale']['reason']}")
        time.sleep(1)
        if trouble == "kill":
            server = programs(server.again())
        elif trouble == "pause":
            server.signal(signal.SIGCONT)
        else:
            web.heal()
            wire.heal()
        server.wait_ready()
        for number in (one, two, origin("four")):
            server.register("orders", number.port)
        serves(gateway, {"one", "two", "four"}, seconds=60)
        until(lambda: not state(gateway).get("stale"), "the source to be back")
    load.check(f"{trouble}, {protocol}")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_wrong_password_is_told(start, nacos, protocol):
    server = nacos(RNACOS_ENABLE_OPEN_API_AUTH="true")
    gateway = reading(start, server, protocol=protocol, username="nobody", password="hush")
    until(lambda: state(gateway).get("stale"), "the refusal")
    reason = state(gateway)["stale"]["reason"]
    print(f"\n{protocol}: {reason}")
    assert "127.0.0.1" in reason and "hush" not in reason and "hush" not in gateway.output(), reason


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_password_is_shown(start, origin, nacos, protocol):
    # One start in two, the part of this server that knows its users does not survive.
    for number in range(8):
        server = nacos(f"nacos{number}", RNACOS_ENABLE_OPEN_API_AUTH="true", RNACOS_INIT_ADMIN_USERNAME="shop",
                       RNACOS_INIT_ADMIN_PASSWORD="secret")
        end = time.monotonic() + 5
        while not (token := token_of(server)) and time.monotonic() < end:
            time.sleep(0.2)
        if token:
            break
    assert token, "it lets nobody in"
    server.register("orders", origin("one").port, accessToken=token)
    gateway = reading(start, server, protocol=protocol, username="shop", password="secret")
    serves(gateway, {"one"}, seconds=20)


def token_of(server) -> str:
    status, granted = server.call("POST", "v1/auth/login", username="shop", password="secret")
    return json.loads(granted)["accessToken"] if status == 200 else ""
