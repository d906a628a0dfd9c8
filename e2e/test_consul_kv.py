"""Keys, sessions, locks, transactions, prepared queries and snapshots, as clients of Consul use them."""

import base64
import os
import subprocess
import threading
import time

import consul
import pytest

from harness.consul import Agent
from harness.gateway import binary
from harness.processes import Program
from harness.waiting import until


@pytest.fixture
def agent(start):
    return Agent(start)


def value(agent: Agent, key: str) -> bytes | None:
    _, entry = agent.client.kv.get(key)
    return entry["Value"] if entry else None


def test_a_key_is_written_read_listed_and_deleted(agent):
    kv = agent.client.kv
    index, missing = kv.get("app/name")
    assert missing is None and int(index) > 0
    assert kv.put("app/name", "portolan", flags=7)
    _, entry = kv.get("app/name")
    assert (entry["Value"], entry["Flags"], entry["LockIndex"]) == (b"portolan", 7, 0)
    assert kv.put("app/db/host", "db1") and kv.put("other", "x")
    _, tree = kv.get("app/", recurse=True)
    assert [entry["Key"] for entry in tree] == ["app/db/host", "app/name"]
    assert kv.get("app/", keys=True, separator="/")[1] == ["app/db/", "app/name"]
    status, _, text = agent.call("GET", "/v1/kv/app/name?raw")
    assert (status, text) == (200, "portolan")
    assert kv.delete("app/", recurse=True)
    assert kv.get("", keys=True)[1] == ["other"]


def test_of_many_writers_with_one_index_one_wins(agent):
    kv = agent.client.kv
    assert kv.put("counter", "0")
    wins = []

    def add() -> None:
        client = consul.Consul(port=agent.port)
        for _ in range(20):
            while True:
                _, entry = client.kv.get("counter")
                number = int(entry["Value"]) + 1
                if client.kv.put("counter", str(number), cas=entry["ModifyIndex"]):
                    wins.append(number)
                    break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(agent, "counter") == b"80" and sorted(wins) == list(range(1, 81))
    assert not kv.put("counter", "x", cas=0) and kv.put("fresh", "x", cas=0)


def test_two_sessions_lock_one_after_the_other(agent):
    kv, session = agent.client.kv, agent.client.session
    one, two = session.create("one", lock_delay=0), session.create("two", lock_delay=0)
    assert kv.put("lock", "one", acquire=one)
    assert not kv.put("lock", "two", acquire=two)
    index, entry = kv.get("lock")
    assert entry["Session"] == one
    woken = []
    waiter = threading.Thread(target=lambda: woken.append(consul.Consul(port=agent.port).kv.get("lock", index=index, wait="20s")))
    waiter.start()
    assert session.destroy(one)
    waiter.join(5)
    assert not waiter.is_alive() and "Session" not in woken[0][1]
    assert kv.put("lock", "two", acquire=two)
    assert not kv.put("lock", "", release=one) and kv.put("lock", "", release=two)


def test_a_session_that_is_not_renewed_ends_and_its_lock_is_delayed(agent):
    """The shortest TTL that Consul allows is 10 s, and a session has twice its time."""
    kv, session = agent.client.kv, agent.client.session
    lost = session.create("lost", ttl=10, lock_delay=3)
    kept = session.create("kept", ttl=10)
    assert kv.put("lock", "x", acquire=lost) and kv.put("own", "x", acquire=kept)
    until(lambda: [one["Name"] for one in session.renew(kept) and session.list()[1]] == ["kept"], "the session to end", 30)
    freed = time.monotonic()
    assert not kv.put("lock", "y", acquire=kept), "the lock is delayed"
    until(lambda: kv.put("lock", "y", acquire=kept), "the lock to be free", 10)
    assert time.monotonic() - freed > 2
    assert kv.get("own")[1]["Session"] == kept


def test_a_blocking_read_wakes_for_its_prefix_only(agent):
    kv = agent.client.kv
    kv.put("a/1", "1")
    index, _ = kv.get("a/", recurse=True)
    woken = []

    def wait() -> None:
        woken.append(consul.Consul(port=agent.port).kv.get("a/", recurse=True, index=index, wait="20s"))

    waiter = threading.Thread(target=wait)
    waiter.start()
    for number in range(20):
        kv.put("b", str(number))
    waiter.join(0.3)
    assert waiter.is_alive(), "a change elsewhere wakes nobody"
    kv.put("a/2", "2")
    waiter.join(5)
    assert not waiter.is_alive()
    later, tree = woken[0]
    assert int(later) > int(index) and len(tree) == 2


