"""Stand-ins before and for the registries of clouds."""

import base64
import http.client
import http.server
import json
import threading
import urllib.parse
from collections import Counter

from .ports import free_port


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_unused):
        """A client went away."""


class _Front:
    """A server on a port of its own that can be killed, paused and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: Counter = Counter()
        self._going = threading.Event()
        self._going.set()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                front._going.wait()
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, answer, fields = front.answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                # Each call has a connection of its own, so that none outlives the server.
                self.send_header("connection", "close")
                self.close_connection = True
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *_unused) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def kill(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pause(self) -> None:
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def close(self) -> None:
        self.go_on()
        self.kill()


class Aws(_Front):
    """Checks the signature of every call as AWS does, throttles if told to, and hands the call on to moto."""

    KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"

    def __init__(self, moto: int, token: str | None = None) -> None:
        self._moto = moto
        self._token = token
        self.throttles = 0
        super().__init__()

    def answer(self, method, path, headers, body):
        action = headers["x-amz-target"].rsplit(".", 1)[-1]
        self.asked[action] += 1
        if not self._is_signed(method, path, headers, body):
            return self._refuse("InvalidSignatureException", "The request signature we calculated does not match")
        if self.throttles:
            self.throttles -= 1
            return self._refuse("ThrottlingException", "Rate exceeded")
        connection = http.client.HTTPConnection("127.0.0.1", self._moto, timeout=10)
        try:
            connection.request(method, path, body, dict(headers.items()))
            told = connection.getresponse()
            return told.status, told.read(), {"content-type": "application/x-amz-json-1.1"}
        finally:
            connection.close()

    def _is_signed(self, method, path, headers, body) -> bool:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        class AsSent(SigV4Auth):
            """Signs with the time that the call names."""

            def _modify_request_before_signing(self, request):
                request.context["timestamp"] = headers["x-amz-date"]
                super()._modify_request_before_signing(request)
                request.headers.replace_header("X-Amz-Date", headers["x-amz-date"])

        given = headers["authorization"]
        names = given.split("SignedHeaders=")[1].split(",")[0].split(";")
        must = {"content-type", "host", "x-amz-date", "x-amz-target"} | ({"x-amz-security-token"} if self._token else set())
        if set(names) != must:
            return False
        fields = {name: headers[name] for name in names if name != "x-amz-security-token"}
        request = AWSRequest(method, f"{self.url}{path}", data=body, headers=fields)
        request.context["timestamp"] = headers["x-amz-date"]
        signer = AsSent(Credentials(self.KEY, self.SECRET, self._token), "servicediscovery", self.REGION)
        text = signer.string_to_sign(request, self._canonical(signer, request, fields))
        return given.endswith(f"Signature={signer.signature(text, request)}")

    def _canonical(self, signer, request, fields) -> str:
        if self._token:
            request.headers["X-Amz-Security-Token"] = self._token
        return signer.canonical_request(request)

    @staticmethod
    def _refuse(kind: str, message: str):
        body = json.dumps({"__type": kind, "message": message}).encode()
        return 400, body, {"content-type": "application/x-amz-json-1.1"}


class Agent(_Front):
    """The metadata service of an instance (IMDSv2), whose role has temporary credentials."""

    def __init__(self, token: str) -> None:
        self._token = token
        super().__init__()

    def answer(self, method, path, headers, body):
        self.asked[method, path] += 1
        role = "/latest/meta-data/iam/security-credentials/"
        if method == "PUT" and path == "/latest/api/token" and headers["x-aws-ec2-metadata-token-ttl-seconds"]:
            return 200, b"session", {}
        if headers.get("x-aws-ec2-metadata-token") != "session":
            return 401, b"", {}
        if path == role:
            return 200, b"reader", {}
        if path == f"{role}reader":
            keys = {"AccessKeyId": Aws.KEY, "SecretAccessKey": Aws.SECRET, "Token": self._token, "Expiration": "2099-01-01T00:00:00Z"}
            return 200, json.dumps(keys).encode(), {"content-type": "application/json"}
        return 404, b"", {}


class Directory(_Front):
    """Google's Service Directory, the servers that give tokens for it included.

    Made after the published REST reference of version 1.
    """

    PLACE = "/v1/projects/shop/locations/europe-west1"

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self._key = rsa.generate_private_key(65537, 2048)
        self.token = "first"
        self.over_quota = 0
        self.denied = False
        self.page_max = 2
        self._services: dict[tuple[str, str], dict] = {}
        super().__init__()

    def key_file(self, file) -> str:
        """Writes the key of a service account."""
        from cryptography.hazmat.primitives import serialization as form

        pem = self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        file.write_text(json.dumps({
            "type": "service_account", "client_email": "reader@shop.iam.gserviceaccount.com",
            "private_key_id": "k1", "private_key": pem.decode(), "token_uri": f"{self.url}/token",
        }))
        return str(file)

    def put(self, service: str, endpoint: str, port: int, namespace: str = "default", **annotations: str) -> None:
        name = f"{self.PLACE[4:]}/namespaces/{namespace}/services/{service}"
        entry = self._services.setdefault((namespace, service), {"name": name, "annotations": {"team": "a"}, "endpoints": {}})
        entry["endpoints"][endpoint] = {
            "name": f"{name}/endpoints/{endpoint}", "address": "127.0.0.1", "port": port, "annotations": annotations,
        }

    def remove(self, service: str, endpoint: str, namespace: str = "default") -> None:
        del self._services[namespace, service]["endpoints"][endpoint]

    def answer(self, method, path, headers, body):
        path, _, query = path.partition("?")
        self.asked[path] += 1
        if path == "/token":
            return self._grant(dict(urllib.parse.parse_qsl(body.decode())))
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            if headers.get("metadata-flavor") != "Google":
                return self._error(403, "Missing Metadata-Flavor:Google header.")
            return self._json(200, {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})
        if headers.get("authorization") != f"Bearer {self.token}":
            return self._error(401, "Request had invalid authentication credentials.")
        if self.denied:
            return self._error(403, "Permission 'servicedirectory.services.list' denied on resource.")
        if self.over_quota:
            self.over_quota -= 1
            return self._error(429, "Quota exceeded for quota metric 'Lookup requests'.")
        return self._list(path, dict(urllib.parse.parse_qsl(query)))

    def _list(self, path: str, query: dict):
        words = path.removeprefix(self.PLACE).strip("/").split("/")
        if not path.startswith(self.PLACE):
            return self._error(404, "not found")
        if words == ["namespaces"]:
            names = sorted({namespace for namespace, _ in self._services})
            found = [{"name": f"{self.PLACE[4:]}/namespaces/{name}"} for name in names]
        elif len(words) == 3 and words[2] == "services":
            found = [{"name": one["name"], "annotations": one["annotations"]}
                     for (namespace, _), one in sorted(self._services.items()) if namespace == words[1]]
        elif len(words) == 5 and words[4] == "endpoints" and (words[1], words[3]) in self._services:
            found = list(self._services[words[1], words[3]]["endpoints"].values())
        else:
            return self._error(404, "not found")
        start = int(query.get("pageToken", "p0")[1:])
        size = min(int(query.get("pageSize", 100)), self.page_max)
        page = {words[-1]: found[start:start + size]}
        more = {"nextPageToken": f"p{start + size}"} if start + size < len(found) else {}
        return self._json(200, page | more)

    def _grant(self, form: dict):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", form
        head, claims, signature = form["assertion"].split(".")
        decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))  # noqa: E731
        self._key.public_key().verify(decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        said = json.loads(decode(claims))
        assert said["iss"] == "reader@shop.iam.gserviceaccount.com" and said["aud"] == f"{self.url}/token", said
        return self._json(200, {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})

    @staticmethod
    def _json(status: int, value: dict):
        return status, json.dumps(value).encode(), {"content-type": "application/json"}

    @classmethod
    def _error(cls, status: int, message: str):
        return cls._json(status, {"error": {"code": status, "message": message}})
