"""A client that comes anew all the time, and notes when it was answered."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import requests


class Prober:
    """Asks a URL over a new connection every `interval` seconds, whether the last one was answered or not."""

    def __init__(self, url: str, interval: float = 0.02, timeout: float = 1.0) -> None:
        self.answered: list[float] = []  # time.monotonic() of each 200
        self.failed: list[tuple[float, str]] = []
        self._url, self._interval, self._timeout = url, interval, timeout
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
            answer = requests.get(self._url, timeout=self._timeout)
        except requests.RequestException as error:
            self.failed.append((time.monotonic(), repr(error)))
            return
        if answer.status_code == 200:
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
