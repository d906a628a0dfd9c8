"""Starting, stopping and being replaced."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.gateway import Portolan, binary, config, to_origin
from harness.origin import reply, told
from harness.processes import Program
from harness.waiting import until
from harness.wire import Client, get


def test_sigterm_lets_requests_end(start, origin):
    backend = origin()
    gateway = start(config(**to_origin(backend)))
    client = Client(gateway.port())
    client.send("GET /slow/700 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: backend.requests, "the request at the origin")
    gateway.signal(signal.SIGTERM)
    assert told(client.reader.answer())["target"] == "/slow/700"
    assert gateway.process.wait(5) == 0


def test_a_draining_gateway_closes_kept_connections(start, origin):
    gateway = start(config(**to_origin(origin())))
    idle = Client(gateway.port())
    told(idle.request("GET", "/"))
    gateway.signal(signal.SIGTERM)
    assert idle.is_closed()
    assert gateway.process.wait(5) == 0


def test_the_drain_has_a_deadline(start, origin):
    backend = origin()
    gateway = start(config(**to_origin(backend), gateway={"drain": "1s"}))
    client = Client(gateway.port())
    client.send("GET /slow/20000 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: backend.requests, "the request at the origin")
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    gateway.process.wait(10)
    assert 0.5 < time.monotonic() - began < 5


def test_readiness_ends_with_the_drain_and_liveness_does_not(start, origin):
    backend = origin()
    gateway = start(config(**to_origin(backend)))
    assert gateway.admin("GET", "/live")[0] == 200
    client = Client(gateway.port())
    client.send("GET /slow/1500 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: backend.requests, "the request at the origin")
    gateway.signal(signal.SIGTERM)

    def is_unready() -> bool:
        try:
            return gateway.admin("GET", "/ready")[0] == 503
        except OSError:
            return False

    until(is_unready, "readiness to end", 1)
    assert gateway.admin("GET", "/live")[0] == 200
    told(client.reader.answer())


def test_sigint_ends_it_too(start):
    gateway = start(config())
    gateway.signal(signal.SIGINT)
    assert gateway.process.wait(5) == 0


def test_a_status_listener_answers_and_does_nothing_else(start):
    from harness.ports import free_port

    port = free_port()
    start(config(status={"address": f"127.0.0.1:{port}"}))
    assert get(port, "/ready", host=f"127.0.0.1:{port}").status == 200
    assert get(port, "/live", host=f"127.0.0.1:{port}").status == 200
    assert get(port, "/v1/services", host=f"127.0.0.1:{port}").status == 404


def test_a_taken_port_is_said_plainly(start, origin, tmp_path):
    backend = origin()
    settings = config()
    settings["listeners"]["web"]["address"] = f"127.0.0.1:{backend.port}"
    with pytest.raises(AssertionError, match=str(backend.port)):
        Portolan(tmp_path / "second", settings)


def test_two_gateways_do_not_share_a_data_folder(start, tmp_path):
    first = start(config())
    settings = config()
    file = tmp_path / "second.yaml"
    import json

    file.write_text(json.dumps(settings))
    done = subprocess.run(
        [binary(), "run", "--config", file, "--data-dir", first.folder / "data"],
        capture_output=True, text=True, timeout=20, check=False,
    )
    assert done.returncode != 0
    assert "data" in done.stdout + done.stderr


def test_a_successor_takes_over_without_a_failed_request(start, origin, tmp_path):
    backend = origin(handler=lambda seen, connection: reply(200, b"ok"))
    gateway = start(config(**to_origin(backend)))
    stop, failures, done = threading.Event(), [], [0]

    def load() -> None:
        while not stop.is_set():
            try:
                assert get(gateway.port()).status == 200
                done[0] += 1
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: done[0] > 100, "some load")
    command = [binary(), "run", "--config", gateway.file, "--data-dir", gateway.folder / "data", "--take-over"]
    successor = Program(command, tmp_path / "successor.log", cwd=gateway.folder)
    try:
        assert gateway.process.wait(40) == 0, gateway.output()
        before = done[0]
        until(lambda: done[0] > before + 200, "load on the successor")
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures, (failures[:3], successor.output())
        assert gateway.is_ready()
    finally:
        stop.set()
        successor.stop(40)


def niceness(pid: int) -> dict[str, set[int]]:
    """How nice the threads of each name are."""
    found: dict[str, set[int]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        found.setdefault(name.split("-")[0], set()).add(int(fields.split()[16]))
    return found


def test_the_control_plane_stands_back_behind_the_workers(start, origin):
    gateway = start(config(**to_origin(origin(handler=lambda seen, connection: reply(200, b"ok"))), gateway={"workers": 2}))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    said = niceness(gateway.pid)
    assert said["worker"] == {own} and said["control"] == {own + 5} == said["store"], said
    # A successor begins where its predecessor did.
    children = lambda: Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    gateway.signal(signal.SIGUSR2)
    until(children, "the successor")
    successor = int(children()[0])
    try:
        until(lambda: "control" in niceness(successor) and "worker" in niceness(successor), "its threads")
        said = niceness(successor)
        assert said["worker"] == {own} and said["control"] == {own + 5}, said
    finally:
        os.kill(successor, signal.SIGTERM)
        gateway.process.wait(40)
        until(lambda: not Path(f"/proc/{successor}").exists(), "the end of the successor", 40)


def test_sockets_of_a_service_manager_are_taken(tmp_path, origin):
    """Socket activation: descriptor 3 listens already, LISTEN_FDS says so."""
    import json
    import socket

    backend = origin()
    settings = config(**to_origin(backend))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port = int(settings["listeners"]["web"]["address"].rsplit(":", 1)[1])
    sock.bind(("127.0.0.1", port))
    sock.listen(64)
    file = tmp_path / "portolan.yaml"
    file.write_text(json.dumps(settings))
    # It puts the socket at descriptor 3 and becomes the program, so that LISTEN_PID is right.
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    program = Program(
        [sys.executable, "-c", script, sock.fileno(), binary(), "run", "--config", file, "--data-dir", tmp_path / "data"],
        tmp_path / "log", pass_fds=[sock.fileno()],
    )
    try:
        # The queue is the same socket's: a client that came before the program is served.
        until(lambda: told(get(port))["target"] == "/", "the inherited socket to be served")
    finally:
        program.stop()
        sock.close()


def test_it_runs_without_privileges(tmp_path, origin):
    import json

    folder = tmp_path / "nobody"
    folder.mkdir()
    shutil.copy(binary(), folder / "portolan")
    settings = config(**to_origin(origin()))
    (folder / "portolan.yaml").write_text(json.dumps(settings))
    # Whoever is not root to begin with has nothing to drop.
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    for path in (folder, *folder.iterdir()) if as_nobody else ():
        os.chown(path, 65534, 65534)
    # pytest's folder is closed to others; the program itself only needs its own.
    for parent in folder.parents:
        if parent == parent.parent or str(parent) == "/tmp":
            break
        parent.chmod(0o755)
    program = Program(
        [folder / "portolan", "run", "--config", "portolan.yaml", "--data-dir", "data"],
        folder.parent / "nobody.log", cwd=folder, **as_nobody,
    )
    try:
        port = int(settings["listeners"]["web"]["address"].rsplit(":", 1)[1])

        def answers() -> bool:
            try:
                return get(port).status == 200
            except OSError:
                assert program.is_running(), program.output()
                return False

        until(answers, "an answer")
    finally:
        program.stop()


def test_it_runs_as_process_one(tmp_path):
    """In a PID namespace of its own, as in a container: SIGTERM ends it, no shell around it."""
    import json

    settings = config()
    file = tmp_path / "portolan.yaml"
    file.write_text(json.dumps(settings))
    program = Program(
        ["unshare", "--pid", "--fork", "--kill-child", binary(), "run", "--config", file, "--data-dir", tmp_path / "data"],
        tmp_path / "log",
    )
    try:
        admin = int(settings["admin"]["address"].rsplit(":", 1)[1])

        def ready() -> bool:
            try:
                return get(admin, "/ready", host="localhost").status == 200
            except OSError:
                assert program.is_running(), program.output()
                return False

        until(ready, "readiness")
        children = subprocess.run(["pgrep", "-P", str(program.pid)], capture_output=True, text=True, check=True)
        os.kill(int(children.stdout.split()[0]), signal.SIGTERM)
        assert program.process.wait(10) == 0
    finally:
        program.stop()
