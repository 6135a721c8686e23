"""By when a request has to be answered, for every step on its way that waits for somebody."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_at: ContextVar[float] = ContextVar("deadline", default=float("inf"))  # monotonic


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Nothing in this block waits any longer than this, or than a block around it allows."""
    token = _at.set(min(time.monotonic() + seconds, _at.get()))
    try:
        yield
    finally:
        _at.reset(token)


def left(most: float) -> float:
    """Seconds that a step may wait: so many at most, and 0 when time is up."""
    return max(0.0, min(most, _at.get() - time.monotonic()))
