"""A real Docker daemon of the test's own, and containers of a few programs that are on this machine."""

import http.client
import json
import shutil
import socket
import subprocess
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until

IMAGE = "portolan-test:1"


class Docker(Program):
    """A daemon on a socket in its folder. It starts with the host's network only, and leaves that alone.

    With `prefix` it runs within a network namespace, where it may build bridges.
    """

    def __init__(self, folder: Path, prefix: tuple = (), bridge: str | None = None, tls: dict | None = None) -> None:
        """`tls` names the files of a server that asks for certificates; then there is a `port` besides the socket."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port() if tls else None
        self._tls = [] if not tls else [
            "-H", f"tcp://127.0.0.1:{self.port}", "--tlsverify",
            "--tlscacert", tls["ca"], "--tlscert", tls["certificate"], "--tlskey", tls["key"],
        ]
        self.folder, self.prefix, self.bridge = folder, prefix, bridge
        self.socket = folder / "s.sock"
        self.files = folder / "pid", folder / "exec"
        self._start()

    def _start(self) -> None:
        pid, run = self.files
        pid.unlink(missing_ok=True)
        networks = ["--bip", self.bridge] if self.bridge else [
            "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
        ]
        command = [
            *self.prefix, "/usr/sbin/dockerd", "--data-root", self.folder / "data", "--exec-root", run,
            "-H", f"unix://{self.socket}", "--pidfile", pid, "--live-restore", *networks, *self._tls,
        ]
        super().__init__(command, self.folder / "dockerd.log")
        until(lambda: not self.is_running() or self.is_up(), "dockerd to answer", 60)
        assert self.is_running(), self.output()

    def again(self) -> None:
        """Starts it once more, on what it left."""
        self.socket.unlink(missing_ok=True)
        # Its containerd ended with it, but where nobody buries the dead its pid looks alive.
        (self.files[1] / "containerd" / "containerd.pid").unlink(missing_ok=True)
        self._start()

    def is_up(self) -> bool:
        try:
            return self.api("GET", "/_ping") == "OK"
        except OSError:
            return False

    def api(self, method: str, path: str, body=None):
        """Asks the daemon; gives its JSON, or its text."""
        connection = http.client.HTTPConnection("docker", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        try:
            connection.sock.connect(str(self.socket))
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"} if data else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status < 400, (method, path, answer.status, text)
            return json.loads(text) if "json" in (answer.getheader("content-type") or "") and text else text
        finally:
            connection.close()

    def build(self) -> None:
        """An image of nothing but busybox."""
        root = self.folder / "image"
        (root / "bin").mkdir(parents=True)
        (root / "www").mkdir()
        shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
        for name in ("sh", "httpd", "wget", "sleep", "cat"):
            (root / "bin" / name).symlink_to("busybox")
        packed = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
        command = [self.client(), "-H", f"unix://{self.socket}", "import", "-", IMAGE]
        subprocess.run(command, input=packed, check=True, capture_output=True)

    @staticmethod
    def client() -> str:
        """The client that belongs to the daemon; another may stand before it."""
        return "/usr/bin/docker"

    def run(self, name: str, port: int, address: str = "127.0.0.1", network: str = "host",
            labels: dict | None = None, health: str | None = None, **host) -> str:
        """Starts a web server that says its name; gives its id."""
        page = json.dumps({"origin": name})
        script = f"echo '{page}' > /www/index.html; exec httpd -f -p {address}:{port} -h /www"
        settings = {
            "Image": IMAGE,
            "Cmd": ["sh", "-c", script],
            "Labels": {"portolan.service": "orders"} | (labels or {}),
            "ExposedPorts": {f"{port}/tcp": {}},
            "HostConfig": {"NetworkMode": network} | host,
        }
        if health:
            second = 1_000_000_000
            settings["Healthcheck"] = {"Test": ["CMD-SHELL", health], "Interval": second, "Timeout": 2 * second, "Retries": 1}
        made = self.api("POST", f"/containers/create?name={name}", settings)
        self.api("POST", f"/containers/{made['Id']}/start")
        return made["Id"]

    def kill_container(self, name: str) -> None:
        self.api("POST", f"/containers/{name}/kill")

    def stop(self, seconds: float = 30.0) -> int:
        """Ends the containers, then the daemon, then what it mounted."""
        try:
            if self.is_up():
                for one in self.api("GET", "/containers/json?all=true"):
                    self.api("DELETE", f"/containers/{one['Id']}?force=true")
        finally:
            code = super().stop(seconds)
            # One that was killed leaves mounts behind, and its successor does not know of them.
            mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
            for mount in sorted(mounts, reverse=True):
                if mount.startswith(f"{self.folder}/"):
                    subprocess.run(["umount", mount], capture_output=True, check=False)
        return code
