"""What tests of processes need: a port for them, and the patience until something is so."""

import contextlib
import random
import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port of this host on which nobody listens, above those that Linux gives to outgoing connections."""
    while True:
        port = random.randrange(61000, 65536)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def eventually[T](condition: Callable[[], T], seconds: float = 15) -> T:
    """What the condition returns as soon as that is true; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value
