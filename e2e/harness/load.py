"""Clients that ask all the time, and count what fails."""

import http.client
import threading

from .waiting import until


class Load:
    """A few clients on connections of their own, from `with` to its end."""

    def __init__(self, port: int, path: str, clients: int = 4) -> None:
        self.failures: list[str] = []
        self.done = 0
        self._port, self._path = port, path
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_unused) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._is_over.is_set():
            failed = None
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    failed = f"{answer.status} {body!r}"
            except (OSError, http.client.HTTPException) as error:
                failed = repr(error)
                connection.close()
            with self._lock:
                self.done += 1
                if failed:
                    self.failures.append(failed)
        connection.close()

    def goes_on(self, requests: int = 200) -> None:
        """Waits for so many more answers, none of which may be a failure."""
        goal = self.done + requests
        until(lambda: self.done >= goal, "answers", 60)
        assert not self.failures, (len(self.failures), self.failures[:3])
