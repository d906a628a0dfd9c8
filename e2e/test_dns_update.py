"""Dynamic updates register and deregister, for whoever has a key."""

import base64
import json
import time

import pytest

from harness.gateway import config
from harness.nameservers import dig, nsupdate, short, status
from harness.origin import told
from harness.ports import free_port
from harness.wire import get

ZONE = "portolan.internal"
SECRET = base64.b64encode(b"a secret of thirty-two bytes now").decode()
KEY = f"hmac-sha256:desk:{SECRET}"


@pytest.fixture
def gateway(start):
    dns = {
        "address": f"127.0.0.1:{free_port()}",
        "zones": [ZONE],
        "updates": {"port": 8080, "keys": {"desk": {"secret": SECRET}, "big": {"algorithm": "hmac-sha512", "secret": SECRET}}},
    }
    gateway = start(config(dns=dns))
    gateway.dns_port = int(dns["address"].rsplit(":", 1)[1])
    return gateway


def update(gateway, *lines: str, key: str | None = KEY):
    return nsupdate(gateway.dns_port, [f"zone {ZONE}", *lines], key)


def done(gateway, *lines: str, key: str = KEY) -> None:
    said = update(gateway, *lines, key=key)
    assert said.returncode == 0 and "status: NOERROR" in said.stdout, (said.stdout, said.stderr)


def test_a_location_is_an_instance_that_the_gateway_routes_to(gateway, origin):
    backend = origin("one")
    done(
        gateway,
        f"update add host.{ZONE} 60 A 127.0.0.1",
        f"update add _orders._tcp.{ZONE} 60 SRV 0 100 {backend.port} host.{ZONE}",
        f"update add _orders._tcp.{ZONE} 60 TXT \"version=2\"",
    )
    assert told(get(gateway.port(), "/orders/"))["origin"] == "one"
    assert short(gateway.dns_port, f"orders.{ZONE}") == ["127.0.0.1"]
    code, answer = gateway.admin("GET", "/v1/services/orders")
    assert code == 200 and '"version": "2"' in json.dumps(answer), answer
    done(gateway, f"update delete _orders._tcp.{ZONE} SRV")
    assert short(gateway.dns_port, f"orders.{ZONE}") == []
    assert get(gateway.port(), "/orders/").status == 503


def test_addresses_are_instances_at_the_configured_port(gateway):
    done(gateway, f"update add cache.shop.{ZONE} 60 A 192.0.2.1", f"update add cache.shop.{ZONE} 60 A 192.0.2.2",
         key=f"hmac-sha512:big:{SECRET}")
    assert short(gateway.dns_port, f"cache.shop.{ZONE}") == ["192.0.2.1", "192.0.2.2"]
    done(gateway, f"update delete cache.shop.{ZONE} A 192.0.2.1")
    assert short(gateway.dns_port, f"cache.shop.{ZONE}") == ["192.0.2.2"]
    done(gateway, f"update delete cache.shop.{ZONE}")
    assert short(gateway.dns_port, f"cache.shop.{ZONE}") == []


def test_what_others_registered_is_not_an_updates_to_delete(gateway, origin):
    gateway.register("orders", "a", origin().port)
    done(gateway, f"update delete orders.{ZONE}")
    assert short(gateway.dns_port, f"orders.{ZONE}") == ["127.0.0.1"]


def test_prerequisites_are_looked_at(gateway):
    add = f"update add orders.{ZONE} 60 A 192.0.2.1"
    done(gateway, f"prereq nxdomain orders.{ZONE}", add)
    for line, outcome in [
        (f"prereq nxdomain orders.{ZONE}", "YXDOMAIN"),
        (f"prereq nxrrset orders.{ZONE} A", "YXRRSET"),
        (f"prereq yxdomain other.{ZONE}", "NXDOMAIN"),
        (f"prereq yxrrset orders.{ZONE} AAAA", "NXRRSET"),
        (f"prereq yxrrset orders.{ZONE} A 192.0.2.7", "NXRRSET"),
    ]:
        said = update(gateway, line, f"update add late.{ZONE} 60 A 192.0.2.9")
        assert outcome in said.stdout + said.stderr, (line, said)
    assert short(gateway.dns_port, f"late.{ZONE}") == []
    done(gateway, f"prereq yxrrset orders.{ZONE} A 192.0.2.1", f"update add late.{ZONE} 60 A 192.0.2.9")


def test_without_a_good_signature_nothing_is_done(gateway):
    add = f"update add orders.{ZONE} 60 A 192.0.2.1"
    other = base64.b64encode(b"another secret of thirty-two byt").decode()
    for key, outcome in [
        (None, "REFUSED"),
        (f"hmac-sha256:desk:{other}", "BADSIG"),
        (f"hmac-sha256:nobody:{SECRET}", "BADKEY"),
        (f"hmac-sha512:desk:{SECRET}", "BADKEY"),
    ]:
        said = update(gateway, add, key=key)
        assert outcome in said.stdout + said.stderr, (key, said)
    assert status(dig(gateway.dns_port, f"orders.{ZONE}")) == "NXDOMAIN"


def test_a_registration_outlives_a_restart_and_the_time_of_a_lease(start, tmp_path):
    dns = {"address": f"127.0.0.1:{free_port()}", "zones": [ZONE], "updates": {"keys": {"desk": {"secret": SECRET}}}}
    registry = {"ttl": {"default": "4s", "min": "1s", "max": "4s"}}
    settings = config(dns=dns, registry=registry)
    gateway = start(settings, folder="durable")
    gateway.dns_port = int(dns["address"].rsplit(":", 1)[1])
    done(gateway, f"update add orders.{ZONE} 60 A 192.0.2.1")
    gateway.stop(40)
    gateway = start(settings, folder="durable")
    # Longer than the registry lets anybody be silent.
    time.sleep(6)
    assert short(int(dns["address"].rsplit(":", 1)[1]), f"orders.{ZONE}") == ["192.0.2.1"]
