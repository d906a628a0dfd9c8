"""HTTP/2 by hand, over the h2 package: one connection, streams as the test wants them."""

import socket
import ssl
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings


@dataclass
class Stream:
    """What came back on a stream."""

    number: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(dict(self.fields)[":status"])

    def __getitem__(self, name: str) -> str | None:
        return dict(self.fields).get(name)


# After GOAWAY a server may send what belongs to streams that are open, and pings; the h2 package
# would take the connection to be closed.
h2.connection.H2ConnectionStateMachine._transitions[
    (h2.connection.ConnectionState.CLIENT_OPEN, h2.connection.ConnectionInputs.RECV_GOAWAY)
] = (None, h2.connection.ConnectionState.CLIENT_OPEN)


class Client:
    """A connection of an HTTP/2 client, in the clear or over TLS."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, name: str = "localhost", strict: bool = True) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name)
            assert self.sock.selected_alpn_protocol() == "h2"
        settings = h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8",
            validate_outbound_headers=strict, normalize_outbound_headers=strict,
        )
        self.h2 = h2.connection.H2Connection(settings)
        self.h2.initiate_connection()
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self.closed = False
        self.acked = False
        self._flush()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_unused) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def open(self, method: str, path: str, *fields: tuple[str, str], authority: str = "a.test",
             scheme: str = "http", end: bool = True) -> Stream:
        """Begins a request."""
        head = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *fields]
        return self.open_raw(head, end)

    def open_raw(self, head: list[tuple[str, str]], end: bool = True) -> Stream:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, head, end_stream=end)
        self._flush()
        self.streams[number] = Stream(number)
        return self.streams[number]

    def send(self, stream: Stream, data: bytes, end: bool = False) -> None:
        """Sends a body, as fast as the windows allow."""
        at = 0
        while at < len(data) or (end and not data):
            room = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size)
            if room == 0 and data:
                self.pump()
                continue
            part = data[at : at + room]
            at += len(part)
            self.h2.send_data(stream.number, part, end_stream=end and at >= len(data))
            self._flush()
            if not data:
                return

    def trailers(self, stream: Stream, *fields: tuple[str, str]) -> None:
        self.h2.send_headers(stream.number, list(fields), end_stream=True)
        self._flush()

    def reset(self, stream: Stream, code: int = 8) -> None:
        self.h2.reset_stream(stream.number, code)
        self._flush()

    def finish(self, stream: Stream) -> Stream:
        """Reads until the stream has ended."""
        while not (stream.ended or stream.reset is not None or self.closed or self.goaway):
            self.pump()
        return stream

    def request(self, method: str, path: str, *fields: tuple[str, str], body: bytes = b"", **more) -> Stream:
        stream = self.open(method, path, *fields, end=not body, **more)
        if body:
            self.send(stream, body, end=True)
        return self.finish(stream)

    def pump(self) -> None:
        """Reads once and takes in what came."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self._take(event)
        self._flush()

    def _take(self, event) -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                self.streams[event.stream_id].interim.append(list(event.headers))
            case h2.events.ResponseReceived():
                self.streams[event.stream_id].fields = list(event.headers)
            case h2.events.DataReceived():
                self.streams[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.streams[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.streams[event.stream_id].reset = event.error_code
            case h2.events.ConnectionTerminated():
                self.goaway = event.error_code if event.error_code else None
            case h2.events.RemoteSettingsChanged():
                self.acked = True

    def _flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                self.closed = True
