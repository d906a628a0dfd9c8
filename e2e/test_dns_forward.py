"""Names that are not ours come from recursors, and ours are found through resolvers of others."""

import base64
import http.client
import re
import socket
import threading
import time

import pytest

from harness.gateway import binary, config
from harness.nameservers import ZONE, Knot, Load, Unbound, dig, kdig, short, status
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until


def dns(**settings) -> dict:
    """A gateway with a DNS server on a port of its own."""
    return config(dns={"address": f"127.0.0.1:{free_port()}"} | settings)


def port_of(gateway) -> int:
    return int(gateway.settings["dns"]["address"].rsplit(":", 1)[1])


def to(*recursors, **more) -> dict:
    return {"recursors": {"addresses": [f"127.0.0.1:{one.port}" for one in recursors]} | more}


@pytest.fixture
def knot(tmp_path, programs):
    many = [f"many A 192.0.2.{last}" for last in range(1, 200)]
    more = ["www A 192.0.2.1", "www AAAA 2001:db8::1", "alias CNAME www", "odd TYPE65280 \\# 4 01020304",
            "text TXT \"one\" \"two\"", "* A 192.0.2.9"]
    return programs(Knot(tmp_path / "knot", more + many))


def test_a_name_of_others_is_asked_for_and_remembered(start, knot):
    gateway = start(dns(**to(knot)))
    port = port_of(gateway)
    said = dig(port, f"www.{ZONE}")
    assert status(said) == "NOERROR" and " ra" in said and "192.0.2.1" in said, said
    assert short(port, f"www.{ZONE}", "AAAA") == ["2001:db8::1"]
    assert short(port, f"alias.{ZONE}") == ["192.0.2.1", f"www.{ZONE}."]
    assert "\\# 4 01020304" in dig(port, f"odd.{ZONE}", "TYPE65280"), "types that nobody knows pass"
    said = dig(port, f"none.www.{ZONE}")
    assert status(said) == "NXDOMAIN" and "SOA" in said, said
    knot.kill()
    assert short(port, f"www.{ZONE}") == ["192.0.2.1"]
    assert status(dig(port, f"none.www.{ZONE}")) == "NXDOMAIN"
    assert status(dig(port, f"other.{ZONE}")) == "SERVFAIL"


def test_the_lifetime_of_what_is_remembered_counts_down(start, knot):
    port = port_of(start(dns(**to(knot))))

    def ttl() -> int:
        return int(re.search(rf"www\.{ZONE}\.\s+(\d+)\s+IN", dig(port, f"www.{ZONE}"))[1])

    first = ttl()
    until(lambda: ttl() < first, "a second to pass")
    assert 50 < ttl() < first <= 60


def test_an_answer_that_is_too_long_for_a_datagram_comes_by_tcp(start, knot):
    port = port_of(start(dns(**to(knot))))
    assert len(short(port, f"many.{ZONE}")) == 199
    assert " tc" in dig(port, "+ignore", f"many.{ZONE}")
    assert len(short(port, "+tcp", f"many.{ZONE}")) == 199


def test_only_who_is_allowed_and_asks_for_recursion_is_answered(start, knot):
    port = port_of(start(dns(**to(knot))))
    assert status(dig(port, "+norecurse", f"www.{ZONE}")) == "REFUSED"
    port = port_of(start(dns(**to(knot, clients=["192.0.2.0/24"])), folder="closed"))
    assert status(dig(port, f"www.{ZONE}")) == "REFUSED"
    port = port_of(start(dns(), folder="alone"))
    assert status(dig(port, f"www.{ZONE}")) == "REFUSED"


def test_a_stub_gets_its_spelling_and_its_edns_back(start, knot):
    port = port_of(start(dns(**to(knot))))
    for words in (["+edns=0", "+bufsize=65494", "+dnssec"], ["+cdflag", "+adflag"], ["+noedns"]):
        for name in (f"wWw.{ZONE.upper()}", f"www.{ZONE}"):
            said = dig(port, *words, name)
            assert status(said) == "NOERROR" and f";{name}." in said, said
            assert ("EDNS: version: 0" in said) == ("+noedns" not in words)
    assert "flags: do" in dig(port, "+dnssec", f"www.{ZONE}")


def test_a_recursor_that_dies_under_load_fails_no_question(start, knot, tmp_path, programs):
    zones = {ZONE: knot.port}
    first, second = (programs(Unbound(tmp_path / name, zones)) for name in ("first", "second"))
    gateway = start(dns(**to(first, second)))
    names = [f"n{number}.{ZONE}" for number in range(6000)]
    load = programs(Load(tmp_path / "load", port_of(gateway), names, rate=2000))
    time.sleep(1)
    first.kill()
    found = load.ended(30)
    assert found == {"NOERROR": len(names), "lost": 0}, found


def test_services_are_found_through_unbound_with_mixed_case(start, tmp_path, programs, origin):
    gateway = start(dns(zones=["portolan.internal"]))
    gateway.register("orders", "a", origin().port)
    options = ["use-caps-for-id: yes", "qname-minimisation: yes"]
    zones = {"portolan.internal": port_of(gateway)}
    resolver = programs(Unbound(tmp_path / "unbound", zones, *options))
    assert short(resolver.port, "orders.portolan.internal") == ["127.0.0.1"]
    assert status(dig(resolver.port, "nobody.portolan.internal")) == "NXDOMAIN"
    gateway.register("orders", "b", origin().port, address="127.0.0.2")
    assert short(resolver.port, "orders.portolan.internal") == ["127.0.0.1", "127.0.0.2"], "at once"
    said = dig(resolver.port, "orders.portolan.internal", "SRV")
    assert status(said) == "NOERROR" and "ANSWER: 2" in said, said


