"""Servers as child processes: pinned to cores, measured, and always stopped by pid.

A child also dies with the bench itself (PR_SET_PDEATHSIG), so that not even a killed bench
leaves a server behind.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_CLOCK_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15.0
# Below the ephemeral range, so that no outgoing connection can hold one of them.
_PORTS = iter(range(10240, 32000))

running: list["Server"] = []


class ServerFailed(Exception):
    """A server did not start, or died."""


class Cleanup:
    """Stops whatever is still running at the end, in the reverse order of starting."""

    def __enter__(self) -> "Cleanup":
        signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(list(running)):
            server.stop()


class Server:
    """One running program and its children."""

    def __init__(
        self,
        name: str,
        command: Iterable[str | Path],
        directory: Path,
        cores: set[int],
        environment: dict[str, str] | None = None,
        **pipes: object,
    ) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / "log"
        directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=directory,
                env=os.environ | (environment or {}),
                preexec_fn=lambda: _prepare(cores),
                **({"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | pipes),
            )
        running.append(self)

    def wait_for_port(self, port: int, seconds: float = 20.0) -> None:
        """Returns when the port takes connections."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise ServerFailed(f"{self.name} did not start:\n{self._tail()}") from None
                time.sleep(0.02)

    def pids(self) -> list[int]:
        """The process and its descendants."""
        parents = _parents()
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far, of all its processes."""
        return sum(self.user_and_system_seconds())

    def user_and_system_seconds(self) -> tuple[float, float]:
        """The two apart. Their sum is exact, the split is sampled by the kernel's tick."""
        times = [_user_and_system_seconds(pid) for pid in self.pids()]
        return sum(user for user, _ in times), sum(system for _, system in times)

    def resident_bytes(self) -> int:
        """Resident memory of its largest process (nginx's idle master is not counted)."""
        return max(_status_kib(pid, "VmRSS") for pid in self.pids()) * 1024

    def descriptors(self) -> int:
        """Open descriptors of all its processes."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after a while; children too. Returns when all are gone."""
        if self in running:
            running.remove(self)
        pids = self.pids() if self.is_alive() else []
        for send in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                _signal(pid, send)
            try:
                self.process.wait(_STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        for pid in pids[1:]:
            _signal(pid, signal.SIGKILL)

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


def free_port() -> int:
    """A loopback port that nobody listens on, different at every call."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port left")


def raise_descriptor_limit() -> None:
    """Descriptors up to the hard limit, for us and for the servers we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pinned(cores: set[int]):
    """A preexec_fn for short-lived children."""
    return lambda: _prepare(cores)


def _prepare(cores: set[int]) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.sched_setaffinity(0, cores)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _parents() -> dict[int, int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields:
                parents[int(name)] = int(fields[1])
    return parents


def _user_and_system_seconds(pid: int) -> tuple[float, float]:
    fields = _stat(pid)
    if not fields:
        return 0.0, 0.0
    return int(fields[11]) * _CLOCK_TICK, int(fields[12]) * _CLOCK_TICK


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status_kib(pid: int, name: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
