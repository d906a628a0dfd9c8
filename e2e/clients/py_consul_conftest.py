"""Fixtures in place of py-consul's own, which start containers: the suite's tests stay as they are.

The test that runs the suite says by PORTOLAN_SUITE where the end-to-end tests are, and by
PORTOLAN_CONSUL_PORT which port the tests name in the URLs that checks go to.
"""

import collections
import os
import sys
import uuid
from pathlib import Path

import pytest
import requests

sys.path.insert(0, os.environ["PORTOLAN_SUITE"])

from harness.gateway import Portolan, config  # noqa: E402

ConsulInstance = collections.namedtuple("ConsulInstance", ["container", "port", "version"])


@pytest.fixture(scope="session", autouse=True)
def _unset_consul_token():
    os.environ.pop("CONSUL_HTTP_TOKEN", None)


def running(folder: Path, token: str | None = None):
    """A fresh Portolan for one test; with access control if there is a first token."""
    port = int(os.environ["PORTOLAN_CONSUL_PORT"])
    registry = {"consul": {"address": f"127.0.0.1:{port}"}, "checks": {"scripts": True}}
    access = {} if token is None else {"access": {}}
    gateway = Portolan(folder, config(registry=registry, **access))
    api = f"http://127.0.0.1:{port}/v1"
    try:
        if token is not None:
            made = requests.put(f"{api}/acl/bootstrap", json={"BootstrapSecret": token}, timeout=10)
            assert made.status_code == 200, made.text
        itself = requests.get(f"{api}/agent/self", headers={"X-Consul-Token": token or ""}, timeout=10)
        yield ConsulInstance(gateway, port, itself.json()["Config"]["Version"])
    finally:
        gateway.stop(40)
        assert "panicked" not in gateway.output(), gateway.output()


@pytest.fixture
def consul_instance(tmp_path):
    yield from running(tmp_path)


@pytest.fixture
def acl_consul_instance(tmp_path):
    token = str(uuid.uuid4())
    for instance in running(tmp_path, token):
        yield instance, token


@pytest.fixture
def consul_port(consul_instance):
    return consul_instance.port, consul_instance.version
