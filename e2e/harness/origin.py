"""A backend that keeps every byte and is strict about framing."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .ports import free_port
from .wire import Closed, Reader


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    connection: int = 0

    def __getitem__(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


@dataclass
class Connection:
    """A connection of the gateway."""

    sock: socket.socket
    reader: Reader
    number: int

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)


# What a handler may do: answer with bytes, or write itself and return None.
Handler = Callable[[Seen, Connection], bytes | None]


class Origin:
    """An HTTP/1.1 server in threads. `handler` answers; without one, requests are told back."""

    def __init__(self, name: str = "origin", handler: Handler | None = None,
                 tls: ssl.SSLContext | None = None, port: int | None = None,
                 opening: Callable[[Connection], None] | None = None) -> None:
        self.name = name
        self.handler = handler or self.echo
        self.opening = opening
        self.port = port or free_port()
        self.requests: list[Seen] = []
        self.violations: list[str] = []
        self.received = b""
        self.connections: list[socket.socket] = []
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops listening and cuts what is open."""
        # A blocked accept wakes only by this.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed before, by the test
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cuts every open connection."""
        with self._lock:
            open_now, self.connections = self.connections, []
        for sock in open_now:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def targets(self) -> list[str]:
        return [f"{seen.method} {seen.target}" for seen in self.requests]

    def echo(self, seen: Seen, connection: Connection) -> bytes | None:
        """Tells back what arrived; a few paths ask for something else."""
        path = seen.target.split("?")[0]
        words = path.strip("/").split("/")
        if words[0] == "status":
            return reply(int(words[1]))
        if words[0] == "bytes":
            return reply(200, b"x" * int(words[1]))
        if words[0] == "slow":
            time.sleep(int(words[1]) / 1000)
        told = {
            "origin": self.name,
            "method": seen.method,
            "target": seen.target,
            "version": seen.version,
            "fields": seen.fields,
            "body": seen.body.decode("latin-1"),
            "trailers": seen.trailers,
            "connection": seen.connection,
        }
        body = json.dumps(told).encode()
        head_only = seen.method == "HEAD"
        answer = reply(200, body, "content-type: application/json")
        return answer[: -len(body)] if head_only else answer

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self.connections.append(sock)
            connection = Connection(sock, _Recorder(sock, self), number)
            if self.opening:
                self.opening(connection)
            while self._one(connection):
                pass
        except (Closed, OSError):
            pass
        finally:
            with self._lock:
                if sock in self.connections:
                    self.connections.remove(sock)
            sock.close()

    def _one(self, connection: Connection) -> bool:
        seen = self._read(connection)
        if seen is None:
            return False
        answer = self.handler(seen, connection)
        if answer is not None:
            connection.send(answer)
        closing = (seen["connection"] or "").lower() == "close"
        return not closing and b"connection: close" not in (answer or b"").lower()

    def _read(self, connection: Connection) -> Seen | None:
        reader = connection.reader
        line = reader.line().decode("latin-1")
        try:
            method, target, version = line.split(" ")
            seen = Seen(method, target, version, reader.fields(), connection=connection.number)
            self.requests.append(seen)
            self._check(seen)
            if (seen["expect"] or "").lower() == "100-continue":
                connection.send("HTTP/1.1 100 Continue\r\n\r\n")
            if seen["transfer-encoding"]:
                seen.body, seen.trailers = reader.chunks()
            elif seen["content-length"]:
                seen.body = reader.exactly(int(seen["content-length"]))
            return seen
        except (ValueError, AssertionError) as error:
            self.violations.append(f"{line!r}: {error}")
            return None

    def _check(self, seen: Seen) -> None:
        """What a strict reader refuses, because two readers could disagree about it."""
        assert seen.version == "HTTP/1.1", "version"
        assert len(seen.all("host")) == 1, "not one host"
        assert len(seen.all("content-length")) + len(seen.all("transfer-encoding")) <= 1, "framing"
        assert (seen["transfer-encoding"] or "chunked") == "chunked", "coding"
        assert (seen["content-length"] or "0").isdigit(), "length"


class _Recorder(Reader):
    """A reader that leaves a copy of every byte with the origin."""

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        super().__init__(sock)
        self.origin = origin

    def more(self) -> None:
        before = len(self.buffer)
        super().more()
        self.origin.received += self.buffer[before:]


def reply(status: int = 200, body: bytes = b"", *fields: str) -> bytes:
    """An answer with a length."""
    lines = [f"HTTP/1.1 {status} Status", *fields]
    if status not in (204, 304) and status >= 200:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def told(answer) -> dict:
    """What an echoing origin told back."""
    assert answer.status == 200, (answer.status, answer.body)
    return json.loads(answer.body)


def field_of(story: dict, name: str) -> str | None:
    """A field of the request that an echoing origin tells about."""
    for key, value in story["fields"]:
        if key.lower() == name.lower():
            return value
    return None
