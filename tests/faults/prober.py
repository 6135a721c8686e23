"""A client that comes anew all the time, and notes when it was answered."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import requests

import lab


class Prober:
    """Sends a request over a new connection every `interval` seconds, whatever became of the last one.

    A GET, to be answered 200; with a body it is a POST, to be answered 202.
    """

    def __init__(
        self, url: str, interval: float = 0.02, timeout: float = 1.0, body: dict[str, Any] | None = None
    ) -> None:
        self.answered: list[float] = []  # time.monotonic() of each success
        self.failed: list[tuple[float, str]] = []
        self._url, self._interval, self._timeout, self._body = url, interval, timeout, body
        self._method, self._success = ("GET", 200) if body is None else ("POST", 202)
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(int(2 * timeout / interval))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._ending.wait(self._interval):
            self._pool.submit(self._ask)

    def _ask(self) -> None:
        try:
            answer = requests.request(self._method, self._url, json=self._body, timeout=self._timeout)
        except requests.RequestException as error:
            self.failed.append((time.monotonic(), repr(error)))
            return
        if answer.status_code == self._success:
            self.answered.append(time.monotonic())
        else:
            self.failed.append((time.monotonic(), f"{answer.status_code} {answer.text[:100]}"))

    def wait_for_answers(self, count: int = 50, give_up: float = 60) -> None:
        """Returns once so many more were answered."""
        wanted, until = len(self.answered) + count, time.monotonic() + give_up
        while len(self.answered) < wanted:
            assert time.monotonic() < until, f"not answered {count} times within {give_up} s"
            time.sleep(0.02)

    def gap(self, since: float) -> float:
        """The longest time without an answer since a moment, in seconds."""
        times = sorted(each for each in self.answered if each >= since)
        return max(b - a for a, b in itertools.pairwise([since, *times]))


@contextmanager
def no_request_fails(interval: float = 0.05, timeout: float = 10) -> Iterator[None]:
    """Clients read and write through the edge, at a steady rate, before, in and after the block."""
    edge = f"http://{lab.variable('vip_edge')}/api/v1"
    read = Prober(f"{edge}/users?limit=1", interval, timeout)
    write = Prober(f"{edge}/load-queries", interval, timeout, body={"n": 1})
    with read, write:
        for each in (read, write):
            each.wait_for_answers(20)
        yield
        for each in (read, write):
            each.wait_for_answers(20)
    print(f"{len(read.answered)} reads and {len(write.answered)} writes were answered")
    assert (read.failed, write.failed) == ([], [])
