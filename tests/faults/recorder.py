"""Writes to every member of a cluster all the time, and keeps the ledger of what was acknowledged.

Each member has a writer of its own that asks nobody who leads: it tries, and the member takes the write,
refuses it, or leaves the writer without an answer. So a second primary cannot hide, and a member that is gone
delays no other writer.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class RefusedError(Exception):
    """The write certainly did not happen."""


class UnknownError(Exception):
    """The write may have happened or not."""


# Writes a number to one member. Returns the epoch: it grows when another member becomes the primary.
Writer = Callable[[int], int]


@dataclass(frozen=True)
class Write:
    """Times are those of time.monotonic()."""

    number: int
    member: str
    sent: float
    answered: float
    epoch: int


@dataclass(frozen=True)
class Figures:
    """What a fault cost. Seconds, and numbers of writes."""

    gap: float
    gap_after_healing: float
    acknowledged: int
    lost: int
    duplicated: int
    unanswered: int
    unanswered_kept: int


class Recorder:
    """Records while its `with` block runs. In it something is broken, once: `with record.fault(...)`.

    `wait_until_whole` returns once every member is back. The fault lasts from `begun` to `healed`.
    """

    def __init__(
        self,
        writers: Mapping[str, Writer],
        wait_until_whole: Callable[[], object],
        interval: float = 0.05,
    ) -> None:
        self.acknowledged: list[Write] = []
        self.unanswered: list[int] = []
        self.lost: list[Write] = []
        self.begun = self.healed = 0.0
        self._wait_until_whole = wait_until_whole
        self._numbers = itertools.count(1)
        self._interval = interval
        self._ending = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._record, args=item, name=item[0], daemon=True)
            for item in writers.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout=30)
        if kind is None:
            stuck = [thread.name for thread in self._threads if thread.is_alive()]
            assert not stuck, f"writers still wait for {stuck}, although all is healed"
            assert not self._errors, self._errors

    def _record(self, member: str, write: Writer) -> None:
        while not self._ending.is_set():
            number, sent = next(self._numbers), time.monotonic()
            try:
                epoch = write(number)
                self.acknowledged.append(Write(number, member, sent, time.monotonic(), epoch))
            except RefusedError:
                pass
            except UnknownError:
                self.unanswered.append(number)
            except BaseException as error:
                self._errors.append(error)
                raise
            self._ending.wait(self._interval)

    @contextmanager
    def fault(self, heal: Callable[[], object] = lambda: None) -> Iterator[None]:
        """The block breaks something. Writes are acknowledged before it, and again when all members are back.

        What ends by itself, such as a switchover, needs no healing.
        """
        self.wait_for_writes(since=0)
        self.begun = time.monotonic()
        try:
            yield
        finally:
            self.healed = time.monotonic()
            heal()
        self._wait_until_whole()
        self.wait_for_writes()

    def wait_for_writes(self, count: int = 20, *, since: float | None = None, give_up: float = 120) -> None:
        """Returns once `count` writes that were sent after `since`, by default now, are acknowledged."""
        since = time.monotonic() if since is None else since
        until = time.monotonic() + give_up
        while True:
            assert not self._errors, self._errors
            if sum(write.sent > since for write in self.acknowledged[-10 * count :]) >= count:
                return
            assert time.monotonic() < until, f"no {count} writes acknowledged within {give_up} s"
            time.sleep(0.1)

    def longest_gap(self, begin: float, end: float) -> float:
        """The longest time between two acknowledgements, in a stretch of time."""
        times = sorted(write.answered for write in self.acknowledged if begin <= write.answered <= end)
        return max(b - a for a, b in itertools.pairwise([begin, *times, end]))

    def check_one_primary(self) -> None:
        """No member acknowledged what was begun after a later primary had acknowledged something."""
        began: dict[int, float] = {}
        for write in self.acknowledged:
            began[write.epoch] = min(write.answered, began.get(write.epoch, write.answered))
        for write in self.acknowledged:
            later = [epoch for epoch, time in began.items() if epoch > write.epoch and time < write.sent]
            assert not later, f"{write} was acknowledged although the primary of epoch {later[0]} was at work"

    def compare(self, members: Mapping[str, Iterable[int]]) -> Figures:
        """Judges what each member holds after healing: lost is what one of them lacks."""
        acknowledged = {write.number for write in self.acknowledged}
        counts = {member: Counter(numbers) for member, numbers in members.items()}
        kept = set.intersection(*(set(count) for count in counts.values()))
        self.lost = [write for write in self.acknowledged if write.number not in kept]
        end = max(write.answered for write in self.acknowledged)
        return Figures(
            gap=round(self.longest_gap(self.begun, self.healed), 2),
            gap_after_healing=round(self.longest_gap(self.healed, end), 2),
            acknowledged=len(acknowledged),
            lost=len(self.lost),
            duplicated=sum(any(count[number] > 1 for count in counts.values()) for number in acknowledged),
            unanswered=len(self.unanswered),
            unanswered_kept=len(kept.intersection(self.unanswered)),
        )