def test_a_transaction_that_fails_changes_nothing(agent):
    def operation(verb: str, key: str, text: str = "", **more) -> dict:
        return {"KV": {"Verb": verb, "Key": key, "Value": base64.b64encode(text.encode()).decode()} | more}

    done = agent.client.txn.put([operation("set", "a", "1"), operation("set", "b", "1"), operation("get", "a")])
    assert done["Errors"] is None and len(done["Results"]) == 3
    status, _, text = agent.call("PUT", "/v1/txn", [operation("set", "a", "2"), operation("cas", "b", "2", Index=1)])
    assert status == 409 and "index is stale" in text
    assert value(agent, "a") == b"1"


def test_a_prepared_query_finds_instances(agent, origin):
    for name in ("a", "b"):
        agent.gateway.register("orders", name, origin().port, tags=["blue"] if name == "a" else [])
    made = agent.client.query.create("orders", "by-tag", tags=["blue"])
    found = agent.client.query.execute("by-tag")
    assert [node["Service"]["ID"] for node in found["Nodes"]] == ["a"]
    assert (found["Service"], found["Datacenter"], found["Failovers"]) == ("orders", "dc1", 0)
    assert agent.client.query.explain("by-tag")["Query"]["ID"] == made["ID"]
    template = {"Name": "find-", "Template": {"Type": "name_prefix_match", "Regexp": "^find-(.+)$"},
                "Service": {"Service": "${match(1)}"}}
    assert agent.call("POST", "/v1/query", template)[0] == 200
    assert len(agent.client.query.execute("find-orders")["Nodes"]) == 2
    agent.client.query.delete(made["ID"])
    assert [query["Name"] for query in agent.client.query.list()] == ["find-"]


def test_a_check_that_fails_ends_its_sessions(agent):
    agent.client.agent.service.register("orders", port=9001, check=consul.Check.ttl("10m"))
    agent.client.agent.check.ttl_pass("service:orders")
    session = agent.client.session.create("leader", checks=["serfHealth", "service:orders"], lock_delay=0)
    assert agent.client.kv.put("leader", "me", acquire=session)
    agent.client.agent.check.ttl_fail("service:orders")
    until(lambda: agent.client.session.list()[1] == [], "the session to end")
    assert "Session" not in agent.client.kv.get("leader")[1]


@pytest.mark.parametrize("after", [1, 50, 300])
def test_what_was_answered_survives_kill_9(agent, after):
    answered, enough = {}, threading.Event()
    session = agent.client.session.create("holder", ttl=3600)
    assert agent.client.kv.put("lock", "x", acquire=session)
    agent.client.query.create("orders", "kept")
    agent.client.event.fire("deploy", "v2")
    agent.client.catalog.register("far", "10.0.0.9", service={"service": "orders", "id": "far-1", "port": 80})

    def write(worker: int) -> None:
        client = consul.Consul(port=agent.port)
        for number in range(100_000):
            key = f"k/{worker}/{number}"
            try:
                assert client.kv.put(key, str(number))
            except Exception:
                return
            answered[key] = str(number).encode()
            if len(answered) >= after:
                enough.set()

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    assert enough.wait(30)
    agent.gateway.kill()
    for worker in workers:
        worker.join()

    agent.restart()
    _, tree = agent.client.kv.get("k/", recurse=True)
    held = {entry["Key"]: entry["Value"] for entry in tree}
    assert answered.items() <= held.items()
    assert agent.client.kv.get("lock")[1]["Session"] == session
    assert [one["ID"] for one in agent.client.session.list()[1]] == [session]
    assert agent.client.query.list()[0]["Name"] == "kept"
    assert agent.client.event.list()[1][0]["Name"] == "deploy"
    until(lambda: "far" in [node["Node"] for node in agent.client.catalog.nodes()[1]], "the node to be there")
    _, [service] = agent.client.catalog.service("orders")
    assert (service["Node"], service["Address"]) == ("far", "10.0.0.9")
    assert agent.client.kv.put("later", "x")


def test_a_snapshot_comes_back_whole(agent):
    kv = agent.client.kv
    kv.put("a", "1")
    kv.put("big", os.urandom(200_000))
    agent.client.query.create("orders", "kept")
    big = value(agent, "big")
    saved = agent.raw("GET", "/v1/snapshot")
    kv.put("a", "2")
    kv.put("b", "2")
    kv.delete("big")
    agent.client.query.delete(agent.client.query.list()[0]["ID"])
    with pytest.raises(AssertionError, match="400.*cut off"):
        agent.raw("PUT", "/v1/snapshot", saved[:-40])
    assert value(agent, "a") == b"2"
    agent.raw("PUT", "/v1/snapshot", saved)
    assert (value(agent, "a"), value(agent, "b"), value(agent, "big")) == (b"1", None, big)
    assert agent.client.query.list()[0]["Name"] == "kept"


