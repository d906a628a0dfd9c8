"""A network with nothing in it, for programs whose ports are the real ones."""

import os
import subprocess

from .processes import Program
from .waiting import until


class Loopback:
    """A network namespace with nothing but loopback, held by a sleeping program."""

    def __init__(self, folder) -> None:
        self.holder = Program(["unshare", "--net", "sleep", "600"], folder / "network.log")
        until(self._is_apart, "a network of its own")
        self.run("ip", "link", "set", "lo", "up")

    def inside(self, *command) -> list[str]:
        return ["nsenter", "--net", "--target", str(self.holder.pid), *map(str, command)]

    def run(self, *command) -> str:
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def curl(self, *arguments) -> str:
        return self.run("curl", "-sS", "--max-time", "5", *arguments)

    def _is_apart(self) -> bool:
        try:
            return os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        except OSError:
            return False
