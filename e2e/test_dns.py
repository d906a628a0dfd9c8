"""Names of services by DNS: golden answers of every type and rule, by dig and kdig."""

import json
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.dns import ask, dig, kdig
from harness.gateway import binary, config, port_of
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until


def settings(**dns) -> dict:
    base = {"address": f"127.0.0.1:{free_port()}", "kubernetes": ["cluster.local"]}
    return config(dns=base | dns, registry={"eureka": {"enabled": False}, "consul": {"address": f"127.0.0.1:{free_port()}"}})


@pytest.fixture
def shop(start):
    """A server with two services."""

    def shop(**dns):
        gateway = start(settings(**dns))
        more = {"tags": ["v1"], "metadata": {"colour": "red", "hostname": "web-0"}, "version": "1.4"}
        gateway.register("orders", "one", 9001, address="10.0.0.1", **more)
        gateway.register("orders", "two", 9002, address="10.0.0.2")
        gateway.register("cart", "six", 9003, address="2001:db8::6")
        return gateway, port_of(gateway.settings["dns"]["address"])

    return shop


GOLDEN = [
    ("orders.service.consul", "A", ["orders.service.consul. 0 IN A 10.0.0.1", "orders.service.consul. 0 IN A 10.0.0.2"]),
    ("cart.service.consul", "AAAA", ["cart.service.consul. 0 IN AAAA 2001:db8::6"]),
    ("v1.orders.service.dc1.consul", "A", ["v1.orders.service.dc1.consul. 0 IN A 10.0.0.1"]),
    ("_orders._v1.service.consul", "SRV", ["_orders._v1.service.consul. 0 IN SRV 1 100 9001 0a000001.addr.dc1.consul."]),
    ("0a000001.addr.dc1.consul", "A", ["0a000001.addr.dc1.consul. 0 IN A 10.0.0.1"]),
    ("consul", "NS", ["consul. 3600 IN NS ns.consul."]),
    ("ns.consul", "A", ["ns.consul. 3600 IN A 127.0.0.1"]),
    ("orders.portolan.internal", "A", ["orders.portolan.internal. 0 IN A 10.0.0.1", "orders.portolan.internal. 0 IN A 10.0.0.2"]),
    ("cart.default.portolan.internal", "AAAA", ["cart.default.portolan.internal. 0 IN AAAA 2001:db8::6"]),
    ("_orders._tcp.portolan.internal", "PTR", [f"_orders._tcp.portolan.internal. 0 IN PTR {one}._orders._tcp.portolan.internal." for one in ("one", "two")]),
    ("one._orders._tcp.portolan.internal", "SRV", ["one._orders._tcp.portolan.internal. 0 IN SRV 1 100 9001 0a000001.addr.portolan.internal."]),
    ("one._orders._tcp.portolan.internal", "TXT", ['one._orders._tcp.portolan.internal. 0 IN TXT "colour=red" "hostname=web-0" "version=1.4"']),
    ("_services._dns-sd._udp.portolan.internal", "PTR", [f"_services._dns-sd._udp.portolan.internal. 1 IN PTR _{one}._tcp.portolan.internal." for one in ("cart", "orders")]),
    ("b._dns-sd._udp.portolan.internal", "PTR", ["b._dns-sd._udp.portolan.internal. 3600 IN PTR portolan.internal."]),
    ("dns-version.cluster.local", "TXT", ['dns-version.cluster.local. 3600 IN TXT "1.1.0"']),
    ("web-0.orders.default.svc.cluster.local", "A", ["web-0.orders.default.svc.cluster.local. 0 IN A 10.0.0.1"]),
    ("10-0-0-2.orders.default.svc.cluster.local", "A", ["10-0-0-2.orders.default.svc.cluster.local. 0 IN A 10.0.0.2"]),
    ("service.consul", "ANY", ['service.consul. 3600 IN HINFO "RFC8482" ""']),
    ("1.0.0.10.in-addr.arpa", "PTR", [f"1.0.0.10.in-addr.arpa. 0 IN PTR {name}." for name in ("orders.default.portolan.internal", "orders.service.consul", "web-0.orders.default.svc.cluster.local")]),
]


def test_every_type_has_its_golden_answer_by_dig_and_kdig(shop):
    _, port = shop()
    for tool in ("dig", "kdig"):
        for name, kind, expected in GOLDEN:
            for transport in ("+notcp", "+tcp"):
                answer = ask(tool, port, name, kind, transport)
                assert answer.answer == expected, answer.text
                assert answer.status == "NOERROR" and "aa" in answer.flags, answer.text


