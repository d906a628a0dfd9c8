"""TLS towards clients and towards instances."""

import json
import re
import socket
import ssl
import subprocess

import pytest

from harness.gateway import config, listener, to_origin
from harness.origin import told
from harness.waiting import until
from harness.wire import Client


def secured(start, origin, *certificates, **tls):
    web = listener(tls={"certificates": list(certificates)} | tls)
    return start(config(**to_origin(origin()), listeners={"web": web}))


def names(port: int, name: str | None) -> set[str]:
    """The names in the certificate that a client gets who asks for `name`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        with context.wrap_socket(sock, server_hostname=name) as tls:
            data = tls.getpeercert(binary_form=True)
    from cryptography import x509

    alternative = x509.load_der_x509_certificate(data).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(alternative.value.get_values_for_type(x509.DNSName))


def s_client(port: int, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments],
        input=stdin, capture_output=True, text=True, errors="replace", timeout=20, check=False,
    )
    return done.stdout + done.stderr


def test_requests_pass_and_the_origin_learns_the_scheme(start, origin, authority):
    gateway = secured(start, origin, authority.issue("localhost"))
    with Client(gateway.port(), tls=authority.client("http/1.1")) as client:
        story = told(client.request("GET", "/"))
    assert ["x-forwarded-proto", "https"] in [[name.lower(), value] for name, value in story["fields"]]


def test_certificates_are_chosen_by_name(start, origin, authority):
    gateway = secured(start, origin, authority.issue("default.test"), authority.issue("shop.test"),
                      authority.issue("*.wild.test"))
    port = gateway.port()
    assert names(port, "shop.test") == {"shop.test"}
    assert names(port, "SHOP.test") == {"shop.test"}
    assert names(port, "a.wild.test") == {"*.wild.test"}
    assert names(port, "a.b.wild.test") == {"default.test"}
    assert names(port, "other.test") == {"default.test"}
    assert names(port, None) == {"default.test"}


def test_certificates_are_taken_anew_when_their_files_change(start, origin, authority):
    gateway = secured(start, origin, authority.issue("old.test", file="served"))
    assert names(gateway.port(), None) == {"old.test"}
    kept = Client(gateway.port(), tls=authority.client("http/1.1"), name="old.test")
    authority.issue("new.test", file="served")
    until(lambda: names(gateway.port(), None) == {"new.test"}, "the new certificate", 15)
    assert told(kept.request("GET", "/"))["target"] == "/", "open connections stay"


def test_a_broken_certificate_keeps_the_old_one(start, origin, authority):
    files = authority.issue("old.test", file="served")
    gateway = secured(start, origin, files)
    with open(files["certificate"], "w") as file:
        file.write("nonsense")
    gateway.hang_up()
    until(lambda: "served.pem" in gateway.output(), "a word about it")
    assert names(gateway.port(), None) == {"old.test"}


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_sessions_are_resumed(start, origin, authority, version, tmp_path):
    gateway = secured(start, origin, authority.issue("localhost"))
    saved = tmp_path / "session.pem"
    # A request and its answer give the ticket time to arrive.
    request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    first = s_client(gateway.port(), f"-{version}", "-sess_out", str(saved), "-ign_eof", stdin=request)
    assert "HTTP/1.1 200" in first, first
    second = s_client(gateway.port(), f"-{version}", "-sess_in", str(saved), "-ign_eof", stdin=request)
    assert "Reused, TLS" in second and "HTTP/1.1 200" in second, second


@pytest.mark.parametrize(("offered", "chosen"), [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1"), ("h2", "h2")])
def test_protocols_are_agreed_on(start, origin, authority, offered, chosen):
    gateway = secured(start, origin, authority.issue("localhost"))
    assert f"ALPN protocol: {chosen}" in s_client(gateway.port(), "-alpn", offered)


def test_versions_can_be_narrowed(start, origin, authority):
    gateway = secured(start, origin, authority.issue("localhost"), versions=["1.3"])
    assert "Cipher is (NONE)" in s_client(gateway.port(), "-tls1_2")
    assert re.search(r"TLSv1\.3, Cipher is TLS_", s_client(gateway.port(), "-tls1_3"))


def test_old_versions_are_not_spoken(start, origin, authority):
    gateway = secured(start, origin, authority.issue("localhost"))
    assert "Cipher is (NONE)" in s_client(gateway.port(), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def test_plain_text_on_a_tls_port_costs_nothing(start, origin, authority):
    gateway = secured(start, origin, authority.issue("localhost"))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = client.reader.rest()
    assert b"200" not in received
    until(lambda: gateway.metric("portolan_connections_refused_total", cause="tls_protocol_error") >= 1, "it to be counted")


def upstream_tls(start, authority, origin, server, **tls):
    backend = origin(tls=server)
    return start(config(**to_origin(backend, tls=tls, preserve_host=True)))


def test_instances_are_spoken_to_over_tls(start, origin, authority):
    gateway = upstream_tls(start, authority, origin, authority.server("orders.test"),
                           server_name="orders.test", ca=str(authority.file))
    with Client(gateway.port()) as client:
        first = told(client.request("GET", "/"))
        assert told(client.request("GET", "/"))["connection"] == first["connection"]


def test_an_instance_with_another_name_is_refused(start, origin, authority):
    gateway = upstream_tls(start, authority, origin, authority.server("other.test"),
                           server_name="orders.test", ca=str(authority.file))
    with Client(gateway.port()) as client:
        answer = client.request("GET", "/")
    assert answer.status == 502 and json.loads(answer.body)["cause"] == "tls_certificate_error"


def test_an_instance_of_an_unknown_authority_is_refused(start, origin, authority):
    gateway = upstream_tls(start, authority, origin, authority.server("orders.test"), server_name="orders.test")
    with Client(gateway.port()) as client:
        answer = client.request("GET", "/")
    assert answer.status == 502 and json.loads(answer.body)["cause"] == "tls_certificate_error"


def test_verification_can_be_switched_off(start, origin, authority):
    gateway = upstream_tls(start, authority, origin, authority.server("other.test"), verify="off")
    with Client(gateway.port()) as client:
        assert client.request("GET", "/").status == 200


def test_a_client_certificate_is_shown(start, origin, authority):
    mine = authority.issue("gateway.test")
    server = authority.server("orders.test", verify=True)
    gateway = upstream_tls(start, authority, origin, server, server_name="orders.test", ca=str(authority.file), **mine)
    with Client(gateway.port()) as client:
        assert client.request("GET", "/").status == 200


def test_http2_over_tls_to_an_instance(start, origin, authority):
    """ALPN towards an instance: the inner gateway offers h2, and `auto` takes it."""
    from harness.two import Client as Two

    web = listener(tls={"certificates": [authority.issue("inner.test")]})
    inner = start(config(**to_origin(origin()), listeners={"web": web}), folder="inner")
    upstreams = {"inner": {"addresses": [f"127.0.0.1:{inner.port()}"],
                           "tls": {"server_name": "inner.test", "ca": str(authority.file)}}}
    outer = start(config(routes={"all": {"target": "inner"}}, upstreams=upstreams), folder="outer")
    with Two(outer.port()) as client:
        stream = client.request("GET", "/x")
    assert stream.status == 200
    vias = [value for name, value in json.loads(stream.body)["fields"] if name.lower() == "via"]
    assert re.search(r"2(\.0)? .*2(\.0)? ", ", ".join(vias)), vias
