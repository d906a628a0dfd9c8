"""A real etcd, one member and three, and services that stand in it."""

import signal
import time

import pytest

from harness.etcd import Etcd, address
from harness.gateway import config
from harness.traffic import Load, spread
from harness.network import Network
from harness.origin import told
from harness.relay import Relay
from harness.waiting import until
from harness.wire import Client, get


@pytest.fixture
def etcd(tmp_path, programs):
    """Starts members of etcd."""

    def etcd(folder: str = "etcd", **options) -> Etcd:
        return programs(Etcd(tmp_path / folder, **options)).wait_ready()

    return etcd


@pytest.fixture
def relay():
    running: list[Relay] = []

    def relay(target: int) -> Relay:
        running.append(Relay(target))
        return running[-1]

    yield relay
    for one in running:
        one.close()


def reading(start, *urls: str, parts=None, **settings):
    """A gateway with a source `etcd` that reads these members."""
    source = {"urls": list(urls), "prefix": "services"} | settings
    return start(config(sources={"store": {"etcd": source}}, **(parts or {})))


def state(gateway) -> dict:
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    return next(source for source in answer["sources"] if source["id"] == "etcd:store")


def origins_of(gateway, path: str = "/orders/", requests: int = 30) -> set:
    """Who answers; `None` where nobody does."""
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path, host="a.test") for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else None for answer in answers}


def serves(gateway, names: set, path: str = "/orders/", seconds: float = 10) -> None:
    try:
        until(lambda: origins_of(gateway, path) == names, f"{names} at {path}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {origins_of(gateway, path)}: {state(gateway)}") from None


def test_what_etcdctl_writes_is_served(start, origin, etcd):
    store = etcd()
    one, two = origin("one"), origin("two")
    gateway = reading(start, store.url)
    assert get(gateway.port(), "/orders/").status == 404
    store.put("services/orders/a", address(one))
    serves(gateway, {"one"})
    store.put("services/orders/b", address(two))
    serves(gateway, {"one", "two"})
    store.put("services/orders/b", "no JSON at all")
    store.put("services/orders/c", {"Op": 0, "Addr": "some.host:80"})
    store.put("services/users/a", {"Op": 0, "Addr": f"127.0.0.1:{two.port}", "Metadata": {"version": "v2", "team": "x"}})
    serves(gateway, {"two"}, "/users/")
    assert state(gateway)["unfit"] == 2 and "services/orders/b" in state(gateway)["unfit_example"], state(gateway)
    serves(gateway, {"one", "two"})  # what can not be read any more keeps what it said
    (user,) = gateway.admin("GET", "/v1/services/users")[1]["members"]
    assert user["version"] == "v2" and user["metadata"]["team"] == "x", user
    # A key without a lease is gone because somebody wanted it so.
    store.ctl("del", "services/orders/a")
    members = lambda: [m["id"] for m in gateway.admin("GET", "/v1/services/orders")[1]["members"]]  # noqa: E731
    until(lambda: members() == ["b"], "it to be taken away")
    serves(gateway, {"two"})


def test_a_lease_that_ends_takes_its_instance_along(start, origin, etcd):
    store = etcd()
    lasting, leased = origin("lasting"), origin("leased")
    gateway = reading(start, store.url)
    lease = store.ctl("lease", "grant", 5).split()[1]
    store.put("services/orders/a", address(lasting))
    store.put("services/orders/b", address(leased), f"--lease={lease}")
    serves(gateway, {"lasting", "leased"})
    leased.close()
    serves(gateway, {"lasting"}, seconds=30)


def test_skydns_and_our_own_layout(start, origin, etcd):
    store = etcd()
    one, two = origin("one"), origin("two")
    common = {"urls": [store.url]}
    sources = {
        "names": {"etcd": common | {"layout": "skydns", "prefix": "/skydns/local/cluster"}},
        "ours": {"etcd": common | {"layout": "portolan"}},
    }
    gateway = start(config(sources=sources))
    store.put("/skydns/local/cluster/orders/x1", {"host": "127.0.0.1", "port": one.port, "ttl": 10})
    body = {"address": "127.0.0.1", "port": two.port, "zone": "z1", "weight": 50}
    store.put("/portolan/services/default/users/a", body)
    serves(gateway, {"one"}, "/orders/")
    serves(gateway, {"two"}, "/users/")
    (user,) = gateway.admin("GET", "/v1/services/users")[1]["members"]
    assert user["zone"] == "z1" and user["weight"] == 50, user


