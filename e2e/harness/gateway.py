"""Portolan itself, as its users run it."""

import http.client
import json
import os
import signal
from pathlib import Path

from .ports import free_port
from .processes import Program
from .waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


def binary() -> Path:
    """The program under test: $PORTOLAN, or what cargo built last for release."""
    path = Path(os.environ.get("PORTOLAN", ROOT / "target" / "release" / "portolan"))
    assert path.exists(), f"{path} is missing: cargo build --release"
    return path


def config(routes=None, upstreams=None, **parts) -> dict:
    """A configuration with one listener, `web`, and whatever else is given."""
    base = {
        "gateway": {"workers": 2},
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "listeners": {"web": {"address": f"127.0.0.1:{free_port()}"}},
    }
    if routes is not None:
        base["routes"] = routes
    if upstreams is not None:
        base["upstreams"] = upstreams
    for name, part in parts.items():
        base[name] = base[name] | part if isinstance(base.get(name), dict) else part
    return base


def listener(**settings) -> dict:
    """A listener on a free port."""
    return {"address": f"127.0.0.1:{free_port()}"} | settings


def to_origin(*origins, **upstream) -> dict:
    """Parts of a configuration that send everything to these origins."""
    addresses = [f"127.0.0.1:{origin.port}" for origin in origins]
    return {
        "routes": {"all": {"target": "origin"}},
        "upstreams": {"origin": {"addresses": addresses} | upstream},
    }


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


class Portolan(Program):
    """A running gateway with a configuration of its own."""

    def __init__(self, folder: Path, settings: dict, *arguments: str, ready_port: int | None = None, **options) -> None:
        """`ready_port` is where it is asked whether it is ready, if that is not the admin listener."""
        self.folder = folder
        self.settings = settings
        self.file = folder / "portolan.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.write(settings)
        self.admin_port = port_of(settings["admin"]["address"])
        self.ready_port = ready_port or self.admin_port
        command = [binary(), "run", "--config", self.file, "--data-dir", folder / "data"]
        super().__init__([*command, *arguments], folder / "portolan.log", cwd=folder, **options)
        try:
            self.wait_ready()
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.output()}") from None

    def wait_ready(self) -> None:
        until(lambda: not self.is_running() or self.is_ready(), "the gateway to be ready", 30)
        assert self.is_running(), "the gateway ended"

    def is_ready(self) -> bool:
        try:
            return self._ask(self.ready_port, "GET", "/ready")[0] == 200
        except OSError:
            return False

    def port(self, name: str = "web") -> int:
        """The port of a listener."""
        return port_of(self.settings["listeners"][name]["address"])

    def write(self, settings: dict) -> None:
        """Puts a configuration in the file's place in one step. JSON is YAML."""
        self.settings = settings
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(json.dumps(settings, indent=1))
        fresh.replace(self.file)

    def hang_up(self) -> None:
        self.signal(signal.SIGHUP)

    def admin(self, method: str, path: str, body=None, headers=None) -> tuple[int, object]:
        """Asks the admin listener; gives the status and the body, read as JSON where it is."""
        return self._ask(self.admin_port, method, path, body, headers)

    @staticmethod
    def _ask(port: int, method: str, path: str, body=None, headers=None) -> tuple[int, object]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            fields = ({"content-type": "application/json"} if data else {}) | (headers or {})
            connection.request(method, path, data, fields)
            answer = connection.getresponse()
            text = answer.read().decode()
            if "json" in (answer.getheader("content-type") or ""):
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            connection.close()

    def register(self, service: str, instance: str, port: int, **more) -> dict:
        """Registers an instance, as a program would by one call."""
        path = f"/v1/services/{service}/instances/{instance}"
        status, answer = self.admin("PUT", path, {"address": "127.0.0.1", "port": port} | more)
        assert status in (200, 201), answer
        return answer

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, read by Prometheus's own parser."""
        from prometheus_client.parser import text_string_to_metric_families

        status, text = self.admin("GET", "/metrics")
        assert status == 200, text
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
                samples[f"{sample.name}{{{labels}}}"] = sample.value
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name whose labels include these."""
        wanted = {f"{key}={value}" for key, value in labels.items()}
        total = 0.0
        for key, value in self.metrics().items():
            sample, _, shown = key.partition("{")
            if sample == name and wanted <= set(shown.rstrip("}").split(",")):
                total += value
        return total

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


def command(*arguments: str, folder: Path, environment=None) -> tuple[int, str, str]:
    """Runs `portolan ...` to its end; gives exit code, output and errors."""
    import subprocess

    done = subprocess.run(
        [str(binary()), *map(str, arguments)],
        cwd=folder,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
