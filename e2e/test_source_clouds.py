"""AWS Cloud Map, as moto has it, and Google's Service Directory, as its reference describes it."""

import time

import pytest

from harness.clouds import Agent, Aws, Directory
from harness.gateway import config
from harness.origin import told
from harness.ports import free_port
from harness.processes import Program
from harness.traffic import Load, spread
from harness.waiting import until
from harness.wire import Client


@pytest.fixture
def fronts():
    """Collects servers to close at the end of the test."""
    running = []

    def keep(one):
        running.append(one)
        return one

    yield keep
    for one in running:
        one.close()


class CloudMap:
    """Cloud Map as moto has it, filled by boto3."""

    def __init__(self, program: Program, port: int) -> None:
        import boto3
        from botocore.config import Config

        self.program, self.port = program, port
        self.client = boto3.client(
            "servicediscovery", endpoint_url=f"http://127.0.0.1:{port}", region_name=Aws.REGION,
            aws_access_key_id=Aws.KEY, aws_secret_access_key=Aws.SECRET, config=Config(inject_host_prefix=False),
        )
        operation = self.client.create_http_namespace(Name="default")["OperationId"]
        self.namespace = self.client.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
        self.services: dict[str, str] = {}

    def put(self, service: str, instance: str, port: int, **attributes: str) -> None:
        if service not in self.services:
            made = self.client.create_service(Name=service, NamespaceId=self.namespace)
            self.services[service] = made["Service"]["Id"]
        self.client.register_instance(
            ServiceId=self.services[service], InstanceId=instance,
            Attributes={"AWS_INSTANCE_IPV4": "127.0.0.1", "AWS_INSTANCE_PORT": str(port)} | attributes,
        )

    def remove(self, service: str, instance: str) -> None:
        self.client.deregister_instance(ServiceId=self.services[service], InstanceId=instance)


