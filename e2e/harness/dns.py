"""DNS by the tools that people use: dig of BIND and kdig of Knot."""

import re
import subprocess
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What a tool printed."""

    text: str
    status: str = ""
    flags: tuple[str, ...] = ()
    answer: list[str] = field(default_factory=list)
    authority: list[str] = field(default_factory=list)
    additional: list[str] = field(default_factory=list)


SECTIONS = ("answer", "authority", "additional")


def read(text: str) -> Answer:
    """Reads what dig or kdig printed; records are sorted, since their order is by chance."""
    answer = Answer(text)
    status = re.search(r"status: (\w+)", text)
    flags = re.search(r"flags: ?([a-z ]*);", text, re.IGNORECASE)
    answer.status = status[1] if status else ""
    answer.flags = tuple(flags[1].split()) if flags else ()
    section = ""
    for line in text.splitlines():
        heading = re.match(r";; (\w+) (PSEUDO)?SECTION", line)
        if heading:
            section = heading[1].lower()
        elif line and not line.startswith(";") and section in SECTIONS:
            getattr(answer, section).append(" ".join(line.split()))
    for name in SECTIONS:
        getattr(answer, name).sort()
    return answer


def ask(tool: str, port: int, *words: str) -> Answer:
    """Runs `dig` or `kdig` against a server on this machine."""
    usual = ["+timeout=3", "+tries=1"] if tool == "dig" else ["+timeout=3", "+retry=0"]
    command = [tool, "@127.0.0.1", "-p", str(port), *usual, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return read(done.stdout + done.stderr)


def dig(port: int, *words: str) -> Answer:
    return ask("dig", port, *words)


def kdig(port: int, *words: str) -> Answer:
    return ask("kdig", port, *words)
