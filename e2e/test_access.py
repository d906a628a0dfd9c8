"""Who may do what: tokens, certificates, limits and the trail, with the real program and clients."""

import http.client
import json
import socket
import ssl
import subprocess
import sys

import consul
import pytest

from harness.eureka import CLIENTS, Client
from harness.gateway import binary, command, config, port_of
from harness.ports import free_port
from harness.processes import Program
from harness.waiting import until


def access(**parts) -> dict:
    """A configuration with access control, and Eureka and Consul on ports of their own."""
    registry = {
        name: {"address": f"127.0.0.1:{free_port()}"} | parts.pop(name, {}) for name in ("eureka", "consul")
    }
    return config(registry=registry, **{"access": {}} | parts)


class Guarded:
    """A program with access control, and an operator who makes tokens on its machine."""

    def __init__(self, start, **parts) -> None:
        self.settings = access(**parts)
        self.start = start
        self.gateway = start(self.settings)
        self.folder = self.gateway.folder
        registry = self.settings["registry"]
        self.eureka, self.consul = (port_of(registry[name]["address"]) for name in ("eureka", "consul"))

    def run(self, *arguments: str, environment=None) -> tuple[int, str, str]:
        where = ("--admin", f"http://127.0.0.1:{self.gateway.admin_port}", "--data-dir", str(self.folder / "data"))
        return command("token", *arguments, *where, folder=self.folder, environment=environment)

    def token(self, name: str, *scopes: str) -> str:
        chosen = [part for scope in scopes for part in ("--scope", scope)]
        code, output, errors = self.run("create", "--name", name, *chosen)
        assert code == 0, output + errors
        return output.strip()

    def ask(self, method: str, path: str, token: str | None = None, body=None):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.gateway.admin(method, path, body, headers)

    def status(self, method: str, path: str, token: str | None = None, body=None) -> int:
        return self.ask(method, path, token, body)[0]

    def trail(self, token: str, query: str = "") -> list[dict]:
        status, answer = self.ask("GET", f"/v1/audit?{query}", token)
        assert status == 200, answer
        return answer["entries"]


@pytest.fixture
def guarded(start):
    return Guarded(start)