def test_queries_come_over_tls_and_over_https(start, authority, knot, origin):
    files = authority.issue("localhost", "127.0.0.1")
    secure = {"certificates": [files]}
    settings = dns(over_tls={"address": f"127.0.0.1:{free_port()}", "tls": secure}, over_https=True, **to(knot))
    settings["admin"]["tls"] = secure
    gateway = _start_with_tls(start, settings, authority)
    port = int(settings["dns"]["over_tls"]["address"].rsplit(":", 1)[1])
    for name, address in ((f"www.{ZONE}", "192.0.2.1"), (f"any.{ZONE}", "192.0.2.9")):
        for words in (["+tls"], [f"+tls-ca={authority.file}", "+tls-hostname=localhost"]):
            said = kdig(port, *words, name)
            assert address in said and "TLS" in said, said
        for words in (["+https"], ["+https", "+https-get"], ["+https=localhost/dns-query", f"+tls-ca={authority.file}"]):
            said = kdig(gateway.admin_port, *words, name)
            assert address in said and "HTTP" in said, said


FRAMED = bytes.fromhex("002a 1234 0100 0001 0000 0000 0000 066f7264657273 08706f72746f6c616e 08696e7465726e616c 00 0001 0001")


def _ask(secure) -> bytes:
    """Asks by an open connection; the whole answer with its length, or what came before the end."""
    secure.sendall(FRAMED)
    answer = b""
    while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2]):
        piece = secure.recv(4096)
        if not piece:
            break
        answer += piece
    return answer


def test_an_upgrade_ends_connections_over_tls_in_order_and_loses_no_query(start, authority, programs, tmp_path):
    over_tls = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [authority.issue("localhost")]}}
    gateway = start(dns(over_tls=over_tls))
    port = int(over_tls["address"].rsplit(":", 1)[1])
    gateway.register("orders", "one", 9001, address="10.0.0.1")
    context = authority.client("dot")
    answers, faults, stop = [], [], threading.Event()

    def connected():
        plain = socket.create_connection(("127.0.0.1", port), 10)
        return context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)

    def load() -> None:
        while not stop.is_set():
            try:
                with connected() as secure:
                    answers.append(_ask(secure))
            except OSError as error:
                faults.append(repr(error))

    silent = connected()
    assert _ask(silent).endswith(bytes([10, 0, 0, 1]))
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 20, "some load")
    command = [binary(), "run", "--config", gateway.file, "--data-dir", gateway.folder / "data", "--take-over"]
    programs(Program(command, tmp_path / "successor.log", cwd=gateway.folder))
    # The end is said as TLS has it: a ragged one would be an error.
    silent.settimeout(40)
    assert silent.recv(100) == b""
    assert gateway.process.wait(40) == 0, gateway.output()
    before = len(answers)
    until(lambda: len(answers) > before + 20, "load on the successor")
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]
    wrong = [answer for answer in answers if not answer.endswith(bytes([10, 0, 0, 1]))]
    assert not wrong, (len(answers), len(wrong), wrong[:2])


def _start_with_tls(start, settings, authority):
    """The admin listener speaks TLS only, so that readiness is asked for at another."""
    ready = free_port()
    settings["status"] = {"address": f"127.0.0.1:{ready}"}
    return start(settings, ready_port=ready)


def test_a_new_certificate_is_shown_without_a_restart(start, authority):
    files = authority.issue("localhost", file="dns")
    over_tls = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [files]}}
    gateway = start(dns(over_tls=over_tls))
    port = int(over_tls["address"].rsplit(":", 1)[1])

    def serial() -> str:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            with authority.client("dot").wrap_socket(plain, server_hostname="localhost") as secure:
                assert secure.selected_alpn_protocol() == "dot"
                return secure.getpeercert()["serialNumber"]

    before = serial()
    authority.issue("localhost", file="dns")
    until(lambda: serial() != before, "the new certificate")
    assert gateway.is_running()


@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        ("GET", "/dns-query", {}, 400),
        ("GET", "/dns-query?dns=%%%", {}, 400),
        ("GET", "/dns-query?dns=AAA=", {}, 400),
        ("POST", "/dns-query", {"content-type": "text/plain"}, 415),
        ("PUT", "/dns-query", {}, 405),
    ],
)
def test_what_is_no_query_over_https_is_refused(start, method, target, fields, status):
    gateway = start(dns(over_https=True))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=5)
    connection.request(method, target, b"x" if method == "POST" else None, fields)
    answer = connection.getresponse()
    assert answer.status == status and "problem+json" in answer.getheader("content-type")


def test_an_answer_over_https_may_be_kept_as_long_as_its_records(start, knot):
    query = bytes.fromhex("000001000001000000000000") + b"\x03www\x07example\x04test\x00\x00\x01\x00\x01"
    settings = dns(over_https=True, **to(knot))
    gateway = start(settings)
    for method in ("GET", "POST"):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=5)
        told = base64.urlsafe_b64encode(query).decode().rstrip("=")
        target = "/dns-query" if method == "POST" else f"/dns-query?dns={told}"
        body = query if method == "POST" else None
        connection.request(method, target, body, {"content-type": "application/dns-message"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("content-type") == "application/dns-message"
        assert 50 < int(answer.getheader("cache-control").removeprefix("max-age=")) <= 60
        assert b"\xc0\x00\x02\x01" in answer.read()


def test_without_being_switched_on_there_is_nothing_over_https(start):
    gateway = start(dns())
    assert gateway.admin("GET", "/dns-query?dns=AAAB")[0] == 404