def test_servers_come_with_their_addresses(shop):
    _, port = shop()
    answer = dig(port, "orders.default.svc.cluster.local", "SRV")
    zone = "orders.default.svc.cluster.local."
    assert answer.answer == [f"{zone} 0 IN SRV 1 100 9001 web-0.{zone}", f"{zone} 0 IN SRV 1 100 9002 10-0-0-2.{zone}"]
    assert answer.additional == [f"10-0-0-2.{zone} 0 IN A 10.0.0.2", f"web-0.{zone} 0 IN A 10.0.0.1"]
    # The target resolves, too.
    assert dig(port, f"10-0-0-2.{zone}", "A").answer == [f"10-0-0-2.{zone} 0 IN A 10.0.0.2"]


def test_what_is_not_there_is_said_with_an_soa(shop):
    _, port = shop(negative_ttl="7s")
    for tool in ("dig", "kdig"):
        missing = ask(tool, port, "nobody.service.consul", "A")
        assert missing.status == "NXDOMAIN" and missing.answer == []
        (soa,) = missing.authority
        assert soa.startswith("consul. 7 IN SOA ns.consul. hostmaster.consul. ") and soa.endswith(" 3600 600 86400 7")
        other = ask(tool, port, "orders.service.consul", "MX")
        assert other.status == "NOERROR" and other.answer == [] and len(other.authority) == 1
        assert ask(tool, port, "example.com", "A").status == "REFUSED"
        assert ask(tool, port, "consul", "AXFR", "+tcp").answer == []
    assert dig(port, "consul", "SOA").answer[0].startswith("consul. 7 IN SOA ")
    assert dig(port, "orders.service.consul", "+edns=1", "+noednsneg").status == "BADVERS"
    assert dig(port, "orders.service.consul", "+opcode=NOTIFY").status == "NOTIMP"
    assert dig(port, "orders.service.consul", "-c", "CH").status == "REFUSED"


def test_a_change_is_in_the_next_answer(shop):
    gateway, port = shop()
    for number in range(3, 23):
        gateway.register("orders", f"n{number}", 9000, address=f"10.0.0.{number}")
        assert len(dig(port, "orders.service.consul").answer) == number
    status, _ = gateway.admin("DELETE", "/v1/services/orders/instances/one")
    assert status == 200
    assert "orders.service.consul. 0 IN A 10.0.0.1" not in dig(port, "orders.service.consul").answer
    gateway.register("orders", "two", 9002, address="10.0.0.2", status="critical")
    assert "orders.service.consul. 0 IN A 10.0.0.2" not in dig(port, "orders.service.consul").answer


def test_a_large_answer_is_cut_and_whole_by_tcp(shop):
    gateway, port = shop()
    for number in range(3, 103):
        gateway.register("orders", f"n{number}", 9000, address=f"10.0.0.{number}")
    cut = dig(port, "orders.service.consul", "+ignore", "+noedns")
    assert "tc" in cut.flags and 0 < len(cut.answer) < 40
    more = dig(port, "orders.service.consul", "+ignore", "+bufsize=4096")
    assert "tc" in more.flags and len(cut.answer) < len(more.answer) < 80
    assert len(dig(port, "orders.service.consul").answer) == 102, "dig goes on by TCP"
    assert len(kdig(port, "orders.service.consul").answer) == 102


def test_three_answers_are_given_silently_where_consul_s_way_is_asked_for(shop):
    gateway, port = shop(three_answers=True)
    for number in range(3, 10):
        gateway.register("orders", f"n{number}", 9000, address=f"10.0.0.{number}")
    cut = dig(port, "orders.service.consul", "+ignore", "+noedns")
    assert "tc" not in cut.flags and len(cut.answer) == 3
    assert len(dig(port, "orders.service.consul", "+ignore").answer) == 9


def test_cookies_are_given_and_known(shop):
    _, port = shop(responses=2)
    first = dig(port, "orders.service.consul", "+cookie")
    assert "(good)" in first.text, first.text
    cookie = first.text.split("COOKIE: ")[1].split()[0]
    for _ in range(10):
        assert len(dig(port, "orders.service.consul", f"+cookie={cookie}").answer) == 2
    # Without one, what is beyond the rate is dropped or cut, and TCP still works.
    with ThreadPoolExecutor(8) as pool:  # At once, however slow the machine is.
        answers = list(pool.map(lambda _: dig(port, "orders.service.consul", "+nocookie", "+ignore"), range(8)))
    assert any("tc" in one.flags for one in answers) and any(not one.status for one in answers)
    assert len(dig(port, "orders.service.consul", "+nocookie", "+tcp").answer) == 2


