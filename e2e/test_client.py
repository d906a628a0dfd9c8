"""Programs that discover and register by the client library: its examples, as its users run them."""

import signal
import subprocess

import pytest

from harness.examples import Load, Says, example, name_of
from harness.gateway import binary, config
from harness.loopback import Loopback
from harness.waiting import until


# How a call ends whose instance dies or freezes when it has it.
LOST = ("closed before message completed", "onnection reset", "broken pipe", "error reading a body", "no answer within")


@pytest.fixture
def parts_of(tmp_path, programs):
    """Starts instances and loads that belong to one registry."""

    class Parts:
        count = 0

        def __init__(self, registry: str) -> None:
            self.registry = registry

        def instance(self, takes_ms: int = 0) -> Says:
            Parts.count += 1
            log = tmp_path / f"instance-{Parts.count}.log"
            started = programs(Says([example("serve"), "orders", self.registry, str(takes_ms)], log))
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


# How many calls are under way at any time, and how long one takes at least.
FLYING, TAKES_MS = 200, 200
# How long a try of the load may take.
TRY = 2.0


def test_no_safe_call_fails_while_one_instance_lives(start, parts_of):
    settings = config()
    gateway = start(settings)
    parts = parts_of(f"http://127.0.0.1:{gateway.admin_port}")
    first, second, third, fourth = (parts.instance(TAKES_MS) for _ in range(4))
    registered(gateway, 4)
    load = parts.load()
    load.says("ready: Live")
    load.goes_on()

    # One dies with a quarter of all calls.
    first.kill()
    load.goes_on()

    # One freezes: it takes connections and calls and never answers. Every call to it is given up
    # after a try's time, and another one answers.
    second.signal(signal.SIGSTOP)
    load.goes_on(seconds=2 * TRY)
    second.signal(signal.SIGCONT)
    load.is_answered_by(second)
    # What it was sent while it was frozen has had its time.
    load.goes_on(seconds=TRY)

    # One that is told to stop leaves without a trace, and a new one gets its calls.
    lost = load.failed_unsafe()
    fifth = parts.instance(TAKES_MS)
    load.is_answered_by(fifth)
    third.signal(signal.SIGTERM)
    third.says("left: ")
    load.goes_on()
    assert load.failed_unsafe() == lost, load.tally()["failed_unsafe"]

    # Nobody tells the load of those that go while the registry is gone.
    gateway.kill()
    load.goes_on()
    assert load.failed_unsafe() == lost, load.tally()["failed_unsafe"]
    fourth.kill()
    fifth.signal(signal.SIGSTOP)
    load.goes_on(seconds=2 * TRY)
    fifth.signal(signal.SIGCONT)

    # It is back with what it had written down; some of that is dead.
    gateway = start(settings)
    sixth, seventh = parts.instance(TAKES_MS), parts.instance(TAKES_MS)
    load.is_answered_by(sixth)
    load.is_answered_by(seventh)

    # All at once: of four instances one is left, and the registry is not.
    for program in (gateway, second, fifth, sixth):
        program.kill()
    load.goes_on(seconds=TRY)
    load.stop()
    assert "panicked" not in load.output()

    tally = load.tally()
    flying = sorted(tally["flying"] for tally in load.tallies())
    lost = load.failed_unsafe()
    print(f"{tally['calls']} calls, {flying[len(flying) // 2]} under way (median)")
    print(f"failed: {tally['failed']}, and of those that may not be made twice {lost}:")
    print("".join(f"{count:6} {reason}\n" for reason, count in tally["failed_unsafe"].items()))
    assert tally["failed"] == {}
    assert flying[len(flying) // 2] >= FLYING
    living = (first, second, third, fourth, fifth, sixth, seventh)
    assert set(tally["answers"]) == {name_of(one) for one in living}
    assert sum(tally["answers"].values()) + lost == tally["calls"]
    # Of those that may not be made twice only such are lost as were sent: to one that died, or froze.
    other = [told for told in tally["failed_unsafe"] if not any(reason in told for reason in LOST)]
    assert not other, "\n".join(other)


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
