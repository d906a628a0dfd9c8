"""WebSocket and other upgrades."""

import asyncio
import base64
import json
import os
import threading

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed

from harness.gateway import config, listener, to_origin
from harness.origin import Connection, Seen, reply, told
from harness.peers import NodeScript, listens
from harness.ports import free_port
from harness.two import Client as Two
from harness.waiting import until
from harness.wire import Client

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           f"Sec-WebSocket-Key: {base64.b64encode(b'0' * 16).decode()}")


class EchoServer:
    """PyPI's websockets: sends back what comes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.closed = threading.Event()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def echo(socket) -> None:
            try:
                async for message in socket:
                    await socket.send(message)
            finally:
                self.closed.set()

        async def main() -> None:
            self._stop = asyncio.Event()
            async with websockets.asyncio.server.serve(echo, "127.0.0.1", self.port, max_size=None):
                ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(main()), daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


@pytest.fixture
def echo():
    server = EchoServer()
    yield server
    server.stop()


def test_messages_pass_both_ways(start, echo):
    gateway = start(config(**to_origin(echo)))

    async def talk() -> None:
        url = f"ws://127.0.0.1:{gateway.port()}/chat"
        async with websockets.asyncio.client.connect(url, max_size=None) as socket:
            for message in ("hello", b"\x00\xff" * 100_000, "x" * 1_000_000, ""):
                await socket.send(message)
                assert await socket.recv() == message
            assert await (await socket.ping()) >= 0

    asyncio.run(talk())
    assert echo.closed.wait(5)


def test_many_conversations_at_once(start, echo):
    gateway = start(config(**to_origin(echo)))

    async def talk(number: int) -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{gateway.port()}/") as socket:
            for turn in range(20):
                await socket.send(f"{number}.{turn}")
                assert await socket.recv() == f"{number}.{turn}"

    async def everybody() -> None:
        await asyncio.gather(*(talk(number) for number in range(100)))

    asyncio.run(everybody())


def test_over_tls(start, echo, authority):
    web = listener(tls={"certificates": [authority.issue("localhost")]})
    gateway = start(config(**to_origin(echo), listeners={"web": web}))

    async def talk() -> None:
        url = f"wss://localhost:{gateway.port()}/"
        async with websockets.asyncio.client.connect(url, ssl=authority.client()) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"

    asyncio.run(talk())


WS_SERVER = """
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[1]) });
server.on('connection', (socket, request) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
"""
WS_CLIENT = """
const WebSocket = require('ws');
const socket = new WebSocket(`ws://127.0.0.1:${process.argv[1]}/`);
const want = ['one', 'x'.repeat(200000), 'last'];
let at = 0;
socket.on('open', () => socket.send(want[0]));
socket.on('message', (data) => {
  if (data.toString() !== want[at]) process.exit(3);
  at += 1;
  if (at < want.length) socket.send(want[at]); else socket.close(1000, 'done');
});
socket.on('close', (code, reason) => process.exit(code === 1000 && at === want.length ? 0 : 4));
socket.on('error', (error) => { console.error(error); process.exit(5); });
"""


def test_node_on_both_sides(start, programs, tmp_path, parts):
    port = free_port()
    server = programs(NodeScript(tmp_path / "server", WS_SERVER, str(port), parts=parts))
    until(lambda: listens(port), "the node server")
    server.port = port
    gateway = start(config(**to_origin(server)))
    client = programs(NodeScript(tmp_path / "client", WS_CLIENT, str(gateway.port()), parts=parts))
    assert client.process.wait(20) == 0, client.output()


def test_a_client_that_leaves_ends_the_other_side(start, echo):
    gateway = start(config(**to_origin(echo)))
    client = Client(gateway.port())
    client.send("GET / HTTP/1.1\r\nHost: a\r\n" + "\r\n".join(UPGRADE) + "\r\n\r\n")
    assert client.reader.head().status == 101
    client.close()
    assert echo.closed.wait(5)


def test_an_origin_that_leaves_ends_the_other_side(start, echo):
    gateway = start(config(**to_origin(echo)))

    async def talk() -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{gateway.port()}/") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            await asyncio.get_running_loop().run_in_executor(None, echo.stop)
            with pytest.raises(ConnectionClosed):
                await socket.recv()

    asyncio.run(talk())


def test_any_protocol_that_the_origin_agrees_to_passes(start, origin):
    def answer(seen: Seen, connection: Connection) -> None:
        connection.send(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {seen['upgrade']}\r\n\r\nfirst")
        connection.send(connection.reader.exactly(5)[::-1])

    gateway = start(config(**to_origin(origin(handler=answer))))
    with Client(gateway.port()) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n")
        head = client.reader.head()
        assert head.status == 101 and head["upgrade"] == "echo/1"
        assert client.reader.exactly(5) == b"first"
        client.send("abcde")
        assert client.reader.exactly(5) == b"edcba"


def test_a_switch_that_nobody_asked_for_is_502(start, origin):
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    gateway = start(config(**to_origin(origin(handler=lambda seen, connection: answer))))
    with Client(gateway.port()) as client:
        assert client.request("GET", "/", "Connection: Upgrade", "Upgrade: websocket").status == 502


def test_an_origin_that_does_not_switch_keeps_both_in_step(start, origin):
    gateway = start(config(**to_origin(origin())))
    with Client(gateway.port()) as client:
        assert client.request("GET", "/one", *UPGRADE).status == 200
        assert told(client.request("GET", "/two"))["target"] == "/two"


def test_bytes_sent_ahead_of_a_refused_switch_are_a_request(start, origin):
    """CVE-2026-2833's shape: what follows the head is not tunnelled before the origin agrees."""
    backend = origin(handler=lambda seen, connection: reply(200, seen.target.encode()))
    gateway = start(config(**to_origin(backend)))
    with Client(gateway.port()) as client:
        head = "GET /one HTTP/1.1\r\nHost: a\r\n" + "\r\n".join(UPGRADE) + "\r\n\r\n"
        client.send(head + "GET /two HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.reader.answer().body == b"/one"
        assert client.reader.answer().body == b"/two"
    assert not backend.violations


def masked(text: bytes) -> bytes:
    """A text frame of a client, short enough for one length byte."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(text))


def test_over_http2(start, echo):
    """Extended CONNECT (RFC 8441): one stream of a connection is the conversation."""
    gateway = start(config(**to_origin(echo)))
    with Two(gateway.port(), strict=False) as client:
        until(lambda: client.pump() or client.acked, "the settings")
        assert client.h2.remote_settings.enable_connect_protocol == 1
        stream = client.open_raw([
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a.test"),
            (":path", "/chat"), ("sec-websocket-version", "13"),
        ], end=False)
        while not stream.fields:
            client.pump()
            assert stream.reset is None
        assert stream.status == 200
        client.send(stream, masked(b"hello"))
        while len(stream.body) < 7:
            client.pump()
        assert stream.body == b"\x81\x05hello"
        client.reset(stream)
    assert echo.closed.wait(5)


def test_over_http2_to_the_instance(start, echo):
    """A gateway behind a gateway: between them an upgrade is an extended CONNECT."""
    inner = start(config(**to_origin(echo)), folder="inner")
    upstream = {"addresses": [f"127.0.0.1:{inner.port()}"], "protocol": "http2"}
    outer = start(config(routes={"all": {"target": "inner"}}, upstreams={"inner": upstream}), folder="outer")

    async def talk() -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{outer.port()}/") as socket:
            for text in ("hello", "x" * 100_000):
                await socket.send(text)
                assert await socket.recv() == text

    asyncio.run(talk())
    assert echo.closed.wait(5)


def test_a_good_answer_is_no_tunnel_over_http2(start, programs, tmp_path):
    from harness.peers import Nginx

    # To an extended CONNECT any 2xx says that the tunnel is there.
    inner = start(config(**to_origin(programs(Nginx(tmp_path / "nginx")))), folder="inner")
    upstream = {"addresses": [f"127.0.0.1:{inner.port()}"], "protocol": "http2"}
    outer = start(config(routes={"all": {"target": "inner"}}, upstreams={"inner": upstream}), folder="outer")
    with Client(outer.port()) as client:
        answer = client.request("GET", "/", *UPGRADE)
    assert answer.status == 502 and json.loads(answer.body)["cause"] == "http_upgrade_failed"


def test_a_conversation_outlives_the_idle_timer_of_requests(start, echo):
    web = listener(timeouts={"idle": "500ms", "body": "500ms", "head": "500ms"})
    gateway = start(config(**to_origin(echo), listeners={"web": web}))

    async def talk() -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{gateway.port()}/", ping_interval=None) as socket:
            await asyncio.sleep(1.5)
            await socket.send("still here")
            assert await socket.recv() == "still here"

    asyncio.run(talk())


def test_records_tell_of_upgrades(start, echo):
    settings = config(**to_origin(echo), access_log={"enabled": True, "format": "json", "path": "access.log"})
    gateway = start(settings)

    async def talk() -> None:
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{gateway.port()}/") as socket:
            await socket.send("hello")
            await socket.recv()

    asyncio.run(talk())
    log = gateway.folder / "access.log"
    until(lambda: log.exists() and log.read_text(), "the record")
    record = json.loads(log.read_text().splitlines()[0])
    assert record["status"] == 101 and record["sent_bytes"] > 0
