"""Fixtures: every program that a test starts is stopped, and every gateway is asked for panics."""

import os
import ssl
import subprocess
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2_grpc

from harness.eureka import Client, program_of
from harness.gateway import ROOT, Portolan, config, to_origin
from harness.origin import Origin
from harness.web import Web


@pytest.fixture
def start(tmp_path):
    """Starts gateways. At the end each must stop within its deadline and have met no defect."""
    running: list[Portolan] = []

    def start(settings: dict, *arguments: str, folder: str = "gateway", **options) -> Portolan:
        gateway = Portolan(tmp_path / folder, settings, *arguments, **options)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        if gateway.is_running():
            gateway.stop(40)
        said = gateway.output()
        assert "panicked" not in said, said


@pytest.fixture
def origin():
    """Starts origins."""
    running: list[Origin] = []

    def origin(*arguments, **options) -> Origin:
        running.append(Origin(*arguments, **options))
        return running[-1]

    yield origin
    for one in running:
        one.close()


@pytest.fixture
def programs(tmp_path):
    """Collects programs to stop at the end of the test."""
    running = []

    def keep(program):
        running.append(program)
        return program

    yield keep
    for program in running:
        if program.is_running():
            program.stop()


@pytest.fixture
def client(parts, programs):
    """Starts a program that speaks by one of the libraries of Eureka's clients."""

    def client(library: str, *arguments) -> Client:
        command = program_of(library, parts, *arguments)
        return programs(Client(command, {"NODE_PATH": str(parts / "node" / "node_modules")}))

    return client


@pytest.fixture
def proxied(start, origin):
    """A gateway that sends everything to one echoing origin."""
    backend = origin()
    gateway = start(config(**to_origin(backend)))
    gateway.backend = backend
    return gateway


@pytest.fixture
def web():
    running = []

    def web(**options):
        running.append(Web(**options))
        return running[-1]

    yield web
    for one in running:
        one.close()


@pytest.fixture
def grpc_health():
    """A gRPC server with the health service of grpcio."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.port = server.add_insecure_port("127.0.0.1:0")
    server.states = servicer
    server.start()
    yield server
    server.stop(None).wait()


class Authority:
    """A certificate authority of the run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str, file: str | None = None) -> dict:
        """A certificate for these names, as a configuration names it."""
        issued = self._ca.issue_cert(*names)
        stem = file or names[0].replace("*", "_")
        chain, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return {"certificate": str(chain), "key": str(key)}

    def client(self, *protocols: str) -> ssl.SSLContext:
        """What a client that trusts this authority uses."""
        context = ssl.create_default_context(cafile=str(self.file))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def server(self, *names: str, verify: bool = False) -> ssl.SSLContext:
        """What a server with a certificate for these names uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = self.issue(*names, file=f"server-{names[0]}")
        context.load_cert_chain(files["certificate"], files["key"])
        if verify:
            context.load_verify_locations(str(self.file))
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture(scope="session")
def parts() -> Path:
    """Where ./test put the real parts."""
    return ROOT / ".parts"


@pytest.fixture(scope="session", autouse=True)
def no_strays():
    """No program of ours may outlive the run, nor the part of it that a worker has."""
    yield
    own = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-x", "portolan"],
        capture_output=True, text=True, check=False,
    )
    assert not own.stdout.split(), f"stray portolan processes: {own.stdout.split()}"
