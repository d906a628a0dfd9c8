"""Free ports, none given out twice in a run."""

import os
import random
import socket

# Below the range that the system gives to outgoing connections; each process of a run has a part of its own.
_RANGE = range(12_000, 32_000)
_PART, _WORKERS = (int(os.environ.get(f"PYTEST_XDIST_WORKER{name}", default).removeprefix("gw"))
                   for name, default in (("", "gw0"), ("_COUNT", "1")))
# A worker that takes the place of one that crashed has the next number.
_REPLACEMENTS = 8
_OWN = _RANGE[_PART::_WORKERS + _REPLACEMENTS]
_given: set[int] = set()
_dice = random.Random(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = _dice.choice(_OWN)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
