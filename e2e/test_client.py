"""Programs that discover and register by the client library: its examples, as its users run them."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness.gateway import ROOT, binary, config
from harness.loopback import Loopback
from harness.processes import Program
from harness.waiting import until


def example(name: str) -> Path:
    """An example of the client library: from $EXAMPLES, or where cargo built it last."""
    path = Path(os.environ.get("EXAMPLES", ROOT / "target" / "debug" / "examples")) / name
    assert path.exists(), f"{path} is missing: cargo build --workspace --examples --features portolan-client/full"
    return path


class Says(Program):
    """A program that a test waits for words of."""

    def says(self, words: str, seconds: float = 15.0) -> None:
        try:
            until(lambda: words in self.output() or not self.is_running(), f"`{words}`", seconds)
            assert words in self.output(), "it has ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None


class Load(Says):
    """Calls that go on until it is stopped."""

    def tally(self) -> dict:
        lines = [line for line in self.output().splitlines() if line.startswith("{") and line.endswith("}")]
        return json.loads(lines[-1]) if lines else {"calls": 0, "failed": {}, "answers": {}}

    def goes_on(self, calls: int = 400) -> None:
        """Waits until so many more calls were made."""
        begun = self.tally()["calls"]
        until(lambda: self.tally()["calls"] >= begun + calls, f"{calls} calls", 30)

    def is_answered_by(self, instance: Program, seconds: float = 20.0) -> None:
        """Waits until that instance answers more calls than it did."""
        place = name_of(instance)
        begun = self.tally()["answers"].get(place, 0)
        until(lambda: self.tally()["answers"].get(place, 0) > begun, f"an answer of {place}", seconds)


def name_of(instance: Program) -> str:
    """What an instance calls itself, and answers."""
    return instance.output().splitlines()[0]


@pytest.fixture
def parts_of(tmp_path, programs):
    """Starts instances and loads that belong to one registry."""

    class Parts:
        count = 0

        def __init__(self, registry: str) -> None:
            self.registry = registry

        def instance(self) -> Says:
            Parts.count += 1
            log = tmp_path / f"instance-{Parts.count}.log"
            started = programs(Says([example("serve"), "orders", self.registry], log))
            started.says("orders at ")
            return started

        def load(self, *memory) -> Load:
            Parts.count += 1
            return programs(Load([example("load"), self.registry, *memory], tmp_path / f"load-{Parts.count}.log"))

    return Parts


def registered(gateway, count: int) -> None:
    """Waits until the registry has so many instances that get calls."""

    def opens() -> bool:
        status, answer = gateway.admin("GET", "/v1/services/orders")
        return status == 200 and answer["open"] == count

    until(opens, f"{count} instances")


def test_no_safe_call_fails_while_one_instance_lives(start, parts_of):
    settings = config()
    gateway = start(settings)
    parts = parts_of(f"http://127.0.0.1:{gateway.admin_port}")
    first, second, third = parts.instance(), parts.instance(), parts.instance()
    registered(gateway, 3)
    load = parts.load()
    load.says("ready: Live")
    load.goes_on()

    first.kill()
    load.goes_on()
    # One that is told to stop leaves without a trace.
    fourth = parts.instance()
    load.is_answered_by(fourth)
    fourth.signal(signal.SIGTERM)
    fourth.says("left: ")
    load.goes_on()

    gateway.kill()
    load.goes_on()
    # Nobody tells the load that this one is gone, too.
    second.kill()
    load.goes_on(800)

    gateway = start(settings)
    fifth = parts.instance()
    load.is_answered_by(fifth)
    third.kill()
    load.goes_on(800)

    gateway.kill()
    load.goes_on()
    load.stop()
    tally = load.tally()
    print(tally)
    assert tally["failed"] == {}
    assert sum(tally["answers"].values()) == tally["calls"]
    assert set(tally["answers"]) == {name_of(one) for one in (first, second, third, fourth, fifth)}


def test_a_program_starts_while_the_registry_is_down(start, parts_of, tmp_path):
    gateway = start(config())
    parts = parts_of(f"http://127.0.0.1:{gateway.admin_port}")
    instance = parts.instance()
    registered(gateway, 1)
    memory = tmp_path / "services.json"
    load = parts.load(memory)
    load.says("ready: Live")
    until(lambda: memory.exists() and name_of(instance).split(":")[1] in memory.read_text(), "the memory")
    load.stop()
    assert memory.stat().st_mode & 0o777 == 0o600

    gateway.kill()
    load = parts.load(memory)
    load.says("ready: Remembered")
    load.goes_on()
    load.stop()
    assert load.tally()["failed"] == {}

    memory.write_text("this is no memory")
    fresh = parts.load(memory)
    fresh.says("NotReady")
    assert "no connection" in fresh.output()
    assert fresh.process.wait(10) != 0


def test_examples_run_beside_a_portolan_without_configuration(tmp_path, programs):
    network = Loopback(tmp_path)
    programs(network.holder)

    def run(name: str, *words) -> Says:
        log = tmp_path / f"{'-'.join([name, *words[1:2]])}.log"
        return programs(Says(network.inside(example(name), *words), log))

    portolan = programs(Says(network.inside(binary()), tmp_path / "portolan.log", cwd=tmp_path))
    ready = network.inside("curl", "-sf", "http://127.0.0.1:9070/ready")
    until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "readiness")

    serve = run("serve")
    serve.says("orders at ")
    place = name_of(serve).removeprefix("orders at ")
    call = run("call")
    follows = [
        run("follow"),
        run("follow", "orders", "consul", "http://127.0.0.1:8500"),
        run("follow", "orders", "eureka", "http://127.0.0.1:8761/eureka"),
    ]
    for follow in follows:
        follow.says("ready: Live")
        follow.says("orders has 1 instances: ")
        follow.says(f"a call would go to {place}")
    call.says(f"200 OK: orders at {place}")
    serve.signal(signal.SIGTERM)
    serve.says("left: ")
    follows[0].says("orders has 0 instances")
    assert portolan.is_running()
