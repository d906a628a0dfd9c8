"""Free ports, none given out twice in a run."""

import os
import random
import socket

# Below the range that the system gives to outgoing connections.
_FIRST, _LAST = 12_000, 31_999
_given: set[int] = set()
_dice = random.Random(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = _dice.randint(_FIRST, _LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
