"""A real ZooKeeper, one server and three, and services that stand in it."""

import json
import signal
import time
from urllib.parse import quote

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from harness.gateway import config
from harness.traffic import Load, spread
from harness.origin import told
from harness.ports import free_port
from harness.relay import Relay
from harness.waiting import until
from harness.wire import Client, get
from harness.zookeeper import Zookeeper


@pytest.fixture
def zookeeper(tmp_path, programs):
    return programs(Zookeeper(tmp_path / "zookeeper")).wait_ready()


@pytest.fixture
def kazoo():
    """Starts clients."""
    running: list[KazooClient] = []

    def kazoo(server: str, **options) -> KazooClient:
        client = KazooClient(server, timeout=4, **options)
        client.start(20)
        running.append(client)
        return client

    yield kazoo
    for one in running:
        one.stop()
        one.close()


@pytest.fixture
def relay():
    running: list[Relay] = []

    def relay(target: int) -> Relay:
        running.append(Relay(target))
        return running[-1]

    yield relay
    for one in running:
        one.close()


def reading(start, *servers: str, parts=None, **settings):
    """A gateway with a source `zookeeper` that reads these servers."""
    source = {"servers": list(servers), "layout": "spring", "session_timeout": "4s"} | settings
    return start(config(sources={"zk": {"zookeeper": source}}, **(parts or {})))


def state(gateway) -> dict:
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    return next(source for source in answer["sources"] if source["id"] == "zookeeper:zk")


def origins_of(gateway, path: str = "/orders/", requests: int = 30) -> set:
    """Who answers; the status where nobody does."""
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path, host="a.test") for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else answer.status for answer in answers}


def serves(gateway, names: set, path: str = "/orders/", seconds: float = 10) -> None:
    try:
        until(lambda: origins_of(gateway, path) == names, f"{names} at {path}", seconds)
    except AssertionError as error:
        about = [state(gateway), gateway.admin("GET", f"/v1/services{path.rstrip('/')}"), gateway.admin("GET", "/v1/guard")]
        raise AssertionError(f"{error}, but {origins_of(gateway, path)}: {about}") from None


def open_ids(gateway) -> set:
    members = gateway.admin("GET", "/v1/services/orders")[1]["members"]
    return {member["id"] for member in members if member["is_open"]}


def instance(origin, service: str = "orders", **metadata: str) -> bytes:
    """What Spring Cloud writes."""
    return json.dumps({
        "name": service, "id": "i", "address": "127.0.0.1", "port": origin.port, "sslPort": None,
        "payload": {"@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance", "id": "application-1",
                    "name": service, "metadata": {"instance_status": "UP"} | metadata},
        "registrationTimeUTC": 1700000000000, "serviceType": "DYNAMIC",
        "uriSpec": {"parts": [{"value": "scheme", "variable": True}]},
    }).encode()


@pytest.mark.parametrize("watches", ["recursive", "single"])
def test_what_kazoo_writes_is_served(start, origin, zookeeper, kazoo, watches):
    writer = kazoo(zookeeper.address)
    one, two = origin("one"), origin("two")
    gateway = reading(start, zookeeper.address, watches=watches)
    assert get(gateway.port(), "/orders/").status == 404
    writer.create("/services/orders", makepath=True)
    serves(gateway, {503})
    writer.create("/services/orders/a", instance(one), ephemeral=True)
    serves(gateway, {"one"})
    writer.create("/services/orders/b", instance(two, version="v2"))
    serves(gateway, {"one", "two"})
    writer.set("/services/orders/b", b"no JSON at all")
    writer.create("/services/orders/c", b"")
    writer.create("/services/users/a", instance(two), makepath=True)
    serves(gateway, {"two"}, "/users/")
    assert state(gateway)["unfit"] == 2 and "/services/orders/b" in state(gateway)["unfit_example"], state(gateway)
    serves(gateway, {"one", "two"})  # what can not be read any more keeps what it said
    writer.set("/services/orders/b", instance(two, instance_status="OUT_OF_SERVICE"))
    until(lambda: open_ids(gateway) == {"a"}, "the other to be out of service")
    serves(gateway, {"one"})
    writer.set("/services/orders/b", instance(two))
    serves(gateway, {"one", "two"})
    # A node that does not go with a session is gone because somebody wanted it so.
    writer.delete("/services/orders/b")
    until(lambda: open_ids(gateway) == {"a"}, "it to be taken away")
    serves(gateway, {"one"})
    writer.delete("/services", recursive=True)
    writer.create("/services/others/a", instance(one), makepath=True)
    serves(gateway, {"one"}, "/others/")


