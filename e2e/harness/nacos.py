"""A server that speaks Nacos's protocols, and what registers with it."""

import http.client
import json
import os
import threading
from pathlib import Path
from urllib.parse import urlencode

from .ports import free_port
from .processes import Program
from .waiting import until


def two_ports() -> tuple[int, int]:
    return free_port(), free_port()


class Nacos(Program):
    """The server of the crate rnacos. It can be started anew on what it left behind."""

    def __init__(self, folder: Path, program: Path, ports: tuple[int, int] | None = None, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.program, self._settings = folder, program, settings
        self.port, self.grpc_port = self._ports = ports or two_ports()
        environment = {
            "RNACOS_HTTP_PORT": str(self.port), "RNACOS_GRPC_PORT": str(self.grpc_port),
            "RNACOS_SDK_HOST": "127.0.0.1", "RNACOS_CONSOLE_HOST": "127.0.0.1",
            "RNACOS_HTTP_CONSOLE_PORT": str(free_port()), "RNACOS_DATA_DIR": str(folder / "data"),
            "RNACOS_HTTP_WORKERS": "1", "RUST_LOG": "warn",
        } | settings
        super().__init__([program], folder / "nacos.log", env=os.environ | environment, cwd=folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self) -> "Nacos":
        until(self._answers, "Nacos to be ready", 40)
        return self

    def again(self) -> "Nacos":
        return Nacos(self.folder, self.program, self._ports, **self._settings)

    def call(self, method: str, path: str, **parameters) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            query = urlencode(parameters)
            if method == "POST":
                fields = {"content-type": "application/x-www-form-urlencoded"}
                connection.request(method, f"/nacos/{path}", query, fields)
            else:
                connection.request(method, f"/nacos/{path}?{query}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def register(self, service: str, port: int, **more) -> None:
        metadata = more.pop("metadata", None)
        parameters = {"serviceName": service, "ip": "127.0.0.1", "port": port, "ephemeral": "false"} | more
        if metadata:
            parameters["metadata"] = json.dumps(metadata)
        status, text = self.call("POST", "v1/ns/instance", **parameters)
        assert status == 200 and text == "ok", (status, text)

    def deregister(self, service: str, port: int, **more) -> None:
        parameters = {"serviceName": service, "ip": "127.0.0.1", "port": port, "ephemeral": "false"} | more
        status, text = self.call("DELETE", "v1/ns/instance", **parameters)
        assert status == 200 and text == "ok", (status, text)

    def _answers(self) -> bool:
        assert self.is_running(), self.output()
        try:
            return self.call("GET", "v1/ns/service/list", pageNo=1, pageSize=1)[0] in (200, 403)
        except OSError:
            return False


class Heart:
    """Beats for an instance that is ephemeral, until it is told to stop."""

    def __init__(self, nacos: Nacos, service: str, port: int) -> None:
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, args=(nacos, service, port), daemon=True)
        self._beating.start()

    def stop(self) -> None:
        self._over.set()
        self._beating.join(10)

    def _beat(self, nacos: Nacos, service: str, port: int) -> None:
        beat = json.dumps({"serviceName": f"DEFAULT_GROUP@@{service}", "ip": "127.0.0.1", "port": port,
                           "cluster": "DEFAULT", "weight": 1.0, "metadata": {}, "scheduled": True, "period": 1000})
        while not self._over.wait(1):
            try:
                nacos.call("PUT", "v1/ns/instance/beat", serviceName=f"DEFAULT_GROUP@@{service}", beat=beat)
            except OSError:
                pass  # it is not there at this time; instances go on beating
