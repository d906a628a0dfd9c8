"""What is acknowledged survives: restarts, kill -9, full disks."""

import subprocess
import threading

import pytest

from harness.gateway import Portolan, command, config
from harness.origin import told
from harness.waiting import until
from harness.wire import get

SERVICE = "/v1/services/orders"


def again(gateway: Portolan) -> Portolan:
    """Starts the gateway once more on what it left behind."""
    return Portolan(gateway.folder, gateway.settings)


def members(gateway: Portolan) -> dict:
    status, service = gateway.admin("GET", SERVICE)
    # When a heartbeat came is another thing after a restart.
    shown = lambda member: {key: value for key, value in member.items() if key != "confirmed_at"}
    return {member["id"]: shown(member) for member in service["members"]} if status == 200 else {}


def test_a_restart_serves_everybody_at_once(start, origin, programs):
    gateway = start(config())
    gateway.register("orders", "a", origin("a").port, ttl="1m", version="v1")
    gateway.register("orders", "b", origin("b").port, ttl="1m")
    gateway.register("orders", "gone", origin().port)
    ruling = {"override": "drain", "reason": "disk swap"}
    assert gateway.admin("PUT", f"{SERVICE}/instances/b/override", ruling)[0] == 200
    assert gateway.admin("DELETE", f"{SERVICE}/instances/gone")[0] == 200
    before = members(gateway)
    gateway.stop(20)

    gateway = programs(again(gateway))
    assert members(gateway) == before
    assert before["b"]["ruling"]["reason"] == "disk swap"
    assert {told(get(gateway.port(), "/orders/"))["origin"] for _ in range(20)} == {"a"}
    for name in ("a", "b"):
        assert gateway.admin("PUT", f"{SERVICE}/instances/{name}/heartbeat")[0] == 200


