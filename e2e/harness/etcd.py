"""etcd, one member or three, and what writes to it."""

import base64
import http.client
import json
import os
import subprocess
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until


class Etcd(Program):
    """A member of etcd. It can be started anew on what it left behind."""

    def __init__(self, folder: Path, name: str = "one", host: str = "127.0.0.1", cluster: dict | None = None,
                 port: int | None = None, command: tuple = (), tls: dict | None = None) -> None:
        """`cluster` gives each member's peer URL by name; `command` stands before the program."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self.port = folder, host, port or free_port()
        self._again = {"name": name, "host": host, "cluster": cluster, "port": self.port, "command": command, "tls": tls}
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{host}:{self.port}"
        peers = cluster or {name: f"http://{host}:{free_port()}"}
        words = [
            *command, "etcd", "--name", name, "--data-dir", folder / "data",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name],
            "--initial-cluster", ",".join(f"{one}={url}" for one, url in peers.items()),
            "--heartbeat-interval", "50", "--election-timeout", "500",
        ]
        if tls:
            words += ["--cert-file", tls["certificate"], "--key-file", tls["key"],
                      "--trusted-ca-file", tls["ca"], "--client-cert-auth"]
        self._tls = tls
        super().__init__(words, folder / "etcd.log")

    def wait_ready(self) -> "Etcd":
        until(lambda: self._healthy(), "etcd to be ready", 20)
        return self

    def again(self) -> "Etcd":
        """Starts it anew, with the data that it had."""
        return Etcd(self.folder, **self._again)

    def ctl(self, *words: str, check: bool = True) -> str:
        """What etcdctl says."""
        done = self._run(*words)
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess:
        command = ["etcdctl", "--endpoints", self.url, "--command-timeout", "5s"]
        if self._tls:
            command += ["--cacert", self._tls["ca"], "--cert", self._tls["certificate"], "--key", self._tls["key"]]
        return subprocess.run(
            [*command, *map(str, words)], env=os.environ | {"ETCDCTL_API": "3"},
            capture_output=True, text=True, timeout=20, check=False,
        )

    def put(self, key: str, value, *words: str) -> None:
        self.ctl("put", *words, key, value if isinstance(value, str) else json.dumps(value))

    def call(self, path: str, body: dict) -> dict:
        """Asks by the JSON gateway, which is quicker than to start etcdctl."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def quick_put(self, key: str, value: dict) -> None:
        code = lambda text: base64.b64encode(text.encode()).decode()  # noqa: E731
        answer = self.call("kv/put", {"key": code(key), "value": code(json.dumps(value))})
        assert "header" in answer, answer

    def _healthy(self) -> bool:
        assert self.is_running(), self.output()
        return self._run("endpoint", "health").returncode == 0


def address(origin) -> dict:
    """A value of the naming package of gRPC."""
    return {"Op": 0, "Addr": f"127.0.0.1:{origin.port}", "Metadata": None}
