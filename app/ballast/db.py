"""What a request needs to know about PostgreSQL: where the WAL is, what a failure means, how long a write may wait."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connections, transaction

from ballast import deadline, metrics
from ballast.postgresql.pool import NoAnswer

READ_ONLY = "25006"
# As long as the oldest write is younger than this (seconds), writes come and go, and one more queues for its turn.
QUEUE_PATIENCE = 0.5


class OutcomeUnknown(Exception):
    """COMMIT was not answered: the write may have happened or not, so it must not be repeated blindly."""


class TooManyWrites(Exception):
    """As many writes as may are waiting for the database."""


def unavailable(error: BaseException) -> bool:
    """True if the database could not do its work, as opposed to refusing what it was asked."""
    if isinstance(error, InternalError):  # a demoted primary refuses writes as 'read-only transaction'
        return getattr(error.__cause__, "sqlstate", None) == READ_ONLY
    return isinstance(error, OperationalError | InterfaceError)


def discard_connections() -> None:
    """Forget this thread's connections; the next query takes another one, checked by the pool."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


class Writes:
    """A bulkhead: so many writes at a time, because those that wait for a commit must not take every thread.

    A write whose answer did not come in time gives its thread back, but keeps its place until the server has answered:
    the server still waits, with a connection of its own for each, and must not be made to do so any number of times.
    To cancel it there would make the commit visible without a replica that has it.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._changed = threading.Condition()
        self._started: list[float] = []  # when, of those that a thread waits for; the oldest first
        self._unanswered: list[socket.socket] = []

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises TooManyWrites."""
        with self._changed:
            self._forget_answered()
            now = time.monotonic()
            patience = max(0.0, self._started[0] + QUEUE_PATIENCE - now) if self._started else 0.0
            if not self._changed.wait_for(self._has_room, patience):
                raise TooManyWrites
            started = time.monotonic()
            self._started.append(started)
            self._observe()
        unanswered = None
        try:
            yield
        except OperationalError as error:
            if isinstance(error.__cause__, NoAnswer):
                unanswered = error.__cause__.socket
            raise
        finally:
            with self._changed:
                self._started.remove(started)
                if unanswered:
                    self._unanswered.append(unanswered)
                self._observe()
                self._changed.notify()

    def _observe(self) -> None:
        metrics.writes.set(len(self._started))
        metrics.unanswered_writes.set(len(self._unanswered))

    def _has_room(self) -> bool:
        return len(self._started) + len(self._unanswered) < self._places

    def _forget_answered(self) -> None:
        """An answer has arrived where there is something to read, be it the end of the connection."""
        poll = select.poll()
        for each in self._unanswered:
            poll.register(each, select.POLLIN)
        answered = {fileno for fileno, _ in poll.poll(0)}
        for each in [each for each in self._unanswered if each.fileno() in answered]:
            self._unanswered.remove(each)
            each.close()


writes = Writes(settings.MAX_WRITES)


@contextmanager
def write_transaction() -> Iterator[None]:
    """atomic() on the primary, with an end to its patience.

    It tells a write that failed from one whose outcome is unknown. Raises OutcomeUnknown and TooManyWrites.
    """
    committing = False
    try:
        with writes.place(), deadline.within(settings.DATABASE_PATIENCE), transaction.atomic(using="default"):
            yield
            committing = True
    except (OperationalError, InterfaceError) as error:
        if committing:
            raise OutcomeUnknown from error
        raise


# Positions in the WAL are bytes since its beginning, as numbers.
_FLUSHED = "SELECT pg_current_wal_flush_lsn() - '0/0'"
# (A replica that has replayed nothing since its start says NULL.)
_REPLAYED = """
SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_current_wal_flush_lsn() END - '0/0'
"""
# A position that no replica has.
END = 2**53


def position() -> int:
    """Where the primary's WAL is: after a commit, a replica that is there shows what was committed."""
    with connections["default"].cursor() as cursor:
        cursor.execute(_FLUSHED)
        return int(cursor.fetchone()[0])


def position_after_commit() -> int:
    """The same; END if the primary cannot say so any more, because the commit itself has succeeded."""
    try:
        return position()
    except (OperationalError, InterfaceError, InternalError):
        discard_connections()
        return END


def replica_has(position: int) -> bool:
    """True if the replica behind this thread's connection has replayed the WAL up to this position."""
    connection = connections["replica"]
    connection.ensure_connection()
    # The answer stays true as long as the connection lives: it ends at one replica, and replay does not go back.
    server = connection.connection
    if getattr(server, "replayed", -1) < position:
        with connection.cursor() as cursor:
            cursor.execute(_REPLAYED)
            server.replayed = int(cursor.fetchone()[0])
    return bool(server.replayed >= position)