@pytest.mark.parametrize("after", [1, 40, 200])
def test_what_was_answered_survives_kill_9(start, programs, after):
    gateway = start(config())
    answered, revisions, enough = set(), [], threading.Event()

    def register(worker: int) -> None:
        for number in range(100_000):
            name = f"{worker}-{number}"
            try:
                answer = gateway.register("orders", name, 9001, ttl="10m")
            except (OSError, AssertionError, ValueError):
                return
            answered.add(name)
            revisions.append(answer["revision"])
            if len(answered) >= after:
                enough.set()

    workers = [threading.Thread(target=register, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    assert enough.wait(20)
    gateway.kill()
    for worker in workers:
        worker.join()

    gateway = programs(again(gateway))
    assert answered <= set(members(gateway))
    answer = gateway.register("orders", "later", 9001)
    assert answer["revision"] > max(revisions), "revisions never go back"


def test_a_departure_that_was_answered_survives_kill_9(start, programs):
    gateway = start(config())
    gateway.register("orders", "a", 9001)
    gateway.register("orders", "b", 9002)
    assert gateway.admin("DELETE", f"{SERVICE}/instances/a")[0] == 200
    gateway.kill()
    assert set(members(programs(again(gateway)))) == {"b"}


def was(gateway: Portolan, at) -> dict:
    """The versions of the instances at a revision or a time."""
    status, answer = gateway.admin("GET", f"{SERVICE}/instances?at={at}")
    assert status == 200, answer
    return {instance["id"]: instance["version"] for instance in answer["instances"]}


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_history_goes_on_after_a_restart(start, programs, way):
    gateway = start(config())
    register = lambda name, version: gateway.register("orders", name, 9001, ttl="10m", version=version)["revision"]
    steps = [register("a", "v1"), register("b", "v1"), register("a", "v2")]
    status, answer = gateway.admin("DELETE", f"{SERVICE}/instances/b")
    assert status == 200
    steps.append(answer["revision"])
    expected = [{"a": "v1"}, {"a": "v1", "b": "v1"}, {"a": "v2", "b": "v1"}, {"a": "v2"}]
    assert [was(gateway, step) for step in steps] == expected
    before = gateway.admin("GET", f"/v1/events?after={steps[0]}")[1]["events"]
    moment = before[0]["at"]
    assert was(gateway, moment) == expected[1]
    for _ in range(2):
        # What was answered is there, however soon after it the program ends.
        gateway.stop(20) if way == "stop" else gateway.kill()
        gateway = programs(again(gateway))
        assert [was(gateway, step) for step in steps] == expected
        assert was(gateway, moment) == expected[1]
        _, told = gateway.admin("GET", f"/v1/events?after={steps[0]}&limit=1000")
        assert told["events"][: len(before)] == before
        steps.append(gateway.register("orders", "c", 9003, ttl="10m", version=f"v{len(steps)}")["revision"])
        expected.append({"a": "v2", "c": f"v{len(steps) - 1}"})
        assert steps == sorted(steps), "revisions never go back"
    status, answer = gateway.admin("GET", f"{SERVICE}/instances?at=1")
    assert (status, answer["cause"]) == (410, "history_forgotten"), answer


def test_what_history_does_not_know_is_told(start):
    gateway = start(config())
    register = lambda name: gateway.register("orders", name, 9001, ttl="10m", version="v1")["revision"]
    first, last = register("a"), register("b")
    successor = start(gateway.settings, "--take-over")
    until(lambda: not gateway.is_running(), "the end of the predecessor", seconds=30)
    later = successor.register("orders", "c", 9001, ttl="10m", version="v1")["revision"]
    assert was(successor, first) == {"a": "v1"}
    assert was(successor, last) == {"a": "v1", "b": "v1"}
    assert was(successor, later) == {"a": "v1", "b": "v1", "c": "v1"}
    _, told = successor.admin("GET", f"/v1/events?after={first}")
    (gap,) = told["gaps"]
    assert gap["after"] == last < gap["until"] < later
    assert was(successor, gap["until"]) == was(successor, last)
    status, answer = successor.admin("GET", f"{SERVICE}/instances?at={last + 1}")
    assert (status, answer["cause"]) == (410, "history_forgotten"), answer
    assert f"{last} and {gap['until']}" in answer["detail"]
    _, told = successor.admin("GET", f"/v1/events?after={gap['until']}")
    assert "gaps" not in told


def test_the_journal_of_what_was_answered_survives_kill_9(start, programs):
    gateway = start(config())
    answered, enough = {}, threading.Event()

    def register(worker: int) -> None:
        for number in range(100_000):
            name = f"{worker}-{number}"
            try:
                answered[name] = gateway.register("orders", name, 9001, ttl="10m")["revision"]
            except (OSError, AssertionError, ValueError):
                return
            if len(answered) >= 100:
                enough.set()

    workers = [threading.Thread(target=register, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    assert enough.wait(20)
    gateway.kill()
    for worker in workers:
        worker.join()
    gateway = programs(again(gateway))
    _, told = gateway.admin("GET", "/v1/events?limit=1000")
    put = {event["instance"]["id"] for event in told["events"] if event["change"] == "put"}
    assert set(answered) <= put
    # An answer names a revision that holds it; nobody who came later is there already.
    ordered = sorted(answered.items(), key=lambda item: item[1])
    middle = ordered[len(ordered) // 2][1]
    _, then = gateway.admin("GET", f"{SERVICE}/instances?at={middle}")
    then = {instance["id"] for instance in then["instances"]}
    assert {name for name, revision in ordered if revision <= middle} <= then
    came = {}
    for event in told["events"]:
        if event["change"] == "put":
            came.setdefault(event["instance"]["id"], event["revision"])
    assert then == {name for name, revision in came.items() if revision <= middle}


def test_heartbeats_write_no_journal(start):
    gateway = start(config())
    gateway.register("orders", "a", 9001, ttl="10m")
    revision = gateway.admin("GET", "/v1/events")[1]["revision"]
    for _ in range(20):
        assert gateway.admin("PUT", f"{SERVICE}/instances/a/heartbeat")[0] == 200
    assert gateway.admin("GET", f"/v1/events?after={revision}")[1]["events"] == []


def test_the_audit_trail_survives_kill_9(start, programs):
    gateway = start(config())
    gateway.register("orders", "a", 9001, ttl="10m")
    paths = [f"{SERVICE}/instances/{name}/override" for name in "abc"]
    for path in paths:
        ruling = {"override": "drain", "reason": "disk swap"}
        assert gateway.admin("PUT", path, ruling)[0] == 200
    gateway.kill()
    gateway = programs(again(gateway))
    _, trail = gateway.admin("GET", f"/v1/audit?path={SERVICE}&after=0")
    told = [entry for entry in trail["entries"] if "override" in entry["path"]]
    assert [entry["path"] for entry in told] == paths
    assert {entry["outcome"] for entry in told} == {"done"} and {entry["actor"] for entry in told} == {"127.0.0.1"}
    assert gateway.admin("DELETE", paths[0])[0] == 200
    _, more = gateway.admin("GET", f"/v1/audit?after={trail['next']}")
    assert [(entry["method"], entry["path"]) for entry in more["entries"]] == [("DELETE", paths[0])]
    assert more["entries"][0]["sequence"] > trail["next"] - 1


def test_a_damaged_file_is_refused_with_its_name_and_the_remedy(start):
    gateway = start(config())
    gateway.register("orders", "a", 9001)
    gateway.stop(20)
    file = gateway.folder / "data" / "portolan.redb"
    file.write_bytes(b"\0" * 4096)
    with pytest.raises(AssertionError) as failed:
        again(gateway)
    said = str(failed.value)
    assert "portolan.redb is damaged" in said and "restore" in said, said


def test_a_backup_comes_back(start, programs):
    gateway = start(config())
    gateway.register("orders", "a", 9001)
    admin = f"http://127.0.0.1:{gateway.admin_port}"
    code, said, wrong = command("backup", "nightly", "--admin", admin, folder=gateway.folder)
    assert code == 0, wrong
    backup = said.strip()
    assert backup.endswith("/data/backups/nightly.redb")
    gateway.register("orders", "b", 9002)
    data = gateway.folder / "data"
    code, _, wrong = command("restore", backup, "--data-dir", data, folder=gateway.folder)
    assert code == 2 and "in use by process" in wrong, wrong
    gateway.stop(20)
    code, said, wrong = command("restore", backup, "--data-dir", data, folder=gateway.folder)
    assert code == 0 and "what was there is" in said, (said, wrong)
    assert set(members(programs(again(gateway)))) == {"a"}


def test_a_backup_says_what_is_wrong(start):
    gateway = start(config())
    code, _, wrong = command("backup", "a/b", folder=gateway.folder)
    assert code == 2 and "a/b" in wrong
    code, _, wrong = command("backup", "--admin", "http://127.0.0.1:1", folder=gateway.folder)
    assert code == 2 and "is the program running?" in wrong
    gateway.stop(20)
    noise = gateway.folder / "noise"
    noise.write_bytes(b"noise" * 1000)
    data = gateway.folder / "data"
    code, _, wrong = command("restore", noise, "--data-dir", data, folder=gateway.folder)
    assert code == 2 and "noise" in wrong
    assert (data / "portolan.redb").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A data folder on a disk of its own with room for little."""
    folder = tmp_path / "gateway" / "data"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_serving_and_says_so(small_disk, start, origin):
    gateway = start(config())
    gateway.register("orders", "a", origin("a").port, ttl="10m")
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
    room = {"metadata": {f"k{number}": "x" * 4000 for number in range(40)}}
    refused = None
    for number in range(200):
        path = f"{SERVICE}/instances/b{number}"
        status, answer = gateway.admin("PUT", path, {"address": "127.0.0.1", "port": 9001, "ttl": "10m"} | room)
        if status == 507:
            refused = answer
            break
    assert refused and refused["cause"] == "store_full", refused
    assert gateway.metric("portolan_store_healthy") == 0
    assert "no room for the store" in gateway.output()
    assert gateway.admin("PUT", f"{SERVICE}/instances/a/heartbeat")[0] == 200
    assert get(gateway.port(), "/orders/").status in (200, 502), "requests go on"

    held = set(members(gateway))
    filler.unlink()
    until(lambda: gateway.metric("portolan_store_healthy") == 1, "the store to be healthy", 20)
    gateway.register("orders", "later", 9003, ttl="10m")
    gateway.kill()
    gateway = start(gateway.settings)
    until(lambda: set(members(gateway)) == held | {"later"}, "everybody to be back")


def test_history_reaches_beyond_what_is_in_memory(start):
    gateway = start(config())
    first = gateway.register("orders", "a", 9001, ttl="10m", version="v1")["revision"]
    for number in range(2_100):
        last = gateway.register("more", "b", 9001, ttl="10m", version=f"v{number}")["revision"]
    gateway.register("orders", "a", 9001, ttl="10m", version="v2")
    assert was(gateway, first) == was(gateway, last) == {"a": "v1"}
    _, told = gateway.admin("GET", f"/v1/events?after={first}&limit=1000")
    assert [event["instance"]["version"] for event in told["events"]] == [f"v{number}" for number in range(1000)]


def test_an_instance_says_where_it_comes_from(start, programs, tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text("services: {users: {instances: [{address: 127.0.0.1, port: 9001, id: u}]}}\n")
    gateway = start(config(sources={"edge": {"file": {"path": str(services)}}}))
    gateway.register("orders", "a", 9001, ttl="10m")
    own, foreign = f"{SERVICE}/instances/a", "/v1/services/users/instances/u"

    def shown(path: str) -> dict:
        return until(lambda: gateway.admin("GET", path)[1] if gateway.admin("GET", path)[0] == 200 else None, path)

    first = {path: shown(path) for path in (own, foreign)}
    assert [first[path]["source"] for path in first] == ["registry", "file:edge"]
    assert [first[path]["foreign_id"] for path in first] == ["a", "u"]
    _, listed = gateway.admin("GET", "/v1/services/users/instances")
    assert listed["instances"][0]["first_seen"] == first[foreign]["first_seen"]
    assert listed["instances"][0]["confirmed_at"] >= first[foreign]["first_seen"][:19]
    # A heartbeat confirms, and changes nothing else.
    revision = gateway.admin("GET", "/v1/services")[1]["revision"]
    until(lambda: gateway.admin("PUT", f"{own}/heartbeat")[0] == 200
          and shown(own)["confirmed_at"] > first[own]["confirmed_at"], "the heartbeat to be shown")
    assert gateway.admin("GET", "/v1/services")[1]["revision"] == revision
    # What sources say is kept a second or two behind.
    file = gateway.folder / "data" / "portolan.redb"
    until(lambda: b"said:file:edge" in file.read_bytes(), "what the file says to be stored")
    gateway.stop(20)
    gateway = programs(again(gateway))
    for path in first:
        assert shown(path)["first_seen"] == first[path]["first_seen"], path
