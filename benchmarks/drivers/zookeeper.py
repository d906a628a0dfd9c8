"""Load for ZooKeeper: zookeeper.py PORT OPERATION FAMILY SECONDS.

A registration is an ephemeral node; a heartbeat is a session's ping, which keeps all of its
nodes; a query is what Curator does: the list of children, then each one's data.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

CONCURRENCY = 64
LEASES = 1_000
INSTANCES = 10
SESSION_MS = 3_600_000
PING = struct.pack("!iii", 8, -2, 11)


def register(client: KazooClient, family: str, number: int):
    path = f"/services/{family}-{number // INSTANCES}"
    if number % INSTANCES == 0:
        try:
            client.create(path, makepath=True)
        except NodeExistsError:
            pass
    value = json.dumps({"address": "127.0.0.1", "port": 10_000 + number % 50_000}).encode()
    # What the heartbeats and queries need must outlive this client.
    ephemeral = not family.startswith("base")
    return [client.create_async(f"{path}/i{number}", value, ephemeral=ephemeral)]


def query(client: KazooClient, family: str, number: int):
    path = f"/services/{family}-{number % LEASES // INSTANCES}"
    children = client.get_children_async(path)
    first = number % LEASES // INSTANCES * INSTANCES
    numbers = range(first, first + INSTANCES)
    return [children, *(client.get_async(f"{path}/i{one}") for one in numbers)]


def pipelined(port: int, operation: str, family: str, seconds: float) -> int:
    # Its session outlives it: what ending sessions costs is not what is measured.
    client = KazooClient(f"127.0.0.1:{port}", timeout=SESSION_MS / 1e3)
    client.start(30)
    one = query if operation == "query" else register
    until = time.monotonic() + seconds if seconds else None
    begun: deque = deque()
    done = 0
    while (time.monotonic() < until) if until else (done < LEASES):
        begun.append(one(client, family, done))
        done += 1
        if len(begun) >= CONCURRENCY:
            for answer in begun.popleft():
                answer.get(30)
    while begun:
        for answer in begun.popleft():
            answer.get(30)
    return done


def pings(port: int, seconds: float) -> int:
    hello = struct.pack("!iqiqi16s?", 0, 0, SESSION_MS, 0, 16, bytes(16), False)
    sessions = {}
    poll = select.epoll()
    for _ in range(CONCURRENCY):
        session = socket.create_connection(("127.0.0.1", port))
        session.sendall(struct.pack("!i", len(hello)) + hello)
        session.recv(4096)
        session.sendall(PING)
        sessions[session.fileno()] = session
        poll.register(session, select.EPOLLIN)
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until:
        for descriptor, _ in poll.poll(1):
            session = sessions[descriptor]
            session.recv(4096)
            session.sendall(PING)
            done += 1
    return done


def main() -> None:
    _, port, operation, family, seconds = sys.argv
    begin = time.monotonic()
    if operation == "heartbeat":
        done = pings(int(port), float(seconds))
    else:
        bound = 0.0 if operation == "fill" else float(seconds)
        done = pipelined(int(port), operation, family, bound)
    elapsed = time.monotonic() - begin
    print(json.dumps({"answered": done, "failed": 0, "elapsed_s": elapsed}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
