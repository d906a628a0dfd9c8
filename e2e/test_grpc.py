"""gRPC by its own client and server, through the gateway."""

import importlib
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from harness.gateway import config, listener
from harness.ports import free_port
from harness.waiting import until


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The modules that protoc makes of protos/shapes.proto."""
    folder = tmp_path_factory.mktemp("protos")
    source = f"{__file__.rsplit('/', 1)[0]}/protos"
    made = protoc.main(["", f"-I{source}", f"--python_out={folder}", f"--grpc_python_out={folder}", f"{source}/shapes.proto"])
    assert made == 0
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("shapes_pb2"), importlib.import_module("shapes_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


class Server:
    """A gRPC server that knows the four shapes and how to fail."""

    def __init__(self, shapes, name: str = "server") -> None:
        messages, services = shapes
        self.name = name
        self.cancelled = threading.Event()
        self.deadlines: list[float] = []
        self.metadata: list[dict] = []
        outer = self

        class Shapes(services.ShapesServicer):
            def Unary(self, request, context):
                outer.metadata.append(dict(context.invocation_metadata()))
                outer.deadlines.append(context.time_remaining())
                context.set_trailing_metadata((("x-trailer", "yes"), ("x-binary-bin", b"\x00\xff")))
                if request.text == "fail":
                    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00fc")
                if request.text == "details":
                    context.abort_with_status(outer.rich())
                if request.text == "hang":
                    context.add_callback(outer.cancelled.set)
                    time.sleep(request.count / 1000)
                return messages.Told(text=request.text * max(request.count, 1), origin=outer.name)

            def Down(self, request, context):
                context.add_callback(outer.cancelled.set)
                for number in range(request.count):
                    yield messages.Told(text=f"{request.text}{number}")
                    if request.text == "slow":
                        time.sleep(0.05)

            def Up(self, requests, context):
                return messages.Told(text=",".join(request.text for request in requests))

            def Both(self, requests, context):
                for request in requests:
                    yield messages.Told(text=request.text)

        self.port = free_port()
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        services.add_ShapesServicer_to_server(Shapes(), self.server)
        assert self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    @staticmethod
    def rich():
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.QuotaFailure(
            violations=[error_details_pb2.QuotaFailure.Violation(subject="you", description="enough")]))
        return rpc_status.to_status(status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="enough", details=[detail]))


@pytest.fixture
def called(start, shapes):
    """A gateway before a gRPC server, and a stub that calls through it."""
    server = Server(shapes)
    upstreams = {"shapes": {"addresses": [f"127.0.0.1:{server.port}"], "protocol": "http2"}}
    gateway = start(config(routes={"all": {"target": "shapes"}}, upstreams=upstreams))
    gateway.server = server
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port()}") as channel:
        yield gateway, shapes[1].ShapesStub(channel), shapes[0]
    server.server.stop(0).wait()


def test_a_unary_call_and_its_metadata(called):
    gateway, stub, messages = called
    told, call = stub.Unary.with_call(messages.Ask(text="hi"), metadata=[("x-one", "1"), ("x-raw-bin", b"\x01\x02")])
    assert told.text == "hi"
    trailers = dict(call.trailing_metadata())
    assert trailers["x-trailer"] == "yes" and trailers["x-binary-bin"] == b"\x00\xff"
    seen = gateway.server.metadata[0]
    assert seen["x-one"] == "1" and seen["x-raw-bin"] == b"\x01\x02"


def test_large_messages_pass(called):
    _, stub, messages = called
    assert len(stub.Unary(messages.Ask(text="x" * 1000, count=3000)).text) == 3_000_000


def test_streams_down_up_and_both_ways(called):
    _, stub, messages = called
    down = [told.text for told in stub.Down(messages.Ask(text="n", count=100))]
    assert down == [f"n{number}" for number in range(100)]
    up = stub.Up(messages.Ask(text=str(number)) for number in range(100))
    assert up.text == ",".join(str(number) for number in range(100))
    both = [told.text for told in stub.Both(messages.Ask(text=str(number)) for number in range(100))]
    assert both == [str(number) for number in range(100)]


def test_both_ways_is_a_conversation(called):
    """Each message is answered before the next is sent: nothing is held back."""
    _, stub, messages = called
    answered = threading.Semaphore(1)

    def asks():
        for number in range(20):
            assert answered.acquire(timeout=5)
            yield messages.Ask(text=str(number))

    for number, told in enumerate(stub.Both(asks())):
        assert told.text == str(number)
        answered.release()


def test_errors_keep_their_code_message_and_details(called):
    _, stub, messages = called
    with pytest.raises(grpc.RpcError) as failed:
        stub.Unary(messages.Ask(text="fail"))
    assert failed.value.code() == grpc.StatusCode.NOT_FOUND
    assert failed.value.details() == "no such thing: \u00fc"
    with pytest.raises(grpc.RpcError) as failed:
        stub.Unary(messages.Ask(text="details"))
    status = rpc_status.from_call(failed.value)
    detail = error_details_pb2.QuotaFailure()
    assert status.details[0].Unpack(detail) and detail.violations[0].subject == "you"


def test_deadlines_reach_the_server(called):
    gateway, stub, messages = called
    stub.Unary(messages.Ask(text="hi"), timeout=7)
    # grpc-core rounds a deadline of seconds up to the next 10 ms on the wire, and its
    # coarse clocks of client and server may each be a tick apart.
    assert 5 < gateway.server.deadlines[0] <= 7.05


def test_a_deadline_that_passes_ends_the_call(called):
    gateway, stub, messages = called
    with pytest.raises(grpc.RpcError) as failed:
        stub.Unary(messages.Ask(text="hang", count=3000), timeout=0.3)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.server.cancelled.wait(3)


def test_cancelling_a_stream_reaches_the_server(called):
    gateway, stub, messages = called
    stream = stub.Down(messages.Ask(text="slow", count=1000))
    assert next(stream).text == "slow0"
    stream.cancel()
    assert gateway.server.cancelled.wait(3)


def test_many_calls_at_once(called):
    _, stub, messages = called
    calls = [stub.Unary.future(messages.Ask(text=str(number))) for number in range(500)]
    assert [call.result(10).text for call in calls] == [str(number) for number in range(500)]


def test_a_server_that_is_gone_is_a_grpc_status(called):
    gateway, stub, messages = called
    gateway.server.server.stop(0).wait()
    with pytest.raises(grpc.RpcError) as failed:
        stub.Unary(messages.Ask(text="hi"), timeout=5)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE, failed.value


def test_an_unknown_service_is_a_grpc_status(start, shapes):
    gateway = start(config(routes={"none": {"hosts": ["nowhere.test"], "policies": [{"respond": {"status": 200}}]}}))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port()}") as channel:
        with pytest.raises(grpc.RpcError) as failed:
            shapes[1].ShapesStub(channel).Unary(shapes[0].Ask(text="hi"), timeout=5)
    assert failed.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND), failed.value


def test_over_tls(start, shapes, authority):
    server = Server(shapes)
    upstreams = {"shapes": {"addresses": [f"127.0.0.1:{server.port}"], "protocol": "http2"}}
    web = listener(tls={"certificates": [authority.issue("localhost")]})
    gateway = start(config(routes={"all": {"target": "shapes"}}, upstreams=upstreams, listeners={"web": web}))
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with grpc.secure_channel(f"localhost:{gateway.port()}", credentials) as channel:
        assert shapes[1].ShapesStub(channel).Unary(shapes[0].Ask(text="hi"), timeout=5).text == "hi"
    server.server.stop(0).wait()


def test_calls_are_shared_among_instances(start, shapes):
    """One connection of the client, several servers: each call is placed by itself."""
    servers = [Server(shapes, name) for name in "ab"]
    gateway = start(config(routes={"all": {"target": "shapes"}},
                           upstreams={"shapes": {"service": "shapes", "protocol": "http2"}}))
    for server in servers:
        gateway.register("shapes", server.name, server.port)
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port()}") as channel:
        stub = shapes[1].ShapesStub(channel)
        seen = {stub.Unary(shapes[0].Ask(text="hi")).origin for _ in range(40)}
        assert seen == {"a", "b"}
        gateway.admin("DELETE", "/v1/services/shapes/instances/a")
        until(lambda: stub.Unary(shapes[0].Ask(text="hi")).origin == "b", "calls at b")
        assert {stub.Unary(shapes[0].Ask(text="hi")).origin for _ in range(20)} == {"b"}
    for server in servers:
        server.server.stop(0).wait()
