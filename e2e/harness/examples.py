"""The examples of the client library, as its users run them."""

import json
import os
from pathlib import Path

from .gateway import ROOT
from .processes import Program
from .waiting import until


def example(name: str) -> Path:
    """An example of the client library: from $EXAMPLES, or where cargo built it last."""
    path = Path(os.environ.get("EXAMPLES", ROOT / "target" / "debug" / "examples")) / name
    assert path.exists(), f"{path} is missing: cargo build --workspace --examples --features portolan-client/full"
    return path


class Says(Program):
    """A program that a test waits for words of."""

    def says(self, words: str, seconds: float = 15.0) -> None:
        try:
            until(lambda: words in self.output() or not self.is_running(), f"`{words}`", seconds)
            assert words in self.output(), "it has ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None


class Load(Says):
    """Calls that go on until it is stopped."""

    def tallies(self) -> list[dict]:
        """What it counted, every tenth of a second."""
        lines = self.output().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def tally(self) -> dict:
        told = self.tallies()
        return told[-1] if told else {"calls": 0, "flying": 0, "failed": {}, "failed_unsafe": {}, "answers": {}}

    def failed_unsafe(self) -> int:
        return sum(self.tally()["failed_unsafe"].values())

    def goes_on(self, calls: int = 400, seconds: float = 0.0) -> None:
        """Waits until so many more calls were made, for so long at least."""
        begun, ticks = self.tally()["calls"], len(self.tallies()) + seconds * 10
        until(lambda: self.tally()["calls"] >= begun + calls and len(self.tallies()) >= ticks, f"{calls} calls", 30)

    def is_answered_by(self, instance: Program, seconds: float = 20.0) -> None:
        """Waits until that instance answers more calls than it did."""
        place = name_of(instance)
        begun = self.tally()["answers"].get(place, 0)
        until(lambda: self.tally()["answers"].get(place, 0) > begun, f"an answer of {place}", seconds)


def name_of(instance: Program) -> str:
    """What an instance calls itself, and answers."""
    return instance.output().splitlines()[0]
