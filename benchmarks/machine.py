"""The machine under the bench: foreign CPU, instruction counters, a description of it."""

import os
import platform
import subprocess
import time
from pathlib import Path

from benchmarks import processes

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class ForeignCpu:
    """How many cores others used between two moments.

    Busy time of the machine, time stolen by its host included, less what the bench, its
    servers and its finished children used.
    """

    def __init__(self) -> None:
        self._begin = self._read()

    def cores(self) -> float:
        now = self._read()
        wall, busy, ours = (after - before for after, before in zip(now, self._begin))
        return max(0.0, (busy - ours) / wall) if wall > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        ours += sum(server.cpu_seconds() for server in processes.running)
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
        busy = (user + nice + system + irq + softirq + steal) * _TICK
        return time.monotonic(), busy, ours


class CoreUse:
    """The share of time that a core was not idle."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._begin = self._read()

    def share(self) -> float:
        busy, total = (after - before for after, before in zip(self._read(), self._begin))
        return busy / total if total else 0.0

    def _read(self) -> tuple[int, int]:
        line = Path("/proc/stat").read_text().splitlines()[1 + self._core]
        ticks = [int(field) for field in line.split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Instructions:
    """Counts user instructions of processes, where the machine has the counter."""

    def __init__(self) -> None:
        self.available = self._probe()

    def start(self, pids: list[int]) -> "subprocess.Popen[str] | None":
        if not self.available:
            return None
        command = ["perf", "stat", "-x,", "-e", "instructions:u", "-p", ",".join(map(str, pids))]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def finish(counter: "subprocess.Popen[str] | None") -> int | None:
        if counter is None:
            return None
        counter.send_signal(2)
        _, output = counter.communicate(timeout=10)
        return _first_count(output)

    @staticmethod
    def _probe() -> bool:
        try:
            probe = subprocess.run(
                ["perf", "stat", "-x,", "-e", "instructions:u", "true"],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            return False
        return _first_count(probe.stderr) is not None


def print_heading(command: str) -> None:
    """What was run, when, and on what."""
    print(f"# ./bench {command}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}\n")
    print(f"{_describe()}.")


def _describe() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def _first_count(output: str) -> int | None:
    for line in output.splitlines():
        field = line.split(",")[0]
        if field.isdigit():
            return int(field)
    return None