def test_a_snapshot_restores_into_another_program_and_survives(agent, start):
    agent.client.kv.put("a", "1")
    saved = agent.raw("GET", "/v1/snapshot")
    other = Agent(start, folder="other")
    other.client.kv.put("mine", "x")
    other.raw("PUT", "/v1/snapshot", saved)
    other.gateway.kill()
    other.restart()
    assert other.client.kv.get("", keys=True)[1] == ["a"]


def test_a_successor_has_every_key_that_was_acknowledged(agent, tmp_path):
    session = agent.client.session.create("holder", ttl=3600)
    assert agent.client.kv.put("lock", "x", acquire=session)
    agent.client.catalog.register("far", "10.0.0.9")
    stop, answered, failed = threading.Event(), set(), []

    def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"k/{worker}/{number}"
            try:
                assert consul.Consul(port=agent.port).kv.put(key, "x")
                answered.add(key)
            except Exception as error:
                failed.append(repr(error))

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for writer in writers:
        writer.start()
    until(lambda: len(answered) > 50, "some writes")
    gateway = agent.gateway
    command = [binary(), "run", "--config", gateway.file, "--data-dir", gateway.folder / "data", "--take-over"]
    successor = Program(command, tmp_path / "successor.log", cwd=gateway.folder)
    try:
        assert gateway.process.wait(40) == 0, gateway.output()
        before = len(answered)
        until(lambda: len(answered) > before + 50, "writes to the successor")
        stop.set()
        for writer in writers:
            writer.join()
        _, keys = agent.client.kv.get("k/", keys=True)
        assert answered <= set(keys)
        assert not failed, failed[:3]
        assert agent.client.kv.get("lock")[1]["Session"] == session
        assert "far" in [node["Node"] for node in agent.client.catalog.nodes()[1]]
    finally:
        stop.set()
        successor.stop(40)


@pytest.fixture
def small_disk(tmp_path):
    """A data folder on a disk of its own with room for little."""
    folder = tmp_path / "gateway" / "data"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_nothing_is_half_done(small_disk, start):
    agent = Agent(start)
    assert agent.client.kv.put("a", "1")
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
    written, refused = [], None
    for number in range(200):
        status, _, text = agent.call("PUT", f"/v1/kv/b/{number}", "x" * 200_000)
        if status != 200:
            refused = (status, text)
            break
        written.append(f"b/{number}")
    assert refused and refused[0] == 500 and "no room for" in refused[1], refused
    assert value(agent, "a") == b"1", "reads go on"
    assert (agent.client.kv.get("b/", keys=True)[1] or []) == sorted(written), "what was refused is not there"
    filler.unlink()
    until(lambda: agent.call("PUT", "/v1/kv/later", "x")[0] == 200, "a write to succeed", 20)
    agent.gateway.kill()
    agent.restart()
    assert agent.client.kv.get("", keys=True)[1] == sorted(["a", "later", *written])


def test_what_a_full_disk_refused_is_not_acknowledged_when_repeated(small_disk, start):
    agent = Agent(start)
    for name in ("web", "api", "old"):
        assert agent.call("PUT", "/v1/agent/service/register", {"Name": name, "Port": 80})[0] == 200
    maintenance = "/v1/agent/service/maintenance/web?enable="
    assert agent.call("PUT", f"{maintenance}true")[0] == 200
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
    for number in range(200):
        if agent.call("PUT", f"/v1/kv/b/{number}", "x" * 200_000)[0] != 200:
            break
    node = agent.client.agent.self()["Config"]["NodeName"]
    delete = {"Service": {"Verb": "delete", "Node": node, "Service": {"ID": "old"}}}
    calls = [
        (f"{maintenance}false", None),
        ("/v1/agent/service/deregister/api", None),
        ("/v1/txn", [delete]),
    ]
    for path, body in calls:
        statuses = [agent.call("PUT", path, body)[0] for _ in range(2)]
        assert 200 not in statuses, (path, statuses)
    filler.unlink()
    until(lambda: agent.call("PUT", f"{maintenance}false")[0] == 200, "it to be acknowledged", 20)
    agent.gateway.kill()
    agent.restart()
    services = agent.client.agent.services()
    assert sorted(services) == ["web"]
    assert "_service_maintenance:web" not in agent.client.agent.checks()


def test_the_metrics_say_how_much_there_is(agent):
    agent.client.kv.put("a", "1")
    agent.client.session.create("one")
    assert agent.gateway.metric("portolan_ledger_keys") == 1
    assert agent.gateway.metric("portolan_ledger_sessions") == 1
    assert agent.gateway.metric("portolan_ledger_bytes") > 1
