"""Load for etcd by its own gRPC API: etcd.py PORT OPERATION FAMILY SECONDS.

The few messages are written by hand, so that no generated code is needed. A registration is what
etcd's naming clients do: a lease of its own, and a key that is bound to it.
"""

import asyncio
import json
import sys
import time

import grpc

CONCURRENCY = 64
LEASES = 1_000
INSTANCES = 10
TTL_SECONDS = 3600


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


class Etcd:
    def __init__(self, port: int, family: str) -> None:
        self.family = family
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.put = self.channel.unary_unary("/etcdserverpb.KV/Put")
        self.range = self.channel.unary_unary("/etcdserverpb.KV/Range")
        self.grant = self.channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")
        self.keep_alive = self.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")

    def lease(self, number: int) -> int:
        return hash((self.family, number)) & 0x7FFFFFFFFFFFFFFF

    async def register(self, number: int) -> None:
        lease = self.lease(number)
        await self.grant(integer(1, TTL_SECONDS) + integer(2, lease))
        key = f"/services/{self.family}-{number // INSTANCES}/i{number}".encode()
        value = json.dumps({"address": "127.0.0.1", "port": 10_000 + number % 50_000}).encode()
        await self.put(text(1, key) + text(2, value) + integer(3, lease))

    async def query(self, number: int) -> None:
        prefix = f"/services/{self.family}-{number % LEASES // INSTANCES}/".encode()
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        await self.range(text(1, prefix) + text(2, end))

    async def heartbeats(self, until: float) -> int:
        """One stream, as a client has for all of its leases."""
        call = self.keep_alive()
        done = 0
        while time.monotonic() < until:
            await call.write(integer(1, self.lease(done % LEASES)))
            await call.read()
            done += 1
        await call.done_writing()
        return done


async def run(port: int, operation: str, family: str, seconds: float) -> dict[str, float]:
    etcd = Etcd(port, family)
    if operation == "fill":
        for begin in range(0, LEASES, CONCURRENCY):
            numbers = range(begin, min(begin + CONCURRENCY, LEASES))
            await asyncio.gather(*(etcd.register(number) for number in numbers))
        return {"answered": LEASES, "failed": 0, "elapsed_s": 1.0}
    begin = time.monotonic()
    until = begin + seconds
    if operation == "heartbeat":
        counts = await asyncio.gather(*(etcd.heartbeats(until) for _ in range(CONCURRENCY)))
    else:
        one = etcd.register if operation == "register" else etcd.query
        numbers = iter(range(1 << 30))

        async def lane() -> int:
            done = 0
            while time.monotonic() < until:
                await one(next(numbers))
                done += 1
            return done

        counts = await asyncio.gather(*(lane() for _ in range(CONCURRENCY)))
    return {"answered": sum(counts), "failed": 0, "elapsed_s": time.monotonic() - begin}


if __name__ == "__main__":
    _, port, operation, family, seconds = sys.argv
    print(json.dumps(asyncio.run(run(int(port), operation, family, float(seconds)))))
