"""What a request costs, in calls to the system and to the allocator."""

import json
import re
import subprocess

import pytest

from harness.gateway import binary, config, port_of, to_origin
from harness.peers import Nginx, listens
from harness.processes import Program
from harness.waiting import until
from harness.wire import Client

REQUESTS = 4000

pytestmark = pytest.mark.alone


def traced(gateway, work) -> dict[str, int]:
    """Calls to the system that the gateway makes while `work` runs, by name."""
    out = gateway.folder / "strace.txt"
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-o", out, "-p", str(gateway.pid)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    assert "attached" in tracer.stderr.readline()
    work()
    tracer.send_signal(2)
    tracer.wait(10)
    calls = {}
    for line in out.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if found and found[2] != "total":
            calls[found[2]] = int(found[1])
    return calls


def test_a_kept_request_takes_four_data_calls(start, programs, tmp_path):
    """Read and write on both sides, and no probing: the least that a proxy can do."""
    peer = programs(Nginx(tmp_path / "nginx"))
    gateway = start(config(**to_origin(peer), gateway={"workers": 1}))

    def work() -> None:
        with Client(gateway.port()) as client:
            for _ in range(REQUESTS):
                assert client.request("GET", "/").status == 200

    work()
    calls = traced(gateway, work)
    data = {name: count for name, count in calls.items() if re.match(r"(send|recv|read|write)", name)}
    per_request = sum(data.values()) / REQUESTS
    assert per_request < 4.2, calls
    # One client in lockstep needs a wait on each side; many share theirs.
    others = sum(calls.values()) - sum(data.values())
    assert others / REQUESTS < 2.3, calls


def test_requests_leave_nothing_behind(start, programs, tmp_path):
    peer = programs(Nginx(tmp_path / "nginx"))
    gateway = start(config(**to_origin(peer)))

    def load(requests: int) -> None:
        subprocess.run(
            ["h2load", "--h1", "-n", str(requests), "-c", "32", f"http://127.0.0.1:{gateway.port()}/"],
            capture_output=True, timeout=50, check=True,
        )

    load(20_000)
    memory, descriptors = gateway.resident_bytes(), gateway.descriptors()
    load(60_000)
    assert gateway.resident_bytes() - memory < 3_000_000
    assert abs(gateway.descriptors() - descriptors) <= 40
    assert gateway.resident_bytes() < 40 * 2**20


class Counted(Program):
    """The gateway under callgrind, which counts its calls to the allocator."""

    def __init__(self, folder, origin) -> None:
        folder.mkdir()
        settings = config(**to_origin(origin), gateway={"workers": 1})
        (folder / "portolan.yaml").write_text(json.dumps(settings))
        self.port = port_of(settings["listeners"]["web"]["address"])
        self.counts = folder / "callgrind.out"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.counts}"]
        run = [binary(), "run", "--config", folder / "portolan.yaml", "--data-dir", folder / "data"]
        super().__init__([*valgrind, *run], folder / "log")
        until(lambda: not self.is_running() or listens(self.port), "the gateway under callgrind", 60)

    def allocations(self) -> int:
        """Every allocation and reallocation from start to end, now that it has ended."""
        allocator = re.compile(r"mi_(malloc|zalloc|calloc|realloc)\w*")
        names, callee, total = {}, "", 0
        for line in self.counts.read_text().splitlines():
            if found := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
                if found[2]:
                    names[found[1]] = found[2]
                callee = names.get(found[1], "") if line.startswith("cfn") else ""
            elif line.startswith("calls=") and allocator.fullmatch(callee):
                total += int(line[6:].split()[0])
        return total


@pytest.mark.timeout(180)
def test_a_kept_request_allocates_next_to_nothing(programs, tmp_path):
    """Two runs that differ in requests alone differ by what requests allocate."""
    peer = programs(Nginx(tmp_path / "nginx"))
    counts = []
    for requests in (200, 1200):
        gateway = programs(Counted(tmp_path / str(requests), peer))
        with Client(gateway.port) as client:
            for _ in range(requests):
                assert client.request("GET", "/").status == 200
        gateway.stop(60)
        counts.append(gateway.allocations())
    # Two starts differ by some hundreds, whatever requests do.
    per_request = (counts[1] - counts[0]) / 1000
    assert min(counts) > 0 and -1 < per_request < 6, counts
