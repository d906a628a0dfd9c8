"""Requests that never stop, and what became of them."""

import threading
import time
from collections import Counter

from .origin import told
from .waiting import until
from .wire import Client


class Load:
    """Clients that go on asking one service; every answer but the right one is kept."""

    def __init__(self, port: int, path: str, right: set[str] | None = None, clients: int = 4, pause: float = 0.003) -> None:
        """`right` names the origins that may answer, all by default; it may change meanwhile."""
        self.right = right
        self.answered: Counter = Counter()
        self.failed: list[str] = []
        self.misrouted: list[str] = []
        self._over = threading.Event()
        asking = (port, path, pause)
        self._clients = [threading.Thread(target=self._ask, args=asking, daemon=True) for _ in range(clients)]
        for client in self._clients:
            client.start()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_unused) -> None:
        self._settle()
        self._over.set()
        for client in self._clients:
            client.join(10)

    def check(self, what: str) -> None:
        """Says what became of all requests; none may have failed or gone astray."""
        self._settle()
        total = self.answers
        print(f"\n{what}: {total} requests, {len(self.failed)} failed, {len(self.misrouted)} misrouted")
        assert not self.failed, self.failed[:5]
        assert not self.misrouted, self.misrouted[:5]
        assert total > 100, total

    @property
    def answers(self) -> int:
        """How many were right or went astray."""
        return sum(self.answered.values())

    def goes_on(self, requests: int = 200) -> None:
        """Waits for so many more answers, none of which may be a failure."""
        goal = self._seen() + requests
        until(lambda: self._seen() >= goal, "answers", 60)
        assert not self.failed, (len(self.failed), self.failed[:3])
        assert not self.misrouted, self.misrouted[:3]

    def _settle(self) -> None:
        """What was over at once has to have been seen by some requests."""
        end = time.monotonic() + 10
        while not self._over.is_set() and self._seen() <= 100 and time.monotonic() < end:
            time.sleep(0.01)

    def _seen(self) -> int:
        return self.answers + len(self.failed)

    def _ask(self, port: int, path: str, pause: float) -> None:
        client = None
        while not self._over.is_set():
            try:
                client = client or Client(port)
                answer = client.request("GET", path, host="a.test")
                if answer.status != 200:
                    self.failed.append(f"{answer.status} {answer.body[:200]!r}")
                    continue
                name = told(answer)["origin"]
                self.answered[name] += 1
                if self.right is not None and name not in self.right:
                    self.misrouted.append(name)
            except Exception as error:  # noqa: BLE001 - whatever went wrong went wrong for a client
                self.failed.append(repr(error))
                client = None
            time.sleep(pause)


def spread(what: str, seconds: list[float]) -> None:
    """Prints how long something took."""
    ordered = sorted(seconds)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000  # noqa: E731
    print(f"\n{what}: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, worst {ordered[-1] * 1000:.1f} ms of {len(ordered)}")