@pytest.fixture
def cloud_map(tmp_path, parts, programs) -> CloudMap:
    port = free_port()
    command = [parts / "venv" / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    program = programs(Program(command, tmp_path / "moto.log"))

    def made() -> CloudMap | None:
        assert program.is_running(), program.output()
        try:
            return CloudMap(program, port)
        except Exception:  # noqa: BLE001 - it does not listen yet
            return None

    return until(made, "moto to listen", 60)


def aws(start, front, **settings):
    source = {"region": Aws.REGION, "endpoint": front.url, "poll": "1s", "relist": "1s", "timeout": "1s"} | settings
    return start(config(sources={"cloud": {"cloud_map": source}}))


def keyed() -> dict:
    return {"access_key_id": Aws.KEY, "secret_access_key": Aws.SECRET}


def google(start, front, **settings):
    source = {"project": "shop", "location": "europe-west1", "endpoint": front.url, "poll": "1s", "timeout": "1s"} | settings
    return start(config(sources={"cloud": {"service_directory": source}}))


def stale(gateway) -> str | None:
    """Why the source does not know; none if it does."""
    status, answer = gateway.admin("GET", "/v1/sources")
    assert status == 200, answer
    source = next(source for source in answer["sources"] if source["id"].endswith(":cloud"))
    return source["stale"]["reason"] if source.get("stale") else None


def origins_of(gateway, path: str, requests: int = 30) -> set:
    with Client(gateway.port()) as client:
        answers = [client.request("GET", path) for _ in range(requests)]
    return {told(answer)["origin"] if answer.status == 200 else None for answer in answers}


def serves(gateway, names: set, path: str, seconds: float = 15) -> None:
    seen = []
    try:
        until(lambda: seen.append(origins_of(gateway, path)) or seen[-1] == names, f"{names} at {path}", seconds)
    except AssertionError as error:
        _, sources = gateway.admin("GET", "/v1/sources")
        _, guard = gateway.admin("GET", "/v1/guard")
        raise AssertionError(f"{error}; {seen[-1]} was seen; sources: {sources}; guard: {guard}") from error


def members(gateway, service: str) -> dict:
    status, answer = gateway.admin("GET", f"/v1/services/{service}")
    return {member["id"]: member for member in answer["members"]} if status == 200 else {}


def lost_under_load(gateway, front, path: str, names: set, what: str) -> None:
    """The registry falls silent, dies and comes back; nobody notices but the operator."""
    with Load(gateway.port(), path, names) as load:
        front.pause()
        until(lambda: stale(gateway), "the source to notice a silent registry", 30)
        front.go_on()
        until(lambda: not stale(gateway), "the source to recover", 60)
        front.kill()
        until(lambda: stale(gateway), "the source to notice a dead registry", 30)
        assert "no connection" in stale(gateway), stale(gateway)
        front.start()
        until(lambda: not stale(gateway), "the source to recover", 60)
        load.check(what)


def test_cloud_map_is_read_by_signed_calls(start, origin, cloud_map, fronts):
    front = fronts(Aws(cloud_map.port))
    one, two = origin("one"), origin("two")
    cloud_map.put("orders", "a", one.port, AVAILABILITY_ZONE="eu-1a", version="v2", team="x")
    gateway = aws(start, front, **keyed())
    serves(gateway, {"one"}, "/orders/")
    first = members(gateway, "orders")["a"]
    assert (first["zone"], first["version"], first["metadata"]) == ("eu-1a", "v2", {"AVAILABILITY_ZONE": "eu-1a", "team": "x", "version": "v2"}), first
    cloud_map.put("orders", "b", two.port)
    serves(gateway, {"one", "two"}, "/orders/")
    cloud_map.remove("orders", "a")
    # As long as it answers requests the guard takes its word against the shorter list.
    one.close()
    serves(gateway, {"two"}, "/orders/")
    until(lambda: set(members(gateway, "orders")) == {"b"}, "it to be gone", 60)
    # Nothing moves now: only revisions are asked for.
    time.sleep(1)
    read = front.asked["DiscoverInstances"]
    asked = front.asked["DiscoverInstancesRevision"]
    until(lambda: front.asked["DiscoverInstancesRevision"] >= asked + 3, "revisions to be asked for")
    assert front.asked["DiscoverInstances"] == read


def test_a_wrong_secret_is_told(start, cloud_map, fronts):
    front = fronts(Aws(cloud_map.port))
    gateway = aws(start, front, access_key_id=Aws.KEY, secret_access_key="wrong")
    until(lambda: stale(gateway), "the refusal to be told")
    assert "InvalidSignatureException" in stale(gateway) and "is the secret right" in stale(gateway), stale(gateway)
    assert "wrong" not in stale(gateway)


def test_credentials_of_the_instance_and_of_the_shared_file(start, origin, cloud_map, fronts, tmp_path):
    front = fronts(Aws(cloud_map.port, token="temporary"))
    agent = fronts(Agent("temporary"))
    cloud_map.put("orders", "a", origin("one").port)
    serves(aws(start, front, metadata_url=agent.url), {"one"}, "/orders/")
    file = tmp_path / "credentials"
    file.write_text(f"[other]\naws_access_key_id=x\naws_secret_access_key=y\n[portolan]\naws_access_key_id = {Aws.KEY}\n"
                    f"aws_secret_access_key = {Aws.SECRET}\naws_session_token = temporary\n")
    by_file = {"credentials_file": str(file), "profile": "portolan"}
    source = {"region": Aws.REGION, "endpoint": front.url} | by_file
    second = start(config(sources={"cloud": {"cloud_map": source}}), folder="second")
    serves(second, {"one"}, "/orders/")


def test_a_throttled_cloud_map_is_waited_for(start, origin, cloud_map, fronts):
    front = fronts(Aws(cloud_map.port))
    one, two = origin("one"), origin("two")
    cloud_map.put("orders", "a", one.port)
    gateway = aws(start, front, **keyed())
    serves(gateway, {"one"}, "/orders/")
    with Load(gateway.port(), "/orders/", {"one", "two"}) as load:
        front.throttles = 3
        cloud_map.put("orders", "b", two.port)
        serves(gateway, {"one", "two"}, "/orders/", 30)
        assert not stale(gateway)
        front.throttles = 1_000
        until(lambda: stale(gateway), "the throttling to be told", 60)
        assert "throttles" in stale(gateway), stale(gateway)
        front.throttles = 0
        until(lambda: not stale(gateway), "the source to recover", 60)
        load.check("Cloud Map throttled")


def test_no_request_fails_while_cloud_map_is_lost(start, origin, cloud_map, fronts):
    front = fronts(Aws(cloud_map.port))
    cloud_map.put("orders", "a", origin("one").port)
    cloud_map.put("orders", "b", origin("two").port)
    gateway = aws(start, front, **keyed())
    serves(gateway, {"one", "two"}, "/orders/")
    lost_under_load(gateway, front, "/orders/", {"one", "two"}, "Cloud Map lost")


def test_service_directory_by_the_key_of_an_account(start, origin, fronts, tmp_path):
    front = fronts(Directory())
    origins = {name: origin(name) for name in ("one", "two", "three")}
    for name, one in origins.items():
        front.put("orders", name, one.port, version="v2", zone="eu-1")
    front.put("users", "a", origins["one"].port)
    front.put("more", "a", origins["two"].port)
    gateway = google(start, front, key_file=front.key_file(tmp_path / "key.json"))
    serves(gateway, set(origins), "/orders/")
    serves(gateway, {"two"}, "/more/")
    first = members(gateway, "orders")["one"]
    assert (first["version"], first["zone"], first["metadata"]["team"]) == ("v2", "eu-1", "a"), first
    assert front.asked["/token"] <= 5, "a token is kept"
    front.remove("orders", "one")
    # As long as it answers requests the guard takes its word against the shorter list.
    origins["one"].close()
    serves(gateway, {"two", "three"}, "/orders/")
    until(lambda: "one" not in members(gateway, "orders"), "it to be gone", 60)


def test_service_directory_by_the_account_of_the_machine(start, origin, fronts):
    front = fronts(Directory())
    front.put("orders", "a", origin("one").port)
    gateway = google(start, front, metadata_url=front.url, namespaces=["default"])
    serves(gateway, {"one"}, "/orders/")
    # A token that is not taken any more is fetched anew.
    front.token = "second"
    front.put("orders", "b", origin("two").port)
    serves(gateway, {"one", "two"}, "/orders/", 30)
    until(lambda: not stale(gateway), "the source to recover", 30)
    front.denied = True
    until(lambda: stale(gateway), "the refusal to be told", 30)
    assert "Service Directory Viewer" in stale(gateway), stale(gateway)
    serves(gateway, {"one", "two"}, "/orders/")


def test_a_quota_that_is_used_up_is_waited_for(start, origin, fronts):
    front = fronts(Directory())
    front.put("orders", "a", origin("one").port)
    gateway = google(start, front, metadata_url=front.url)
    serves(gateway, {"one"}, "/orders/")
    with Load(gateway.port(), "/orders/", {"one"}) as load:
        front.over_quota = 3
        until(lambda: front.over_quota == 0, "the source to ask again", 30)
        time.sleep(1)
        assert not stale(gateway)
        front.over_quota = 1_000
        until(lambda: stale(gateway), "the quota to be told", 60)
        assert "quota" in stale(gateway), stale(gateway)
        front.over_quota = 0
        until(lambda: not stale(gateway), "the source to recover", 60)
        load.check("Service Directory over its quota")


def test_no_request_fails_while_service_directory_is_lost(start, origin, fronts):
    front = fronts(Directory())
    front.put("orders", "a", origin("one").port)
    front.put("orders", "b", origin("two").port)
    gateway = google(start, front, metadata_url=front.url)
    serves(gateway, {"one", "two"}, "/orders/")
    lost_under_load(gateway, front, "/orders/", {"one", "two"}, "Service Directory lost")


def test_changes_are_routable_within_a_poll(start, origin, cloud_map, fronts):
    aws_front, directory = fronts(Aws(cloud_map.port)), fronts(Directory())
    backend = origin()
    cloud_map.put("first", "a", backend.port)
    directory.put("first", "a", backend.port)
    map_gateway = aws(start, aws_front, **keyed())
    google_gateway = start(config(sources={"cloud": {"service_directory": {
        "project": "shop", "location": "europe-west1", "endpoint": directory.url, "metadata_url": directory.url, "poll": "1s"}}}), folder="google")
    for what, gateway, put in (("Cloud Map", map_gateway, cloud_map.put), ("Service Directory", google_gateway, directory.put)):
        serves(gateway, {"origin"}, f"/first/")
        seconds = []
        with Client(gateway.port()) as client:
            for number in range(4):
                put(f"s{number}", "a", backend.port)
                began = time.monotonic()
                while client.request("GET", f"/s{number}/").status != 200:
                    assert time.monotonic() - began < 15
                    time.sleep(0.01)
                seconds.append(time.monotonic() - began)
        spread(f"{what}, polled each second: change -> routable", seconds)
