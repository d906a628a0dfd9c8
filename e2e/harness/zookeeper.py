"""ZooKeeper, one server or three, as the distribution ships it."""

import shutil
import socket
import subprocess
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until

PACKAGES = ["libzookeeper-java", "liblog4j1.2-java", "libslf4j-java", "libnetty-java", "libsnappy-java", "libmetrics-java"]
# Exactly these: two bindings of slf4j on one path would end the program.
JARS = ("zookeeper.jar", "zookeeper-jute.jar", "slf4j-api.jar", "slf4j-log4j12.jar", "log4j-1.2.jar", "snappy-java.jar",
        "metrics-core.jar")
LOGGING = """log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n
"""


def class_path() -> str:
    found = []
    for package in PACKAGES:
        listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False).stdout
        for line in listed.splitlines():
            name = Path(line).name
            if "/java/" in line and (name in JARS or name.startswith("netty-") and name.endswith(".jar")):
                found.append(line)
    return ":".join(found)


class Zookeeper(Program):
    """A server. It can be started anew on what it left behind."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", number: int = 1, ensemble: list[str] | None = None,
                 port: int | None = None) -> None:
        """`ensemble` is what the configuration of each server says of all."""
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self.port = folder, host, port or free_port()
        self._again = {"host": host, "number": number, "ensemble": ensemble, "port": self.port}
        lines = [
            "tickTime=500", f"dataDir={folder}/data", f"clientPort={self.port}", f"clientPortAddress={host}",
            "initLimit=20", "syncLimit=10", "admin.enableServer=false", "4lw.commands.whitelist=*",
            "minSessionTimeout=1000", *(ensemble or []),
        ]
        (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
        (folder / "log4j.properties").write_text(LOGGING)
        (folder / "data" / "myid").write_text(f"{number}\n")
        java = shutil.which("java")
        assert java, "java is missing"
        command = [java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:{class_path()}",
                   "org.apache.zookeeper.server.quorum.QuorumPeerMain", folder / "zoo.cfg"]
        super().__init__(command, folder / "zookeeper.log")

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def wait_ready(self) -> "Zookeeper":
        until(lambda: self.mode(), "ZooKeeper to serve", 40)
        return self

    def again(self) -> "Zookeeper":
        """Starts it anew, with the data that it had."""
        return Zookeeper(self.folder, **self._again)

    def mode(self) -> str:
        """`standalone`, `leader`, `follower`, or nothing while it does not serve."""
        assert self.is_running(), self.output()
        for line in self._word("srvr").splitlines():
            if line.startswith("Mode: "):
                return line.removeprefix("Mode: ")
        return ""

    def _word(self, word: str) -> str:
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as sock:
                sock.sendall(word.encode())
                said = b""
                while chunk := sock.recv(65536):
                    said += chunk
                return said.decode()
        except OSError:
            return ""