def test_a_session_that_ends_takes_its_instances_along(start, origin, zookeeper, kazoo):
    lasting, leaving = kazoo(zookeeper.address), kazoo(zookeeper.address)
    lasting.create("/services/orders/a", instance(origin("a")), makepath=True)
    program = origin("b")
    leaving.create("/services/orders/b-", instance(program), ephemeral=True, sequence=True)
    gateway = reading(start, zookeeper.address)
    serves(gateway, {"a", "b"})
    program.close()
    leaving.stop()
    serves(gateway, {"a"}, seconds=30)


@pytest.mark.parametrize("watches", ["recursive", "single"])
def test_dubbo_and_curator_layouts(start, origin, zookeeper, kazoo, watches):
    writer = kazoo(zookeeper.address)
    one, two, three = origin("one"), origin("two"), origin("three")
    common = {"servers": [zookeeper.address], "watches": watches}
    sources = {
        "interfaces": {"zookeeper": common | {"layout": "dubbo"}},
        "applications": {"zookeeper": common | {"layout": "dubbo-app", "base": "/applications"}},
        "curator": {"zookeeper": common | {"layout": "curator", "chroot": "/apps", "base": "/discovery"}},
    }
    gateway = start(config(sources=sources))
    url = f"tri://127.0.0.1:{one.port}/org.shop.Orders?application=shop&version=1.0&weight=200&side=provider"
    writer.create("/dubbo/config/dubbo", makepath=True)
    writer.create("/dubbo/org.shop.Orders/consumers/" + quote(url, safe=""), makepath=True, ephemeral=True)
    time.sleep(0.5)
    writer.create("/dubbo/org.shop.Orders/providers/" + quote(url, safe=""), makepath=True, ephemeral=True)
    endpoints = json.dumps([{"port": two.port, "protocol": "dubbo"}])
    metadata = {"dubbo.endpoints": endpoints, "dubbo.metadata.revision": "1"}
    writer.create(f"/applications/shop/127.0.0.1:{two.port}", instance(two, "shop", **metadata), makepath=True)
    plain = {"name": "cart", "id": "7", "address": "127.0.0.1", "port": three.port, "payload": "some text"}
    writer.create("/apps/discovery/cart/7", json.dumps(plain).encode(), makepath=True)
    serves(gateway, {"one"}, "/org.shop.orders/")
    serves(gateway, {"two"}, "/shop/")
    serves(gateway, {"three"}, "/cart/")
    (provider,) = gateway.admin("GET", "/v1/services/org.shop.orders")[1]["members"]
    assert provider["weight"] == 200 and provider["version"] == "1.0", provider
    names = {service["service"] for service in gateway.admin("GET", "/v1/services")[1]["services"]}
    assert names == {"org.shop.orders", "shop", "cart"}, "a folder without providers is no service"


def test_a_change_is_routable_at_once(start, origin, zookeeper, kazoo):
    writer = kazoo(zookeeper.address)
    backend = origin()
    writer.create("/services/first/a", instance(backend), makepath=True)
    gateway = reading(start, zookeeper.address)
    serves(gateway, {"origin"}, "/first/")
    seconds = []
    with Client(gateway.port()) as client:
        for number in range(150):
            writer.create(f"/services/s{number}")
            begun = time.monotonic()
            writer.create(f"/services/s{number}/a", instance(backend))
            while client.request("GET", f"/s{number}/", host="a.test").status != 200:
                assert time.monotonic() - begun < 5
            seconds.append(time.monotonic() - begun)
    spread("zookeeper: from the begin of a create to the first good answer", seconds)