def test_the_zone_of_the_client_s_network_comes_first(shop):
    gateway, port = shop(zone="z1", networks={"192.0.2.0/24": "z2"})
    gateway.register("near", "a", 1, address="10.1.0.1", zone="z1")
    gateway.register("near", "b", 1, address="10.1.0.2", zone="z2")

    def first(*words):
        text = dig(port, "near.service.consul", "+short", *words).text
        return text.split()[0]

    assert {first() for _ in range(10)} == {"10.1.0.1"}
    subnet = dig(port, "near.service.consul", "+subnet=192.0.2.0/24")
    assert "CLIENT-SUBNET: 192.0.2.0/24/24" in subnet.text, subnet.text
    assert {first("+subnet=192.0.2.0/24") for _ in range(10)} == {"10.1.0.2"}


def test_nodes_and_prepared_queries_are_those_of_consul_s_api(shop):
    gateway, port = shop()
    consul = port_of(gateway.settings["registry"]["consul"]["address"])

    def put(path, body, method="PUT"):
        request = urllib.request.Request(f"http://127.0.0.1:{consul}{path}", json.dumps(body).encode(), method=method)
        return urllib.request.urlopen(request, timeout=10).read()

    put("/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1", "NodeMeta": {"rack": "7"}})
    assert dig(port, "n1.node.consul", "A").answer == ["n1.node.consul. 0 IN A 10.2.0.1"]
    assert dig(port, "n1.node.consul", "TXT").answer == ['n1.node.consul. 0 IN TXT "rack=7"']
    assert dig(port, "n2.node.consul", "A").status == "NXDOMAIN"
    put("/v1/catalog/register", {"Node": "n3", "Address": "host.example.com"})
    assert dig(port, "n3.node.consul", "A").answer == ["n3.node.consul. 0 IN CNAME host.example.com."]
    put("/v1/query", {"Name": "fast", "Service": {"Service": "orders", "Tags": ["v1"]}, "DNS": {"TTL": "4s"}}, "POST")
    assert dig(port, "fast.query.consul", "A").answer == ["fast.query.consul. 4 IN A 10.0.0.1"]
    assert dig(port, "fast.query.consul", "SRV").answer == ["fast.query.consul. 4 IN SRV 1 100 9001 0a000001.addr.dc1.consul."]


def test_services_behind_the_gateway_have_service_bindings(shop):
    gateway, port = shop(gateway=["192.0.2.10"])
    web = gateway.port()
    (record,) = kdig(port, "orders.portolan.internal", "SVCB").answer
    assert f"SVCB 1 c000020a.addr.portolan.internal. port={web} ipv4hint=192.0.2.10" in record.replace('"', "")
    assert kdig(port, "orders.portolan.internal", "HTTPS").answer == [], "there is no TLS"


def test_many_queries_share_a_connection(shop):
    _, port = shop()
    answer = kdig(port, "+tcp", "+keepopen", "orders.service.consul", "A", "cart.service.consul", "AAAA")
    assert len(answer.answer) == 3, answer.text


def test_what_is_no_query_hurts_nobody(shop):
    gateway, port = shop()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for junk in (b"", b"\0", b"\xff" * 512, b"\0" * 4096, bytes(range(256))):
        sender.sendto(junk, ("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"\xff\xff" + b"\0" * 1000)
        assert len(dig(port, "orders.service.consul").answer) == 2
    until(lambda: gateway.metric("portolan_dns_dropped_total", reason="malformed") >= 1, "the junk to be counted")
    assert gateway.metric("portolan_dns_answers_total", type="A", code="NOERROR") >= 1


def test_a_taken_port_is_reported_and_left_alone(start):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        gateway = start(settings(address=f"127.0.0.1:{taken}"))
        assert "DNS is not served" in gateway.output()


def test_a_reload_moves_and_changes_the_server(shop):
    gateway, port = shop()
    fresh = free_port()
    changed = gateway.settings | {"dns": {"address": f"127.0.0.1:{fresh}", "ttl": "9s", "consul": ["example.test"]}}
    gateway.write(changed)
    gateway.hang_up()
    until(lambda: dig(fresh, "orders.service.example.test").answer, "the server to move")
    assert dig(fresh, "orders.service.example.test").answer[0].split()[1] == "9"
    assert dig(fresh, "orders.service.consul").status == "REFUSED"
    assert dig(port, "orders.service.consul").status == ""


def test_no_query_is_lost_in_an_upgrade(shop, programs, tmp_path):
    gateway, port = shop()
    command = [binary(), "run", "--config", gateway.file, "--data-dir", gateway.folder / "data", "--take-over"]
    answers = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            # One try only: what is lost is seen.
            answers.append(dig(port, "orders.service.consul"))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 20, "some load")
    programs(Program(command, tmp_path / "successor.log", cwd=gateway.folder))
    assert gateway.process.wait(40) == 0, gateway.output()
    before = len(answers)
    until(lambda: len(answers) > before + 50, "load on the successor")
    stop.set()
    for thread in threads:
        thread.join()
    lost = [answer.text for answer in answers if answer.status != "NOERROR" or len(answer.answer) != 2]
    assert not lost, (len(answers), lost[:2])
