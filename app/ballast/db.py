"""What a request needs to know about PostgreSQL: where the WAL is, and what a failure means."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, InternalError, OperationalError, connections, transaction

READ_ONLY = "25006"


class OutcomeUnknown(Exception):
    """The connection broke at COMMIT: the write may have happened or not, so it must not be repeated blindly."""


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


@contextmanager
def write_transaction() -> Iterator[None]:
    """atomic() on the primary that tells a failed write from one whose outcome is unknown."""
    committing = False
    try:
        with transaction.atomic(using="default"):
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