@pytest.mark.parametrize("trouble", ["kill", "pause", "restart", "cut"])
def test_requests_go_on_while_zookeeper_is_gone(start, origin, zookeeper, kazoo, programs, relay, trouble):
    wire = relay(zookeeper.port)
    one, two, three = origin("one"), origin("two"), origin("three")
    writer = kazoo(zookeeper.address)
    writer.create("/services/orders/a", instance(one), makepath=True)
    writer.create("/services/orders/b", instance(two), makepath=True)
    writer.create("/services/others/a", instance(three), makepath=True)
    writer.stop()
    gateway = reading(start, f"127.0.0.1:{wire.port}")
    serves(gateway, {"one", "two"})
    with Load(gateway.port(), "/orders/", {"one", "two", "four"}) as load:
        if trouble == "kill":
            zookeeper.kill()
        elif trouble == "restart":
            zookeeper.stop()
        elif trouble == "pause":
            zookeeper.signal(signal.SIGSTOP)
        else:
            wire.cut()
        until(lambda: state(gateway).get("stale"), "the source to be stale", 40)
        reason = state(gateway)["stale"]["reason"]
        print(f"\n{trouble}: {reason}")
        assert reason.startswith("zookeeper at 127.0.0.1:"), reason
        time.sleep(1)
        if trouble in ("kill", "restart"):
            zookeeper = programs(zookeeper.again())
        elif trouble == "pause":
            zookeeper.signal(signal.SIGCONT)
        else:
            wire.heal()
        writer = kazoo(zookeeper.wait_ready().address)
        writer.create("/services/orders/d", instance(origin("four")))
        serves(gateway, {"one", "two", "four"}, seconds=40)
        until(lambda: not state(gateway).get("stale"), "the source to be back")
    load.check(trouble)


def test_a_password_is_shown(start, origin, zookeeper, kazoo):
    writer = kazoo(zookeeper.address, auth_data=[("digest", "shop:secret")])
    acl = [make_digest_acl("shop", "secret", all=True)]
    writer.create("/services/orders", makepath=True)
    writer.create("/services/orders/a", instance(origin("a")), acl=acl)
    gateway = reading(start, zookeeper.address, username="shop", password="secret")
    serves(gateway, {"a"})
    source = {"servers": [zookeeper.address], "layout": "spring"}
    other = start(config(sources={"zk": {"zookeeper": source}}), folder="other")
    serves(other, {503})


@pytest.mark.parametrize("trouble", ["leader killed", "follower paused"])
def test_three_servers_survive_the_loss_of_one(start, origin, tmp_path, kazoo, programs, trouble):
    ports = {n: free_port() for n in (1, 2, 3)}
    ensemble = [f"server.{n}=127.0.0.{n}:{free_port()}:{free_port()}" for n in ports]
    servers = {
        n: programs(Zookeeper(tmp_path / f"zk{n}", f"127.0.0.{n}", n, ensemble, port)) for n, port in ports.items()
    }
    for server in servers.values():
        server.wait_ready()
    addresses = [server.address for server in servers.values()]
    kazoo(",".join(addresses)).create("/services/orders/a", instance(origin("one")), makepath=True)
    gateway = reading(start, *addresses)
    serves(gateway, {"one"})
    leader = next(n for n, server in servers.items() if server.mode() == "leader")
    with Load(gateway.port(), "/orders/", {"one", "two", "three"}) as load:
        begun = time.monotonic()
        if trouble == "leader killed":
            servers.pop(leader).kill()
        else:
            follower = next(n for n in servers if n != leader)
            servers[follower].signal(signal.SIGSTOP)
        rest = ",".join(s.address for n, s in servers.items() if trouble == "leader killed" or n != follower)
        writer = kazoo(rest)
        writer.create("/services/orders/b", instance(origin("two")))
        serves(gateway, {"one", "two"}, seconds=40)
        took = time.monotonic() - begun
        if trouble == "follower paused":
            servers[follower].signal(signal.SIGCONT)
        writer.create("/services/orders/c", instance(origin("three")))
        serves(gateway, {"one", "two", "three"}, seconds=40)
    print(f"\n{trouble}: a change was routable {took:.1f} s after it began")
    load.check(trouble)