def test_a_change_is_routable_at_once(start, origin, etcd):
    store = etcd()
    backend = origin()
    gateway = reading(start, store.url)
    store.quick_put("services/first/a", address(backend))
    serves(gateway, {"origin"}, "/first/")
    seconds = []
    with Client(gateway.port()) as client:
        for number in range(150):
            begun = time.monotonic()
            store.quick_put(f"services/s{number}/a", address(backend))
            while client.request("GET", f"/s{number}/", host="a.test").status != 200:
                assert time.monotonic() - begun < 5
            seconds.append(time.monotonic() - begun)
    spread("etcd: from the begin of a put to the first good answer", seconds)


@pytest.mark.parametrize("trouble", ["kill", "pause", "restart", "cut"])
def test_requests_go_on_while_etcd_is_gone(start, origin, etcd, programs, relay, trouble):
    store = etcd()
    wire = relay(store.port)
    one, two, three = origin("one"), origin("two"), origin("three")
    store.put("services/orders/a", address(one))
    store.put("services/orders/b", address(two))
    store.put("services/others/a", address(three))
    gateway = reading(start, f"http://127.0.0.1:{wire.port}")
    serves(gateway, {"one", "two"})
    with Load(gateway.port(), "/orders/", {"one", "two", "four"}) as load:
        if trouble == "kill":
            store.kill()
        elif trouble == "restart":
            store.stop()
        elif trouble == "pause":
            store.signal(signal.SIGSTOP)
        else:
            wire.cut()
        until(lambda: state(gateway).get("stale"), "the source to be stale", 40)
        reason = state(gateway)["stale"]["reason"]
        print(f"\n{trouble}: {reason}")
        assert reason.startswith("etcd at http://127.0.0.1:"), reason
        time.sleep(1)
        if trouble in ("kill", "restart"):
            store = programs(store.again()).wait_ready()
        elif trouble == "pause":
            store.signal(signal.SIGCONT)
        else:
            wire.heal()
        store.wait_ready().put("services/orders/d", address(origin("four")))
        serves(gateway, {"one", "two", "four"}, seconds=40)
        until(lambda: not state(gateway).get("stale"), "the source to be back")
    load.check(trouble)


def test_what_was_compacted_away_is_read_anew_without_an_empty_moment(start, origin, etcd, relay):
    store = etcd()
    wire = relay(store.port)
    one, two = origin("one"), origin("two")
    store.put("services/orders/a", address(one))
    gateway = reading(start, f"http://127.0.0.1:{wire.port}")
    serves(gateway, {"one"})
    with Load(gateway.port(), "/orders/", {"one", "two"}) as load:
        wire.cut()
        store.put("services/orders/b", address(two))
        for number in range(20):
            store.quick_put("services/noise/a", address(one) | {"Metadata": {"n": number}})
        revision = store.call("kv/range", {"key": "AA=="})["header"]["revision"]
        store.ctl("compaction", revision)
        wire.heal()
        serves(gateway, {"one", "two"}, seconds=40)
    load.check("compaction")


def test_an_empty_cluster_in_the_place_of_the_old_one_takes_nobody_away_at_once(start, origin, etcd, tmp_path, programs):
    store = etcd()
    for name in "abcd":
        store.put(f"services/orders/{name}", address(origin(name)))
    gateway = reading(start, store.url, parts={"guard": {"hold": "60s"}})
    serves(gateway, set("abcd"))
    with Load(gateway.port(), "/orders/", set("abcd") | {"new"}) as load:
        store.kill()
        fresh = programs(Etcd(tmp_path / "fresh", port=store.port)).wait_ready()
        fresh.put("services/orders/new", address(origin("new")))
        until(lambda: "new" in origins_of(gateway), "what the new cluster says", 40)
        assert len(origins_of(gateway, requests=100)) > 2, "the guard holds the others"
    load.check("another cluster")


