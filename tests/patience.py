"""Waiting for a state."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def eventually(
    ask: Callable[[], Answer],
    wanted: Callable[[Answer], object] = bool,
    *,
    seconds: float,
    pause: float = 0.5,
) -> Answer:
    """The first answer that is wanted. Fails with the last one when none is within so many seconds."""
    until = time.monotonic() + seconds
    while not wanted(answer := ask()):
        assert time.monotonic() < until, f"not within {seconds} s: {answer!r}"
        time.sleep(pause)
    return answer
