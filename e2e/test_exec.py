"""Programs that know nothing of Portolan are registered while they run."""

import http.client
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.gateway import ROOT, binary, command, config
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until
from harness.wire import get

INSTANCE = ROOT / "e2e" / "harness" / "instance.py"


class Exec(Program):
    """A program that runs under `portolan exec`."""

    def __init__(self, folder: Path, registry: str, *arguments: str, name: str = "a",
                 program: list | None = None, port: int | None = None, prefix=()) -> None:
        self.name = name
        self.folder = folder
        self.port = port or free_port()
        run = program or [sys.executable, INSTANCE, name, self.port, folder]
        words = [*prefix, binary(), "exec", "--service", "orders", "--port", self.port,
                 "--registry", registry, "--interval", "100ms", *arguments, "--", *run]
        super().__init__(words, folder / f"{name}.log")

    def says(self, words: str, seconds: float = 10.0) -> None:
        """Waits until it has said these words."""
        try:
            until(lambda: words in self.output(), f"`{words}`", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def program_pid(self) -> int:
        self.says("runs as process ")
        return int(self.output().split("runs as process ")[1].split(";")[0])

    def signals(self) -> list[str]:
        """The signals that the program itself got."""
        return (self.folder / f"{self.name}.signals").read_text().split()

    def ends(self, seconds: float = 10.0) -> int:
        """Waits until it ends by itself; gives its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.output()}") from None


class Load:
    """Clients that send one request after the other until told to stop."""

    def __init__(self, port: int, path: str, clients: int = 8) -> None:
        self.failures: list[str] = []
        self.seen: dict[str, int] = {}
        self._port, self._path = port, path
        self._is_over = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._is_over:
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read().decode()
                failed = None if answer.status == 200 else f"{answer.status} {body}"
            except (OSError, http.client.HTTPException) as error:
                failed, body = repr(error), ""
                connection.close()
            with self._lock:
                if failed:
                    self.failures.append(failed)
                else:
                    self.seen[body] = self.seen.get(body, 0) + 1
        connection.close()

    def total(self) -> int:
        with self._lock:
            return sum(self.seen.values())

    def goes_on(self, requests: int = 200) -> None:
        """Waits for so many more answers."""
        goal = self.total() + requests
        until(lambda: self.total() >= goal or self.failures, "answers", 30)

    def end(self) -> None:
        """Stops, and fails if any request has failed."""
        self._is_over = True
        for thread in self._threads:
            thread.join(15)
        assert not self.failures, (len(self.failures), self.total(), self.failures[:5])


def registry(gateway) -> str:
    return f"http://127.0.0.1:{gateway.admin_port}"


def members(gateway) -> dict[str, dict]:
    status, answer = gateway.admin("GET", "/v1/services/orders/instances")
    return {member["id"]: member for member in answer["instances"]} if status == 200 else {}


@pytest.fixture
def run(tmp_path, programs):
    """Starts programs under `portolan exec`."""

    def run(gateway, *arguments: str, **options) -> Exec:
        where = gateway if isinstance(gateway, str) else registry(gateway)
        return programs(Exec(tmp_path, where, *arguments, **options))

    return run


@pytest.fixture
def gateway(start):
    return start(config(guard={"hold": "0s"}))


HEALTH = ("--check", "http:/health")
REGISTERED = "orders is registered as"


def test_a_program_is_registered_once_its_check_passes(gateway, run, tmp_path):
    ill = tmp_path / "a.ill"
    ill.touch()
    one = run(gateway, *HEALTH)
    one.says("the check does not pass yet: status 503")
    assert get(gateway.port(), "/orders/").status == 404
    assert REGISTERED not in one.output()
    ill.unlink()
    one.says(REGISTERED)
    answer = get(gateway.port(), "/orders/x")
    assert (answer.status, answer.body) == (200, b"a")
    assert members(gateway).keys() == {f"127.0.0.1:{one.port}"}


def test_a_program_is_registered_as_it_is_described(gateway, run):
    one = run(gateway, "--id", "me", "--zone", "eu-1", "--version", "v2", "--tag", "x", "--tag", "y",
              "--meta", "team=shop", "--weight", "50", "--ttl", "7s", "--address", "127.0.0.1")
    one.says(REGISTERED)
    me = members(gateway)["me"]
    told = {key: me[key] for key in ("zone", "version", "tags", "metadata", "weight", "status")}
    assert told == {"zone": "eu-1", "version": "v2", "tags": ["x", "y"],
                    "metadata": {"team": "shop"}, "weight": 50, "status": "passing"}


def test_ports_have_names_and_services_namespaces(gateway, run):
    port = free_port()
    program = [sys.executable, INSTANCE, "a", port, "/tmp"]
    one = run(gateway, "--namespace", "shop", "--check", "none", program=program, port=f"http={port}")
    one.says(REGISTERED)
    status, answer = gateway.admin("GET", "/v1/namespaces/shop/services/orders/instances")
    assert status == 200 and answer["instances"][0]["port"] == "http", answer


def test_it_works_for_a_program_that_is_not_ours(gateway, run):
    port = free_port()
    program = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"]
    run(gateway, port=port, program=program).says(REGISTERED)
    assert get(gateway.port(), "/orders/").status == 200


def test_sigterm_drains_without_a_failed_request(gateway, run):
    one, two = run(gateway, *HEALTH, name="a"), run(gateway, *HEALTH, name="b")
    one.says(REGISTERED), two.says(REGISTERED)
    load = Load(gateway.port(), "/orders/slow/20")
    load.goes_on()
    one.signal(signal.SIGTERM)
    assert one.ends() == 0
    load.goes_on()
    load.end()
    assert load.seen.keys() == {"a", "b"}
    assert "deregistered; no request is left" in one.output()
    assert one.signals() == ["SIGTERM"]
    assert members(gateway).keys() == {f"127.0.0.1:{two.port}"}


class Slow:
    """One request that takes its time and is at the instance by now."""

    def __init__(self, gateway, one: Exec, milliseconds: int) -> None:
        self.answer = None
        self._thread = threading.Thread(target=self._run, args=(gateway.port(), milliseconds))
        self._thread.start()
        until((one.folder / f"{one.name}.busy").exists, "the request at the instance")

    def _run(self, port: int, milliseconds: int) -> None:
        self.answer = get(port, f"/orders/slow/{milliseconds}").status

    def end(self) -> int:
        self._thread.join(15)
        return self.answer


def test_the_last_request_ends_before_the_program_is_told(gateway, run):
    one = run(gateway)
    one.says(REGISTERED)
    slow = Slow(gateway, one, 1500)
    one.signal(signal.SIGTERM)
    one.says("leaving the registry")
    assert one.ends() == 0
    assert slow.end() == 200
    one.says("deregistered; no request is left")


def test_a_drain_has_an_end(gateway, run):
    one = run(gateway, "--drain", "300ms")
    one.says(REGISTERED)
    slow = Slow(gateway, one, 5000)
    one.signal(signal.SIGTERM)
    assert one.ends(4) == 0
    one.says("1 of its requests did not end in time")
    assert slow.end() == 502


def test_a_second_signal_does_not_wait_for_requests(gateway, run):
    one = run(gateway)
    one.says(REGISTERED)
    slow = Slow(gateway, one, 8000)
    one.signal(signal.SIGINT)
    one.says("leaving the registry")
    one.signal(signal.SIGINT)
    assert one.ends(4) == 0
    assert one.signals() == ["SIGINT"]
    assert slow.end() == 502


def test_a_crash_deregisters_at_once(gateway, run):
    one, two = run(gateway, name="a"), run(gateway, name="b")
    one.says(REGISTERED), two.says(REGISTERED)
    with pytest.raises((OSError, http.client.HTTPException)):
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
        connection.request("GET", "/exit/3")
        connection.getresponse()
    assert one.ends(3) == 3
    assert "ended with 3" in one.output() and "deregistered" in one.output()
    assert members(gateway).keys() == {f"127.0.0.1:{two.port}"}
    os.kill(two.program_pid(), signal.SIGSEGV)
    assert two.ends(3) == 128 + signal.SIGSEGV
    assert "was ended by SIGSEGV" in two.output()
    assert members(gateway) == {}


def test_who_is_killed_with_its_keeper_goes_after_its_ttl(gateway, run):
    one = run(gateway, "--ttl", "1s")
    one.says(REGISTERED)
    pid = one.program_pid()
    one.kill()
    until(lambda: members(gateway) == {}, "the lease to end", 5)
    os.kill(pid, signal.SIGKILL)


def test_it_renews_for_longer_than_its_ttl(gateway, run):
    one = run(gateway, "--ttl", "1s")
    one.says(REGISTERED)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert members(gateway).keys() == {f"127.0.0.1:{one.port}"}
        time.sleep(0.05)
    assert one.output().count("registered") == 2, one.output()


def test_a_registry_that_restarts_gets_everybody_back(start, run):
    settings = config()
    first = start(settings)
    one = run(first, "--ttl", "10m")
    one.says(REGISTERED)
    pid = one.program_pid()
    first.stop()
    one.says("the registry can't be told, trying on")
    second = start(settings, folder="second")
    one.says("registered again at", 8)
    assert get(second.port(), "/orders/").body == b"a"
    os.kill(pid, 0)


def test_an_upgrade_of_the_registry_goes_unnoticed(gateway, run, programs, tmp_path):
    one = run(gateway, "--ttl", "1s")
    one.says(REGISTERED)
    words = [binary(), "run", "--config", gateway.file, "--data-dir", gateway.folder / "data", "--take-over"]
    programs(Program(words, tmp_path / "successor.log", cwd=gateway.folder))
    assert gateway.process.wait(40) == 0, gateway.output()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert get(gateway.port(), "/orders/").status == 200
    assert "registered again" not in one.output()


def test_a_program_runs_without_a_registry(start, run):
    settings = config()
    port = settings["admin"]["address"].rsplit(":", 1)[1]
    one = run(f"http://127.0.0.1:{free_port()},http://127.0.0.1:{port}")
    one.says("the registry can't be told, trying on")
    assert get(one.port, "/x").status == 200
    gateway = start(settings)
    one.says(REGISTERED)
    assert get(gateway.port(), "/orders/").status == 200


def test_a_program_ends_without_a_registry(run):
    one = run(f"http://127.0.0.1:{free_port()}")
    one.says("the registry can't be told")
    one.signal(signal.SIGTERM)
    assert one.ends(3) == 0


def test_a_program_whose_check_fails_gets_no_requests(gateway, run, tmp_path):
    one = run(gateway, *HEALTH)
    one.says(REGISTERED)
    ill = tmp_path / "a.ill"
    ill.touch()
    one.says("the check fails: status 503")
    until(lambda: get(gateway.port(), "/orders/").status == 503, "no requests")
    member = members(gateway)[f"127.0.0.1:{one.port}"]
    assert (member["status"], member["note"]) == ("critical", "status 503")
    ill.unlink()
    one.says("the check passes again")
    until(lambda: get(gateway.port(), "/orders/").status == 200, "requests")


def test_signals_reach_the_program(gateway, run):
    one = run(gateway)
    one.says(REGISTERED)
    wanted = ["SIGHUP", "SIGUSR1", "SIGUSR2"]
    for number, name in enumerate(wanted):
        one.signal(signal.Signals[name])
        until(lambda: len(one.signals()) > number, name)
    assert one.signals() == wanted
    assert one.is_running()


def test_a_program_that_does_not_end_is_killed(gateway, run, tmp_path):
    port = free_port()
    program = [sys.executable, INSTANCE, "a", port, tmp_path, "stubborn"]
    one = run(gateway, "--kill-after", "300ms", port=port, program=program)
    one.says(REGISTERED)
    one.signal(signal.SIGTERM)
    assert one.ends(5) == 128 + signal.SIGKILL
    one.says("did not end within 300ms and is killed")
    assert one.signals() == ["SIGTERM"]


def test_exit_codes_are_the_programs(tmp_path):
    def code(*program: str) -> tuple[int, str]:
        words = ("exec", "--service", "a", "--port", "1", "--", *program)
        ended, _, said = command(*words, folder=tmp_path)
        return ended, said

    assert code("true")[0] == 0
    assert code("sh", "-c", "exit 42")[0] == 42
    assert code("sh", "-c", "kill -9 $$")[0] == 137
    ended, said = code("./nowhere")
    assert ended == 127 and "./nowhere: can't start the program" in said
    file = tmp_path / "text"
    file.write_text("no program")
    file.chmod(stat.S_IRUSR)
    assert code("./text")[0] == 126


def test_wrong_arguments_are_explained(tmp_path):
    fine = ("--service", "a", "--port", "1")
    for arguments, words in [
        (("--port", "1", "--", "true"), "--service"),
        ((*fine, "true"), "--"),
        (fine, "COMMAND"),
        ((*fine, "--check", "htp:/", "--", "true"), "a check is `tcp`, `http:/path`"),
        ((*fine, "--port", "2", "--", "true"), "two ports need names"),
        (("--service", "a b", "--port", "1", "--", "true"), "service"),
        ((*fine, "--registry", "localhost:9070", "--", "true"), "http://host:port"),
        ((*fine, "--address", "0.0.0.0", "--", "true"), "nobody can connect to 0.0.0.0"),
        ((*fine, "--drain", "2h", "--", "true"), "at most 1h"),
    ]:
        code, out, said = command("exec", *arguments, folder=tmp_path)
        assert (code, out) == (2, "") and words in said, (arguments, code, said)


def test_the_registry_may_be_named_by_the_environment(gateway, tmp_path):
    words = ("exec", "--service", "orders", "--port", "1", "--check", "none", "--", "sleep", "1")
    environment = {"PORTOLAN_REGISTRY": f"http://127.0.0.1:1, {registry(gateway)}"}
    code, _, said = command(*words, folder=tmp_path, environment=environment)
    assert code == 0 and REGISTERED in said, said


def test_as_process_1_it_collects_what_others_leave_behind(gateway, run, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("namespaces of processes are root's to make")
    port = free_port()
    script = f'(sleep 0.1 &) ; (sleep 0.2 &) ; exec {sys.executable} {INSTANCE} a {port} {tmp_path}'
    one = run(gateway, port=port, program=["sh", "-c", script],
              prefix=["unshare", "--pid", "--fork", "--kill-child"])
    one.says("runs as process 2")
    one.says(REGISTERED)
    inner = int(children(one.pid)[0])

    def only_the_program() -> bool:
        return len(children(inner)) == 1

    until(only_the_program, "the orphans to be collected")
    os.kill(inner, signal.SIGTERM)
    assert one.ends() == 0
    assert members(gateway) == {}


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_rolling_restart_fails_no_request(gateway, run):
    fleet = {name: run(gateway, *HEALTH, name=name) for name in "abc"}
    for one in fleet.values():
        one.says(REGISTERED)
    load = Load(gateway.port(), "/orders/slow/10", clients=12)
    load.goes_on()
    for name, old in list(fleet.items()):
        old.signal(signal.SIGTERM)
        assert old.ends() == 0, old.output()
        fresh = run(gateway, *HEALTH, name=name, port=old.port)
        until(lambda: fresh.output().count(REGISTERED) == 2, "the new one")
        load.goes_on()
    load.end()
    assert load.seen.keys() == {"a", "b", "c"}
    assert load.total() > 800


def test_a_port_that_is_taken_is_noticed(gateway, run, origin):
    stranger = origin("stranger")
    one = run(gateway, port=stranger.port)
    one.says(f"127.0.0.1:{stranger.port} is taken already")
    assert one.ends() == 1  # The program can't listen.
