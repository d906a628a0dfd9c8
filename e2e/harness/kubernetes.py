"""An API server that lists, watches, forgets and refuses as that of Kubernetes does."""

import http.server
import json
import queue
import socket
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

from .ports import free_port

_GROUPS = {"services": ("/api/v1", "v1", "Service"),
           "pods": ("/api/v1", "v1", "Pod"),
           "endpointslices": ("/apis/discovery.k8s.io/v1", "discovery.k8s.io/v1", "EndpointSlice")}
TOKEN = "let-me-in"


class Cluster:
    """Objects, every change of them, and the server that tells of both."""

    def __init__(self, tls=None) -> None:
        self.port = free_port()
        self.denied: set[tuple[str, str]] = set()
        self.asked: Counter = Counter()
        self.bookmark_seconds = 0.2
        self.page_max = 2
        self._tls = tls
        self._lock = threading.RLock()
        self._version = 100
        self._forgotten = 0
        self._objects: dict[tuple, dict] = {}
        self._events: list[tuple] = []
        self._watches: set[queue.Queue] = set()
        self._going = threading.Event()
        self._going.set()
        self._sockets: set[socket.socket] = set()
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path, ca: Path | None = None, token: str = TOKEN) -> Path:
        """A file that says where the server is and who we are, with a context of each kind."""
        cluster = {"server": self.url} | ({"certificate-authority": str(ca)} if ca else {})
        nobody = {"server": "http://127.0.0.1:1"}
        file = folder / "kubeconfig.yaml"
        file.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "nowhere",
            "clusters": [{"name": "test", "cluster": cluster}, {"name": "nobody", "cluster": nobody}],
            "users": [{"name": "reader", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "reader"}},
                         {"name": "nowhere", "context": {"cluster": "nobody", "user": "reader"}}],
        }))
        return file

    # What people do to a cluster.

    def put(self, resource: str, name: str, body: dict, namespace: str = "default", labels: dict | None = None) -> None:
        _, version, kind = _GROUPS[resource]
        with self._lock:
            key = (resource, namespace, name)
            change = "MODIFIED" if key in self._objects else "ADDED"
            meta = {"name": name, "namespace": namespace, "labels": labels or {}, "managedFields": [{"manager": "test"}]}
            self._version += 1
            meta["resourceVersion"] = str(self._version)
            self._objects[key] = {"apiVersion": version, "kind": kind, "metadata": meta} | body
            self._happened(change, resource, self._objects[key])

    def delete(self, resource: str, name: str, namespace: str = "default") -> None:
        with self._lock:
            gone = json.loads(json.dumps(self._objects.pop((resource, namespace, name))))
            self._version += 1
            gone["metadata"]["resourceVersion"] = str(self._version)
            self._happened("DELETED", resource, gone)

    def service(self, name: str, labels: dict | None = None, **spec) -> None:
        self.put("services", name, {"spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80}]} | spec}, labels=labels)

    def slice(self, name: str, service: str, port: int, *endpoints: dict, **more) -> None:
        body = {"addressType": "IPv4", "endpoints": list(endpoints), "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}
        self.put("endpointslices", name, body | more, labels={"kubernetes.io/service-name": service})

    def forget(self) -> None:
        """Drops the memory of changes: who asks for them is told 410."""
        with self._lock:
            self._events.clear()
            self._forgotten = self._version
            self._version += 1

    # What happens to a server.

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.cluster = self
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def kill(self) -> None:
        """The server is gone, with all of its connections; its memory stays."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            for one in list(self._sockets):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # closed before
            for watch in self._watches:
                watch.put(None)

    def pause(self) -> None:
        """Answers nothing, and closes nothing."""
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def close(self) -> None:
        self.go_on()
        self.kill()

    def _happened(self, change: str, resource: str, obj: dict) -> None:
        event = (self._version, resource, change, json.loads(json.dumps(obj)))
        self._events.append(event)
        for watch in self._watches:
            watch.put(event)

    def listed(self, resource: str, namespace: str | None, query: dict) -> dict:
        with self._lock:
            found = [obj for (kind, space, _), obj in sorted(self._objects.items())
                     if kind == resource and namespace in (None, space) and _fits(obj, query.get("labelSelector"))]
            start = int(query.get("continue", 0))
            size = min(int(query.get("limit", 500)), self.page_max)
            page, rest = found[start:start + size], len(found) - start - size
            meta = {"resourceVersion": str(self._version)} | ({"continue": str(start + size)} if rest > 0 else {})
            _, version, kind = _GROUPS[resource]
            return {"apiVersion": version, "kind": f"{kind}List", "metadata": meta, "items": json.loads(json.dumps(page))}

    def watch(self, resource: str, since: int):
        """What happened since, then what happens; `None` when nothing does for a while."""
        watch: queue.Queue = queue.Queue()
        with self._lock:
            if since < self._forgotten:
                yield "forgotten"
                return
            for event in self._events:
                if event[0] > since:
                    watch.put(event)
            self._watches.add(watch)
        try:
            while True:
                try:
                    event = watch.get(timeout=self.bookmark_seconds)
                except queue.Empty:
                    yield None
                    continue
                if event is None:
                    return
                if event[1] == resource:
                    yield event
        finally:
            with self._lock:
                self._watches.discard(watch)


def _fits(obj: dict, selector: str | None) -> bool:
    labels = obj["metadata"]["labels"]
    pairs = [pair.split("=", 1) for pair in (selector or "").split(",") if pair]
    return all(labels.get(key.strip()) == value.strip() for key, value in pairs)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_unused):
        """A client went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.cluster._sockets.add(self.connection)

    def finish(self) -> None:
        self.server.cluster._sockets.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass  # cut

    def log_message(self, *_unused) -> None:
        pass

    def do_GET(self) -> None:
        cluster = self.server.cluster
        cluster._going.wait()
        path, _, query = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._status(401, "Unauthorized", "Unauthorized")
        if path == "/version":
            return self._json(200, {"major": "1", "minor": "33"})
        words = path.strip("/").split("/")
        resource = words[-1]
        namespace = words[words.index("namespaces") + 1] if "namespaces" in words else None
        group = f"/{'/'.join(words[:words.index('namespaces')] if namespace else words[:-1])}"
        if resource not in _GROUPS or _GROUPS[resource][0] != group:
            return self._status(404, "NotFound", "the server could not find the requested resource")
        verb = "watch" if query.get("watch") in ("1", "true") else "list"
        cluster.asked[verb, resource] += 1
        if (verb, resource) in cluster.denied:
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            said = f'{resource} is forbidden: User "system:serviceaccount:test:reader" cannot {verb} resource "{resource}" {where}'
            return self._status(403, "Forbidden", said)
        if verb == "list":
            return self._json(200, cluster.listed(resource, namespace, query))
        return self._watch(resource, namespace, query)

    def _watch(self, resource: str, namespace: str | None, query: dict) -> None:
        cluster = self.server.cluster
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        end = time.monotonic() + int(query.get("timeoutSeconds", 60))
        for event in cluster.watch(resource, int(query["resourceVersion"])):
            cluster._going.wait()
            if time.monotonic() > end:
                break
            if event == "forgotten":
                status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                self._chunk({"type": "ERROR", "object": status})
                break
            _, version, kind = _GROUPS[resource]
            if event is None:
                if query.get("allowWatchBookmarks") in ("1", "true"):
                    meta = {"resourceVersion": str(cluster._version), "creationTimestamp": None}
                    self._chunk({"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": version, "metadata": meta}})
                continue
            obj = event[3]
            if namespace in (None, obj["metadata"]["namespace"]) and _fits(obj, query.get("labelSelector")):
                self._chunk({"type": event[2], "object": obj})
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, value: dict) -> None:
        line = json.dumps(value).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _status(self, code: int, reason: str, message: str) -> None:
        self._json(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})

    def _json(self, code: int, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def endpoint(pod: str, ready: bool | None = None, serving: bool | None = None, terminating: bool | None = None, zone: str | None = None) -> dict:
    """An endpoint on this machine, as its pod's state has it."""
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    one = {
        "addresses": ["127.0.0.1"],
        "conditions": {name: value for name, value in conditions.items() if value is not None},
        "targetRef": {"kind": "Pod", "name": pod, "namespace": "default"},
    }
    return one | ({"zone": zone} if zone else {})