def test_a_password_is_shown_and_a_wrong_one_is_told(start, origin, etcd):
    store = etcd()
    store.put("services/orders/a", address(origin()))
    store.ctl("user", "add", "root:secret")
    store.ctl("user", "grant-role", "root", "root")
    store.ctl("user", "add", "nobody:secret")
    store.ctl("auth", "enable")
    gateway = reading(start, store.url, username="root", password="secret")
    serves(gateway, {"origin"})
    for name, user, word in (("wrong", {"username": "root", "password": "hush"}, "password"), ("none", {}, "user"),
                             ("denied", {"username": "nobody", "password": "secret"}, "permission")):
        other = start(config(sources={"store": {"etcd": {"urls": [store.url], "prefix": "services"} | user}}), folder=name)
        until(lambda: state(other).get("stale"), "the refusal")
        reason = state(other)["stale"]["reason"]
        print(f"\n{name}: {reason}")
        assert word in reason and "hush" not in reason and "hush" not in other.output(), reason


def test_certificates_are_shown_and_verified(start, origin, etcd, authority):
    tls = authority.issue("127.0.0.1") | {"ca": str(authority.file)}
    store = etcd(tls=tls)
    store.put("services/orders/a", address(origin()))
    gateway = reading(start, store.url, tls=tls)
    serves(gateway, {"origin"})
    blind = reading(lambda *words, **options: start(*words, folder="blind", **options), store.url)
    until(lambda: state(blind).get("stale"), "the refusal")
    assert "certificate" in state(blind)["stale"]["reason"].lower(), state(blind)


class Trio:
    """Three members in networks of their own."""

    def __init__(self, folder, network: Network, programs) -> None:
        self.network = network
        peers = {f"m{n}": f"http://{network.address(n)}:2380" for n in (1, 2, 3)}
        self.members = {
            n: programs(Etcd(folder / f"m{n}", f"m{n}", network.address(n), peers, 2379, network.command(n)))
            for n in (1, 2, 3)
        }
        for member in self.members.values():
            member.wait_ready()

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members.values()]

    def leader(self) -> int:
        for number, member in self.members.items():
            words = member.ctl("endpoint", "status", check=False).split(", ")
            if len(words) > 4 and words[4] == "true":
                return number
        return 0


@pytest.fixture
def trio(tmp_path, programs):
    network = Network(3)
    members: list[Etcd] = []

    def keep(member: Etcd) -> Etcd:
        members.append(programs(member))
        return member

    try:
        yield Trio(tmp_path, network, keep)
    finally:
        # Those that are cut off would take their time to end.
        for member in members:
            if member.is_running():
                member.kill()
        network.close()


@pytest.mark.parametrize("trouble", ["leader killed", "cable pulled", "member parted", "member paused"])
def test_three_members_survive_the_loss_of_one(start, origin, trio, trouble):
    one, two = origin("one"), origin("two")
    writer = trio.members[2]
    writer.put("services/orders/a", address(one))
    gateway = reading(start, *trio.urls)
    serves(gateway, {"one"})
    begun = time.monotonic()
    with Load(gateway.port(), "/orders/", {"one", "two", "three"}) as load:
        if trouble == "leader killed":
            victim = until(trio.leader, "a leader", 20)
            trio.members[victim].kill()
            writer = trio.members[2 if victim != 2 else 3]
        elif trouble == "cable pulled":
            trio.network.pull(1)
        elif trouble == "member parted":
            trio.network.part(1, [2, 3])
        else:
            trio.members[1].signal(signal.SIGSTOP)
        until(lambda: "OK" in writer.ctl("put", "services/orders/b",
              f'{{"Op":0,"Addr":"127.0.0.1:{two.port}"}}', check=False), "a majority", 30)
        serves(gateway, {"one", "two"}, seconds=40)
        took = time.monotonic() - begun
        if trouble == "cable pulled":
            trio.network.plug(1)
        elif trouble == "member parted":
            trio.network.heal(1, [2, 3])
        elif trouble == "member paused":
            trio.members[1].signal(signal.SIGCONT)
        writer.put("services/orders/c", address(origin("three")))
        serves(gateway, {"one", "two", "three"}, seconds=40)
    print(f"\n{trouble}: a change was routable {took:.1f} s after it began")
    load.check(trouble)
