"""HTTP/1 by hand: what goes over the wire is what the test says."""

import socket
import ssl
from dataclasses import dataclass, field


@dataclass
class Answer:
    """A message as it came: start line, fields in order, body."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list["Answer"] = field(default_factory=list)

    def __getitem__(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Closed(Exception):
    """The other end closed before a whole message was there."""


class Reader:
    """Reads messages off a socket, strictly."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed from error
        if not data:
            raise Closed(self.buffer)
        self.buffer += data

    def line(self) -> bytes:
        """Up to CR LF, which is taken away."""
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self) -> bytes:
        try:
            while True:
                self.more()
        except Closed:
            data, self.buffer = self.buffer, b""
            return data

    def fields(self) -> list[tuple[str, str]]:
        fields = []
        while line := self.line():
            name, colon, value = line.partition(b":")
            assert colon and name == name.strip(), f"not a field: {line!r}"
            fields.append((name.decode(), value.strip().decode("latin-1")))
        return fields

    def chunks(self) -> tuple[bytes, list[tuple[str, str]]]:
        body = b""
        while True:
            size = int(self.line().split(b";")[0], 16)
            if size == 0:
                return body, self.fields()
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"

    def head(self) -> Answer:
        version, status, *reason = self.line().decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1", version
        return Answer(int(status), " ".join(reason), self.fields())

    def answer(self, method: str = "GET") -> Answer:
        """The next answer with its body; interim ones are kept in `interim`."""
        interim = []
        while (answer := self.head()).status < 200 and answer.status != 101:
            interim.append(answer)
        answer.interim = interim
        bodyless = method == "HEAD" or answer.status in (101, 204, 304)
        if bodyless:
            return answer
        if (answer["transfer-encoding"] or "").lower() == "chunked":
            answer.body, answer.trailers = self.chunks()
        elif answer["content-length"] is not None:
            answer.body = self.exactly(int(answer["content-length"]))
        else:
            answer.body = self.rest()
        return answer


class Client:
    """A connection of a client."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, name: str = "localhost") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name)
        self.reader = Reader(self.sock)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_unused) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def request(self, method: str, target: str, *fields: str, body: bytes = b"", host: str = "a.test") -> Answer:
        """Sends a request with these field lines; gives its answer."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
        if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in fields):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return self.reader.answer(method)

    def is_closed(self, seconds: float = 5.0) -> bool:
        """Whether the other end closes in time, without a further byte."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def get(port: int, target: str = "/", *fields: str, host: str = "a.test", method: str = "GET") -> Answer:
    """One request over a connection of its own."""
    with Client(port) as client:
        return client.request(method, target, *fields, host=host)


def raw(port: int, data: bytes, seconds: float = 2.0) -> bytes:
    """Sends bytes and gives all that comes back until the other end closes or falls silent.

    The sending side stays open: to end it early means to have gone away.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        received = b""
        try:
            sock.sendall(data)
            while chunk := sock.recv(65536):
                received += chunk
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
        return received
