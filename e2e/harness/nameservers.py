"""Name servers and resolvers that others wrote, and the tools that ask."""

import re
import subprocess
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until

ZONE = "example.test"


def dig(port: int, *words: str, server: str = "127.0.0.1") -> str:
    """What dig says; it asks once, and waits for two seconds."""
    return _said("dig", f"@{server}", "-p", str(port), "+tries=1", "+time=2", *words)


def kdig(port: int, *words: str, server: str = "127.0.0.1") -> str:
    return _said("kdig", f"@{server}", "-p", str(port), "+retry=0", "+time=3", *words)


def short(port: int, *words: str) -> list[str]:
    """The data of an answer, sorted."""
    return sorted(dig(port, "+short", *words).split("\n")[:-1])


def status(said: str) -> str:
    """The outcome that dig shows."""
    found = re.search(r"status: (\w+)", said)
    return found[1] if found else said


def nsupdate(port: int, lines: list[str], key: str | None = None) -> subprocess.CompletedProcess:
    """Sends one update by nsupdate; `key` is `algorithm:name:secret`."""
    command = ["nsupdate", "-t", "5", "-r", "0", *(("-y", key) if key else ())]
    script = "\n".join([f"server 127.0.0.1 {port}", *lines, "send", "answer", ""])
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=20, check=False)


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


class Knot(Program):
    """knot, which serves one zone from a file."""

    def __init__(self, folder: Path, records: list[str], zone: str = ZONE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        head = [f"$ORIGIN {zone}.", "$TTL 60", "@ SOA ns root 1 3600 600 86400 30", "@ NS ns", "ns A 127.0.0.1"]
        (folder / "zone").write_text("\n".join([*head, *records, ""]))
        (folder / "knot.conf").write_text(
            f"server:\n  listen: 127.0.0.1@{self.port}\n  rundir: {folder}\n"
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"database:\n  storage: {folder}\n"
            f"zone:\n  - domain: {zone}\n    file: {folder}/zone\n    semantic-checks: off\n"
        )
        super().__init__(["/usr/sbin/knotd", "-c", folder / "knot.conf"], folder / "knot.log")
        until(lambda: "NOERROR" in dig(self.port, zone, "SOA"), "knot to answer")


class Unbound(Program):
    """unbound, which asks others for single zones and knows nothing else."""

    def __init__(self, folder: Path, zones: dict[str, int], *more: str, asked: str | None = None) -> None:
        """`zones` says at which port of this machine the servers of each zone are."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        forwards = "".join(
            f"forward-zone:\n  name: \"{zone}\"\n  forward-addr: 127.0.0.1@{port}\n" for zone, port in zones.items()
        )
        quiet = "".join(f"  domain-insecure: \"{zone}\"\n  local-zone: \"{zone}\" transparent\n" for zone in zones)
        options = "".join(f"  {line}\n" for line in more)
        (folder / "unbound.conf").write_text(
            f"server:\n  interface: 127.0.0.1@{self.port}\n  do-ip6: no\n  username: \"\"\n  chroot: \"\"\n"
            f"  directory: \"{folder}\"\n  pidfile: \"{folder}/pid\"\n  use-syslog: no\n  num-threads: 1\n"
            f"  do-not-query-localhost: no\n  module-config: \"iterator\"\n{quiet}{options}"
            f"remote-control:\n  control-enable: no\n{forwards}"
        )
        command = ["/usr/sbin/unbound", "-d", "-p", "-c", folder / "unbound.conf"]
        super().__init__(command, folder / "unbound.log")
        zone = asked or next(iter(zones))
        until(lambda: "NOERROR" in dig(self.port, zone, "SOA"), "unbound to answer")


class Load(Program):
    """dnsperf, which asks for each of these names once, so many a second."""

    def __init__(self, folder: Path, port: int, names: list[str], rate: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "queries").write_text("".join(f"{name} A\n" for name in names))
        command = [
            *("dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", folder / "queries", "-n", "1"),
            *("-Q", str(rate), "-c", "10", "-q", "200", "-t", "5", "-e"),
        ]
        super().__init__(command, folder / "dnsperf.log")

    def ended(self, seconds: float) -> dict[str, int]:
        """Waits for its end; gives answers by outcome, and what was lost."""
        self.process.wait(seconds)
        said = self.output()
        codes = re.search(r"Response codes:\s+(.*)", said)
        assert codes, said
        found = {name: int(count) for name, count in re.findall(r"(\w+) (\d+) \(", codes[1])}
        return found | {"lost": int(re.search(r"Queries lost:\s+(\d+)", said)[1])}
