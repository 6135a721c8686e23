"""PostgreSQL connections of a process with many threads, kept from request to request.

A thread that finds no idle connection makes one itself. So it learns at once whether the database answers, nobody waits
for a background thread that is still busy with an address that has moved, and no limit is needed: there is at most one
connection a thread.

No wait for the server is endless. TCP notices a host that vanished, but not a server that only keeps silent, like a
primary whose commits wait for a replica that is gone.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings
from psycopg.pq import TransactionStatus

from ballast import deadline

# Seconds to wait for the answer to the question whether an idle connection still works. TCP itself needs 3 s to give
# one up whose other end vanished silently; a connection that is given up in haste only costs a new one.
CHECK_PATIENCE = 0.5
# Seconds: a connection is closed when it was idle for so long, or is so old.
MAX_IDLE = 60.0
MAX_AGE = 300.0


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. It may still be at work, and answers to `socket` when it is done."""

    def __init__(self, fileno: int) -> None:
        super().__init__("the database did not answer in time")
        self.socket = socket.socket(fileno=os.dup(fileno))


class Connection(psycopg.Connection[Any]):
    """psycopg's, with an end to its patience."""

    made_at = idle_since = 0.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is None:
            timeout = deadline.left(settings.DATABASE_PATIENCE)
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.errors._WaitTimeout as error:
            raise NoAnswer(self.pgconn.socket) from error

    def works(self) -> bool:
        try:
            with deadline.within(CHECK_PATIENCE):
                self.execute("")
        except psycopg.Error:
            return False
        return True


class Pool:
    """The connections that no thread has at the moment. Has the methods that Django calls of psycopg_pool's pool."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: deque[Connection] = deque()  # the one that was used last is at the right end
        self._taken = 0
        self._closed = False

    def open(self) -> None:
        """Django calls this before every getconn()."""

    def getconn(self) -> Connection:
        """A connection that works. Raises psycopg.OperationalError if there is no way to one."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            self._taken += 1
        try:
            if connection and not connection.works():
                connection.close()
                connection = None
                # What broke this one, a failover, broke the others too, and each could take a while to show it.
                self._close_idle()
            if connection is None:
                connection = self._connect()
                connection.made_at = time.monotonic()
        except BaseException:
            with self._lock:
                self._taken -= 1
            raise
        # Django gives it back to this.
        connection._pool = self
        return connection

    def putconn(self, connection: Connection) -> None:
        now = time.monotonic()
        connection._pool = None
        connection.idle_since = now
        idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        superfluous: Connection | None = connection
        with self._lock:
            self._taken -= 1
            if idle and not self._closed and now - connection.made_at < MAX_AGE:
                self._idle.append(connection)
                superfluous = self._idle.popleft() if now - self._idle[0].idle_since > MAX_IDLE else None
        if superfluous:
            superfluous.close()

    def close(self) -> None:
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()

    def sizes(self) -> tuple[int, int]:
        """How many connections there are, and how many of them are idle."""
        with self._lock:
            return self._taken + len(self._idle), len(self._idle)