def curl(*arguments) -> tuple[int, str]:
    """What curl is answered: the status, then the body."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status or 0), body + done.stderr


INSTANCE = "/v1/services/orders/instances/a"


def test_a_token_may_do_what_its_scopes_say(guarded):
    reader = guarded.token("reader", "read")
    shop = guarded.token("shop", "register:orders*")
    operator = guarded.token("operator", "operate")
    admin = guarded.token("admin", "admin")
    here = {"address": "127.0.0.1", "port": 9001}

    assert guarded.status("GET", "/live") == 200 and guarded.status("GET", "/ready") == 200
    assert guarded.status("GET", "/v1/services") == 401
    status, answer = guarded.ask("PUT", INSTANCE, None, here)
    assert (status, answer["cause"]) == (401, "token_missing")
    status, answer = guarded.ask("PUT", INSTANCE, reader, here)
    assert (status, answer["cause"]) == (403, "scope_missing"), answer
    assert guarded.status("PUT", INSTANCE, shop, here) == 201
    assert guarded.status("PUT", "/v1/services/payments/instances/a", shop, here) == 403
    assert guarded.status("PUT", f"{INSTANCE}/heartbeat", shop) == 200
    beats = {"instances": [{"service": "orders", "id": "a"}]}
    assert guarded.status("POST", "/v1/heartbeats", shop, beats) == 200
    beats["instances"].append({"service": "payments", "id": "a"})
    assert guarded.status("POST", "/v1/heartbeats", shop, beats) == 403
    assert guarded.status("GET", "/v1/services", shop) == 403
    assert guarded.status("GET", "/v1/services/orders", reader) == 200
    assert guarded.status("GET", "/metrics", reader) == 200
    ruling = {"override": "maintenance"}
    assert guarded.status("PUT", f"{INSTANCE}/override", shop, ruling) == 403
    assert guarded.status("PUT", f"{INSTANCE}/override", operator, ruling) == 200
    _, shown = guarded.ask("GET", f"{INSTANCE}/override", reader)
    assert shown["actor"] == "operator", "who is logged in counts, not what it says"
    assert guarded.status("POST", "/v1/config/reload", operator) == 403
    assert guarded.status("GET", "/v1/tokens", operator) == 403
    assert guarded.status("POST", "/v1/config/reload", admin) == 200
    assert guarded.status("GET", "/v1/tokens", admin) == 200


def test_a_secret_is_shown_once(guarded):
    secret = guarded.token("ci", "read")
    assert secret.startswith("ptl_") and len(secret) == 47
    code, listed, _ = guarded.run("list")
    assert code == 0 and "ci" in listed and "never used" in listed and secret not in listed
    assert guarded.status("GET", "/v1/services", secret) == 200
    _, listed, _ = guarded.run("list", "--json")
    [token] = json.loads(listed)["tokens"]
    assert token["used"] and token["creator"] == "local" and "secret" not in token
    assert guarded.ask("GET", "/v1/tokens/self", secret)[1] == {"is_on": True, "actor": "ci", "token": token["id"]}
    stored = b"".join(file.read_bytes() for file in (guarded.folder / "data").glob("*.redb"))
    assert stored and secret.encode() not in stored
    code, _, errors = guarded.run("create", "--name", "ci", "--scope", "read")
    assert code == 2 and "409" in errors, "names are told apart in the trail"
    code, _, errors = guarded.run("create", "--name", "x", "--scope", "write")
    assert code == 2 and "`write` is no scope" in errors


def test_tokens_survive_and_a_revocation_holds_at_once(guarded, start):
    kept, gone = guarded.token("kept", "read"), guarded.token("gone", "read")
    assert guarded.status("GET", "/v1/services", gone) == 200
    code, said, errors = guarded.run("revoke", "gone")
    assert code == 0 and "revoked `gone`" in said, errors
    assert guarded.status("GET", "/v1/services", gone) == 401
    guarded.gateway.kill()
    guarded.gateway = start(guarded.settings)
    assert guarded.status("GET", "/v1/services", kept) == 200
    assert guarded.status("GET", "/v1/services", gone) == 401
    guarded.gateway.stop()
    guarded.gateway = start(guarded.settings)
    assert guarded.status("GET", "/v1/services", kept) == 200


def test_a_token_expires(guarded):
    code, secret, errors = guarded.run("create", "--name", "short", "--scope", "read", "--expires-in", "2s")
    assert code == 0 and "expires at" in errors, errors
    secret = secret.strip()
    assert guarded.status("GET", "/v1/services", secret) == 200
    until(lambda: guarded.status("GET", "/v1/services", secret) == 401, "the token to expire")


def test_the_first_token_needs_the_data_folder(guarded):
    """Who can't read the data folder can't make a token; who can, is somebody on this machine."""
    code, _, errors = command(
        "token", "list", "--admin", f"http://127.0.0.1:{guarded.gateway.admin_port}", "--data-dir", "/nowhere",
        folder=guarded.folder,
    )
    assert code == 2 and "401" in errors
    file = guarded.folder / "data" / "local.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert guarded.status("GET", "/v1/tokens", file.read_text().strip()) == 200
    admin = guarded.token("boss", "admin")
    code, listed, _ = guarded.run("list", environment={"PORTOLAN_TOKEN": admin})
    assert code == 0 and "boss" in listed
    held = guarded.folder / "held"
    held.write_text(admin)
    assert guarded.run("list", "--token-file", str(held))[0] == 0
    assert guarded.run("list", environment={"PORTOLAN_TOKEN": "ptl_wrong"})[0] == 2


def test_tokens_can_be_declared_by_their_hash(start, tmp_path):
    code, said, _ = command("token", "generate", folder=tmp_path)
    assert code == 0
    words = dict(line.split(":", 1) for line in said.splitlines())
    secret, digest = words["secret"].strip(), words["hash"].strip()
    tokens = {"git-ops": {"hash": digest, "scopes": ["admin"]}}
    guarded = Guarded(start, access={"anonymous": ["read"], "tokens": tokens})
    assert guarded.status("GET", "/v1/services") == 200
    assert guarded.status("GET", "/v1/tokens") == 401
    assert guarded.status("GET", "/v1/tokens", secret) == 200
    guarded.gateway.write(guarded.settings | {"access": {}})
    guarded.gateway.hang_up()
    until(lambda: guarded.status("GET", "/v1/tokens", secret) == 401, "the reload to take it away")


def test_without_the_section_everybody_may_do_everything(start):
    gateway = start(config())
    assert gateway.admin("PUT", INSTANCE, {"port": 9001})[0] == 201
    _, answer = gateway.admin("GET", "/v1/audit")
    [entry] = answer["entries"]
    assert (entry["method"], entry["path"], entry["actor"]) == ("PUT", INSTANCE, "127.0.0.1")
    assert entry["outcome"] == "done" and entry["revision"] > 0
    assert not (gateway.folder / "data" / "local.token").exists()


# Eureka


def test_eureka_clients_log_in_with_a_token(guarded, programs):
    token = guarded.token("py", "read", "register:py-app")
    words = [sys.executable, CLIENTS / "eureka.py", guarded.eureka, "py-app", 9001, "py-app", "any", token]
    client = programs(Client([str(word) for word in words], {}))
    until(lambda: client.has_said("seen", places=["127.0.0.1:9001"]), "the client to see itself")
    apps = f"http://127.0.0.1:{guarded.eureka}/eureka/apps"
    assert curl(f"{apps}")[0] == 401
    assert curl("-u", f"any:{token}", f"{apps}/PY-APP")[0] == 200
    body = {"instance": {
        "instanceId": "x", "hostName": "h", "app": "OTHER", "ipAddr": "127.0.0.1", "status": "UP",
        "port": {"$": 1, "@enabled": "true"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
    }}
    json_body = ("-H", "content-type: application/json", "-d", json.dumps(body))
    assert curl("-u", f"any:{token}", *json_body, f"{apps}/OTHER")[0] == 403
    status, text = curl("-X", "PUT", "-u", f"any:{token}", f"{apps}/PY-APP/py-app-py/status?value=OUT_OF_SERVICE")
    assert status == 403 and "operate" in text
    operator = guarded.token("op", "operate")
    assert curl("-X", "PUT", "-u", f":{operator}", f"{apps}/PY-APP/py-app-py/status?value=OUT_OF_SERVICE")[0] == 200
    done = subprocess.run(["curl", "-sSi", apps], capture_output=True, text=True, check=True).stdout
    assert "WWW-Authenticate: Basic" in done or "www-authenticate: Basic" in done
    admin = guarded.token("admin", "admin")
    told = guarded.trail(admin, "listener=eureka")
    assert [entry["actor"] for entry in told if entry["method"] == "POST"] == ["py", "py"]
    assert told[-1]["outcome"] == "denied" and told[-1]["actor"] == "127.0.0.1"


# Consul


def test_consul_clients_show_their_token(guarded):
    token = guarded.token("web", "read", "register:web*")
    client = consul.Consul(port=guarded.consul, token=token)
    client.agent.service.register("web", service_id="web-1", port=9001, check=consul.Check.ttl("30s"))
    client.agent.check.ttl_pass("service:web-1")
    _, entries = client.health.service("web", passing=True)
    assert [entry["Service"]["ID"] for entry in entries] == ["web-1"]
    with pytest.raises(consul.ACLPermissionDenied, match="service:write"):
        client.agent.service.register("orders", port=9002)
    with pytest.raises(consul.ACLPermissionDenied):
        client.acl.token.list()
    _, answer = guarded.ask("GET", "/v1/events", token)
    assert "consul/web" in {event["origin"].get("actor") for event in answer["events"]}
    nobody = consul.Consul(port=guarded.consul)
    assert nobody.health.service("web")[1] == [], "reads leave out what may not be read"
    with pytest.raises(consul.ACLPermissionDenied, match="anonymous token lacks permission 'service:write' on"):
        nobody.agent.service.deregister("web-1")
    url = f"http://127.0.0.1:{guarded.consul}/v1"
    assert curl(f"{url}/agent/self")[0] == 403
    for way in (["-H", f"X-Consul-Token: {token}"], ["-H", f"Authorization: Bearer {token}"]):
        assert curl(*way, f"{url}/agent/self")[0] == 200
    assert curl(f"{url}/agent/self?token={token}")[0] == 200
    assert curl("-H", "X-Consul-Token: nobody", f"{url}/agent/self") == (403, "ACL not found")
    assert curl(f"{url}/status/leader")[0] == 200


def test_policies_of_consul_hold(guarded):
    boot = consul.Consul(port=guarded.consul)
    made = boot.acl.bootstrap() if hasattr(boot.acl, "bootstrap") else None
    if made is None:
        made = json.loads(curl("-X", "PUT", f"http://127.0.0.1:{guarded.consul}/v1/acl/bootstrap")[1])
    root = consul.Consul(port=guarded.consul, token=made["SecretID"])
    status, text = curl("-X", "PUT", f"http://127.0.0.1:{guarded.consul}/v1/acl/bootstrap")
    assert status == 403 and "no longer allowed" in text
    root.agent.service.register("web", port=9001)
    root.agent.service.register("secret", port=9002)

    url = f"http://127.0.0.1:{guarded.consul}/v1"
    shown = ("-H", f"X-Consul-Token: {made['SecretID']}")
    rules = 'service "web" { policy = "write" } service_prefix "" { policy = "read" } service "secret" { policy = "deny" } node_prefix "" { policy = "read" }'
    status, text = curl("-X", "PUT", *shown, "-d", json.dumps({"Name": "web", "Rules": rules}), f"{url}/acl/policy")
    assert status == 200, text
    policy = json.loads(text)
    status, text = curl("-X", "PUT", *shown, "-d", json.dumps({"Name": "bad", "Rules": "service"}), f"{url}/acl/policy")
    assert status == 400 and "Failed to parse ACL rules" in text
    body = json.dumps({"Description": "web team", "Policies": [{"Name": "web"}]})
    status, text = curl("-X", "PUT", *shown, "-d", body, f"{url}/acl/token")
    assert status == 200, text
    token = json.loads(text)
    assert token["Policies"] == [{"ID": policy["ID"], "Name": "web"}]
    web = consul.Consul(port=guarded.consul, token=token["SecretID"])
    web.agent.service.register("web", port=9003)
    _, services = web.catalog.services()
    assert "web" in services and "secret" not in services
    assert web.health.service("secret")[1] == []
    with pytest.raises(consul.ACLPermissionDenied, match="service:write"):
        web.agent.service.deregister("secret")
    own = ("-H", f"X-Consul-Token: {token['SecretID']}")
    assert json.loads(curl(*own, f"{url}/acl/token/self")[1])["AccessorID"] == token["AccessorID"]
    assert json.loads(curl(*shown, f"{url}/acl/token/{token['AccessorID']}")[1])["SecretID"] == "<hidden>"
    assert curl(*own, f"{url}/acl/tokens")[0] == 403
    status, text = curl("-X", "PUT", *shown, f"{url}/acl/token/{token['AccessorID']}/clone")
    clone = json.loads(text)
    assert status == 200 and clone["SecretID"] != token["SecretID"] and clone["Policies"] == token["Policies"]
    assert curl("-X", "DELETE", *shown, f"{url}/acl/policy/{policy['ID']}") == (200, "true")
    with pytest.raises(consul.ACLPermissionDenied):
        web.agent.service.register("web", port=9003)
    assert curl("-X", "DELETE", *shown, f"{url}/acl/token/{token['AccessorID']}") == (200, "true")
    assert curl(*own, f"{url}/agent/services") == (403, "ACL not found")
    assert curl(*shown, f"{url}/acl/list")[0] == 410
    _, replication = curl(*shown, f"{url}/acl/replication")
    assert json.loads(replication)["Enabled"] is False
    told = guarded.trail(guarded.token("admin", "admin"), "listener=consul&outcome=denied")
    assert {"web team"} <= {entry["actor"] for entry in told}


# TLS


def over_tls(port: int, context: ssl.SSLContext, path: str = "/v1/tokens/self", token: str | None = None):
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


class Secured:
    """A program whose admin listener speaks TLS. The status listener tells when it is ready."""

    def __init__(self, start, authority, access=None, client_ca=None, **more) -> None:
        self.authority = authority
        tls = {"certificates": [authority.issue("localhost")]} | ({"client_ca": client_ca} if client_ca else {}) | more
        settings = config(admin={"tls": tls}, status={"address": f"127.0.0.1:{free_port()}"})
        if access is not None:
            settings["access"] = access
        self.status_port = port_of(settings["status"]["address"])
        self.port = port_of(settings["admin"]["address"])
        self.gateway = start(settings, ready_port=self.status_port)
        self.folder = self.gateway.folder

    def contact(self) -> tuple[str, ...]:
        return ("--admin", f"https://localhost:{self.port}", "--ca", str(self.authority.file),
                "--data-dir", str(self.folder / "data"))

    def ask(self, token=None, certificate=None, path="/v1/tokens/self"):
        context = self.authority.client()
        if certificate:
            context.load_cert_chain(certificate["certificate"], certificate["key"])
        return over_tls(self.port, context, path, token)


def test_a_control_listener_speaks_tls_and_reads_its_certificate_again(start, authority):
    secured = Secured(start, authority, access={})
    code, secret, errors = command(
        "token", "create", "--name", "ci", "--scope", "read", *secured.contact(), folder=secured.folder
    )
    assert code == 0, errors
    assert secured.ask(secret.strip())[1]["actor"] == "ci"
    assert secured.ask()[0] == 401
    with pytest.raises((ssl.SSLError, OSError)):
        over_tls(secured.port, ssl.create_default_context())

    def serial() -> str:
        with socket.create_connection(("127.0.0.1", secured.port)) as plain:
            with authority.client().wrap_socket(plain, server_hostname="localhost") as stream:
                return stream.getpeercert()["serialNumber"]

    before = serial()
    authority.issue("localhost")
    secured.gateway.hang_up()
    until(lambda: serial() != before, "the new certificate")


def test_certificates_of_clients_map_to_scopes(start, authority):
    scopes = {"ops.example": ["operate"], "reader.example": ["read"]}
    secured = Secured(
        start, authority, access={"certificates": scopes}, client_ca=str(authority.file),
        client_certificates="optional",
    )
    ops, stranger = authority.issue("ops.example"), authority.issue("nobody.example")
    assert secured.ask(certificate=ops)[1] == {"is_on": True, "actor": "ops.example"}
    assert secured.ask(certificate=ops, path="/v1/services")[0] == 200
    assert secured.ask(certificate=ops, path="/v1/tokens")[0] == 403
    assert secured.ask(certificate=stranger, path="/v1/services")[0] == 401
    assert secured.ask(path="/v1/services")[0] == 401
    # The command line shows certificates, too; this one may not make tokens.
    shown = ("--certificate", ops["certificate"], "--key", ops["key"])
    where = ("--admin", f"https://localhost:{secured.port}", "--ca", str(authority.file), "--data-dir", "/nowhere")
    code, _, errors = command("token", "list", *where, *shown, folder=secured.folder)
    assert code == 2 and "`ops.example` lacks scope `admin`" in errors


def test_without_a_certificate_nobody_is_let_in_where_one_is_required(start, authority, tmp_path):
    secured = Secured(start, authority, client_ca=str(authority.file))
    good = authority.issue("client.example")
    assert secured.ask(certificate=good)[1] == {"is_on": False, "actor": "client.example"}
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        secured.ask()
    import trustme

    other = trustme.CA().issue_cert("client.example")
    chain, key = tmp_path / "other.pem", tmp_path / "other.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in other.cert_chain_pems))
    other.private_key_pem.write_to_path(str(key))
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        secured.ask(certificate={"certificate": str(chain), "key": str(key)})
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}", "-servername", "localhost", "-quiet",
         "-CAfile", str(authority.file), "-cert", good["certificate"], "-key", good["key"]],
        input="GET /v1/tokens/self HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        capture_output=True, text=True, timeout=20, check=False,
    )
    assert '"actor":"client.example"' in done.stdout, done.stdout + done.stderr


def test_exec_shows_its_token_over_tls(start, authority, programs, tmp_path, origin):
    secured = Secured(start, authority, access={})
    make = ("token", "create", "--name", "shop", "--scope", "register:shop,read", *secured.contact())
    code, secret, errors = command(*make, folder=secured.folder)
    assert code == 0, errors
    held = tmp_path / "token"
    held.write_text(secret)
    backend = origin()
    program = programs(Program(
        [binary(), "exec", "--service", "shop", "--port", backend.port, "--registry",
         f"https://localhost:{secured.port}", "--registry-ca", authority.file, "--registry-token-file", held,
         "--", "sleep", "600"],
        tmp_path / "exec.log",
    ))

    def is_registered() -> bool:
        assert program.is_running(), program.output()
        status, answer = secured.ask(secret.strip(), path="/v1/services/shop/instances")
        return status == 200 and bool(answer["instances"])

    until(is_registered, "the instance")


# Addresses


@pytest.mark.parametrize("part", [
    {"admin": {"address": "0.0.0.0:9070"}},
    {"registry": {"eureka": {"address": "0.0.0.0:8761"}}},
    {"registry": {"consul": {"address": "0.0.0.0:8500"}}},
])
def test_an_address_that_others_reach_needs_access_control(part, tmp_path):
    file = tmp_path / "portolan.yaml"

    def check(settings: dict) -> tuple[int, str]:
        file.write_text(json.dumps(settings))
        code, output, errors = command("check", file, folder=tmp_path)
        return code, output + errors

    code, said = check(part)
    assert code == 1 and "open to others" in said and "insecure: true" in said, said
    code, _, errors = command("run", "--config", file, "--data-dir", tmp_path / "data", folder=tmp_path)
    assert code == 1 and "open to others" in errors
    code, said = check(part | {"access": {}})
    assert code == 0 and "in the clear" in said, said
    code, said = check(part | {"access": {"anonymous": ["operate"]}})
    assert code == 1 and "`anonymous` of `access:`" in said, said
    name, inner = next(iter(part.items()))
    open_part = {"insecure": True}
    written = inner | open_part if name == "admin" else {key: one | open_part for key, one in inner.items()}
    code, said = check({name: written})
    assert code == 0 and "no findings" in said, said


def test_a_program_that_others_reach_serves_with_tokens(start):
    settings = access()
    settings["admin"]["address"] = f"0.0.0.0:{port_of(settings['admin']['address'])}"
    gateway = start(settings)
    assert gateway.admin("GET", "/v1/services")[0] == 401
    assert gateway.admin("GET", "/ready")[0] == 200


# Limits


def flood(port: int, count: int, path: str = "/v1/services") -> list[int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    statuses = []
    for _ in range(count):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 429:
            assert int(answer.getheader("retry-after")) >= 1
        statuses.append(answer.status)
    connection.close()
    return statuses


def test_a_flood_is_answered_429_and_told_once(start):
    gateway = start(config(admin={"limits": {"requests": 5, "burst": 20}}))
    statuses = flood(gateway.admin_port, 200)
    assert statuses[:15] == [200] * 15 and statuses.count(429) > 100
    assert gateway.admin("GET", "/live")[0] == 200, "whether it lives is told in any case"

    told: list[dict] = []

    def is_over() -> bool:
        status, answer = gateway.admin("GET", "/v1/audit?outcome=limited&path=/v1/services")
        told.extend(answer["entries"] if status == 200 else [])
        return status == 200

    until(is_over, "the flood to be over")
    [entry] = told
    assert entry["count"] > 100
    assert gateway.output().count("call denied") <= 30
    counted: list[float] = []

    def is_counted() -> bool:
        try:
            counted.append(gateway.metric("portolan_control_denied_total", listener="admin", outcome="limited"))
        except AssertionError:
            return False
        return True

    until(is_counted, "the metrics to be read")
    assert counted[-1] > 100


def test_this_machine_has_no_limit_unless_it_is_written(start):
    gateway = start(config())
    assert set(flood(gateway.admin_port, 3000, "/live")) == {200}
    assert set(flood(gateway.admin_port, 3000)) == {200}


def test_a_client_has_so_many_connections(start):
    gateway = start(config(admin={"limits": {"connections_per_client": 3}}))
    held: list[socket.socket] = []

    def holds_three() -> bool:
        """Whoever asked before whether it is ready may still have a connection."""
        one = socket.create_connection(("127.0.0.1", gateway.admin_port))
        try:
            one.sendall(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            is_served = one.recv(9) == b"HTTP/1.1 "
        except ConnectionError:
            is_served = False
        held.append(one) if is_served else one.close()
        return len(held) == 3

    until(holds_three, "three connections")
    more = socket.create_connection(("127.0.0.1", gateway.admin_port))
    more.settimeout(5)
    assert more.recv(1) == b"", "one more is closed at once"
    held.pop().close()
    until(lambda: gateway.is_ready(), "a place to be free again")
    for one in held:
        one.close()


# The trail


def test_the_trail_says_who_changed_what_from_where(guarded):
    admin = guarded.token("admin", "admin")
    shop = guarded.token("shop", "register:shop")
    path = "/v1/services/shop/instances/a"
    assert guarded.status("PUT", path, shop, {"address": "127.0.0.1", "port": 1}) == 201
    assert guarded.status("PUT", f"{path}/heartbeat", shop) == 200
    for _ in range(3):
        assert guarded.status("DELETE", "/v1/services/other/instances/a?token=oops", shop) == 403
    assert guarded.status("GET", "/v1/services", "ptl_made_up") == 401
    assert guarded.status("DELETE", path, shop) == 200
    told = guarded.trail(admin, "actor=shop")
    assert guarded.trail(admin, "path=/v1/tokens")[0]["object"] == "admin"
    facts = [(entry["method"], entry["path"], entry["outcome"], entry["count"]) for entry in told]
    assert facts == [
        ("PUT", path, "done", 1),
        ("DELETE", "/v1/services/other/instances/a", "denied", 3),
        ("DELETE", path, "done", 1),
    ], "heartbeats are no changes, and queries may hold secrets"
    assert {entry["address"] for entry in told} == {"127.0.0.1"} and told[0]["token"]
    assert told[0]["revision"] <= told[2]["revision"]
    first = guarded.ask("GET", "/v1/audit?after=0&limit=2", admin)[1]
    assert len(first["entries"]) == 2 and first["has_more"]
    rest = guarded.ask("GET", f"/v1/audit?after={first['next']}&limit=1000", admin)[1]
    assert rest["entries"][0]["sequence"] == first["next"] + 1 and not rest["has_more"]
    assert guarded.ask("GET", "/v1/audit?limit=1001", admin)[0] == 400
    lines = [json.loads(line) for line in guarded.gateway.output().splitlines() if '"audit"' in line]
    assert any(line["message"] == "call denied" and line["actor"] == "shop" for line in lines)
    assert any(line["message"] == "change" and line["resource"] == "/v1/tokens" for line in lines)
    assert "ptl_" not in guarded.gateway.output()


def test_the_audit_of_events_names_the_token(guarded):
    shop, reader = guarded.token("shop", "register:shop"), guarded.token("reader", "read")
    guarded.ask("PUT", "/v1/services/shop/instances/a", shop, {"address": "127.0.0.1", "port": 1})
    _, answer = guarded.ask("GET", "/v1/events", reader)
    assert "shop" in {event["origin"].get("actor") for event in answer["events"]}, answer


def test_pages_of_other_hosts_are_refused_before_anybody_is_asked(guarded):
    status, _ = guarded.gateway.admin("GET", "/v1/services", headers={"host": "evil.example"})
    assert status == 421
    status, _ = guarded.gateway.admin("GET", "/v1/services", headers={"origin": "http://evil.example"})
    assert status == 403


def test_keys_sessions_and_queries_of_consul_need_permission(guarded):
    admin = guarded.token("admin", "admin")
    url = f"http://127.0.0.1:{guarded.consul}/v1"
    root = consul.Consul(port=guarded.consul, token=admin)
    assert root.kv.put("app/a", "1") and root.kv.put("app/secret/b", "2") and root.kv.put("other", "3")
    rules = ('key_prefix "app/" { policy = "write" } key_prefix "app/secret/" { policy = "deny" } '
             'session_prefix "" { policy = "write" } query_prefix "app" { policy = "write" }')
    shown = ("-H", f"X-Consul-Token: {admin}")
    assert curl("-X", "PUT", *shown, "-d", json.dumps({"Name": "app", "Rules": rules}), f"{url}/acl/policy")[0] == 200
    body = json.dumps({"Description": "app", "Policies": [{"Name": "app"}]})
    secret = json.loads(curl("-X", "PUT", *shown, "-d", body, f"{url}/acl/token")[1])["SecretID"]
    app, own = consul.Consul(port=guarded.consul, token=secret), ("-H", f"X-Consul-Token: {secret}")

    assert app.kv.get("app/a")[1]["Value"] == b"1" and app.kv.put("app/c", "4")
    for key in ("app/secret/b", "other"):
        with pytest.raises(consul.ACLPermissionDenied):
            app.kv.get(key)
        with pytest.raises(consul.ACLPermissionDenied):
            app.kv.put(key, "x")
    assert app.kv.get("", keys=True)[1] == ["app/a", "app/c"]
    assert [entry["Key"] for entry in app.kv.get("app/", recurse=True)[1]] == ["app/a", "app/c"]
    assert curl("-X", "DELETE", *own, f"{url}/kv/app/?recurse")[0] == 403, "it would delete what it may not"

    def txn(*operations: dict) -> int:
        return curl("-X", "PUT", *own, "-d", json.dumps([{"KV": one} for one in operations]), f"{url}/txn")[0]

    mine = {"Verb": "set", "Key": "app/a", "Value": "NQ=="}
    assert txn(mine) == 200
    assert txn(mine, {"Verb": "set", "Key": "other", "Value": "NQ=="}) == 409
    assert txn({"Verb": "get-tree", "Key": "app/"}) == 409
    assert root.kv.get("other")[1]["Value"] == b"3"

    session = app.session.create()
    assert app.kv.put("app/lock", "", acquire=session) and app.session.destroy(session)
    nobody = consul.Consul(port=guarded.consul)
    assert nobody.session.list()[1] == []
    with pytest.raises(consul.ACLPermissionDenied):
        nobody.session.create()

    def query(name: str, *token: str) -> tuple[int, str]:
        definition = json.dumps({"Name": name, "Service": {"Service": "web"}})
        return curl("-X", "POST", *token, "-d", definition, f"{url}/query")

    assert query("other", *own)[0] == 403 and query("app-web")[0] == 403
    status, text = query("app-web", *own)
    assert status == 200
    known = f"{url}/query/{json.loads(text)['ID']}"
    assert curl(*own, known)[0] == 200 and curl(known)[0] == 403
    assert curl("-X", "DELETE", known)[0] == 403 and curl("-X", "DELETE", *own, known)[0] == 200
    assert curl(*own, f"{url}/snapshot")[0] == 403 and curl("-o", "/dev/null", *shown, f"{url}/snapshot")[0] == 200
