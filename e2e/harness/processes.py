"""Programs that tests start: each ends by its own pid, and what it said is shown on failure."""

import os
import signal
import subprocess
from pathlib import Path


class Program:
    """A running program whose output goes to a file."""

    def __init__(self, command: list[str], log: Path, **options) -> None:
        self.log = log
        self._file = log.open("ab")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            **options,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """Everything that it has said."""
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, seconds: float = 10.0) -> int:
        """Asks it to end, insists if it does not; gives its exit code."""
        if self.is_running():
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.process.args[0]} did not stop:\n{self.output()}") from None
        finally:
            self._file.close()

    def kill(self) -> None:
        """Ends it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait()
        self._file.close()
