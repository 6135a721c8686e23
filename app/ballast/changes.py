"""Makes sure that Redis hears of every change of a user, and vouches for what it holds.

A change is recorded in the transaction that makes it. Whoever commits tells Redis at once; a thread of every worker
tells it again and only then forgets the record. So neither a process that dies after its commit, nor an outage of
Redis, nor a failover that loses its last writes, leaves an old entry behind.

Readers rely on Redis only while a worker vouches that it delivered every change that was committed before a certain
position of the WAL. A vouch holds for less than a second: a Redis that was away comes back without one, and its
entries count again when it has caught up.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError

from ballast import cache, db, metrics
from ballast.models import UserChange

logger = logging.getLogger(__name__)

# Seconds between two rounds: three in the time that a vouch holds.
PAUSE = 0.25
# How long a round waits for the database.
PATIENCE = 0.25
BATCH = 500


@dataclass(frozen=True, slots=True)
class Look:
    """What the primary said: where its WAL was, and the changes, oldest first; until when that may be relied on."""

    until: int
    position: int
    changes: list[UserChange]


def record(user_id: int, version: int) -> None:
    """In the transaction that changes or deletes the user."""
    UserChange.objects.create(user_id=user_id, version=version)


class Write:
    """A transaction that is under way, and the user that it changes or deletes, if any."""

    def __init__(self) -> None:
        self.user_id: int | None = None
        self.version = 0

    def changes(self, user_id: int, version: int) -> None:
        record(user_id, version)
        self.user_id, self.version = user_id, version


@contextmanager
def written(what: str) -> Iterator[Write]:
    """A write transaction after which reads of `what` see it, wherever they read.

    Raises what db.write_transaction raises; once it has committed nothing.
    """
    write = Write()
    with db.write_transaction():
        yield write
    cache.changed(what, db.position_after_commit(), user_id=write.user_id, version=write.version)


def look(until: int) -> Look:
    position = db.position()  # first: what was acknowledged before it is among the changes
    return Look(until, position, list(UserChange.objects.using("default").order_by("pk")[:BATCH]))


def deliver(seen: Look) -> bool:
    """Tell Redis of the changes, and vouch if these were all. True if they can be forgotten.

    Raises cache.CacheDown.
    """
    # The vouch ends so long after the question, however late Redis reads this (it may have been frozen meanwhile): that
    # bounds for how long a change may be overlooked that was committed since and of which Redis has not heard.
    until = seen.until if len(seen.changes) < BATCH else 0
    return cache.deliver([(change.user_id, change.version) for change in seen.changes], seen.position, until)


def forget(seen: Look) -> None:
    UserChange.objects.using("default").filter(pk__in=[change.pk for change in seen.changes]).delete()
    metrics.changes_delivered.inc(len(seen.changes))


class Delivery:
    """The rounds. The database is asked on a thread of its own, because one that hangs must not end the vouching."""

    def __init__(self) -> None:
        self._database = ThreadPoolExecutor(1, thread_name_prefix="changes-database")
        self._look: Future[Look] | None = None

    def round(self) -> None:
        """Raises cache.CacheDown."""
        if self._look is None:
            until = cache.vouch_until()
            self._look = self._database.submit(_or_new_connection, lambda: look(until))
        try:
            seen = self._look.result(PATIENCE)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            if self._look.done():
                self._look = None
            # Without a primary nothing is committed, so what was true a moment ago still is.
            logger.warning("Cannot ask for changes: %r", error)
            cache.vouch_again()
            return
        self._look = None
        if deliver(seen) and seen.changes:
            self._database.submit(_or_new_connection, lambda: forget(seen))

    def run(self, stop: threading.Event) -> None:
        """A round every PAUSE seconds until told to stop."""
        while not stop.wait(PAUSE):
            try:
                self.round()
            except cache.CacheDown:
                pass  # it has been logged; without a vouch everybody reads the primary
            except Exception:
                logger.exception("A delivery failed")
        self._database.shutdown(wait=False, cancel_futures=True)


def _or_new_connection[T](work: Callable[[], T]) -> T:
    """The work; if it fails, the next one gets a new connection."""
    try:
        return work()
    except Exception as error:
        logger.debug("Dropping the connection: %r", error)
        db.discard_connections()
        raise
