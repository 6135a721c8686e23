"""Writes go to the primary, reads to the replicas, unless the caller has to see what was just written."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import transaction
from django.db.models import Model

from ballast import cache, db

_on_primary: ContextVar[bool] = ContextVar("on_primary", default=False)


@contextmanager
def on_primary(wanted: bool = True) -> Iterator[None]:
    """Send the reads of this block to the primary too."""
    token = _on_primary.set(wanted or _on_primary.get())
    try:
        yield
    finally:
        _on_primary.reset(token)


def reads_replica(position: int) -> bool:
    """True if this block's reads go to a replica, and that has replayed the WAL up to the position."""
    return not _on_primary.get() and db.replica_has(position)


@contextmanager
def current(*what: str) -> Iterator[None]:
    """Reads of this block see every acknowledged write of all this: on a replica that has it, or on the primary."""
    try:
        replica_will_do = reads_replica(cache.last_write(*what))
    except cache.CacheDown:
        replica_will_do = False
    with on_primary(not replica_will_do):
        yield


class ReplicaRouter:
    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        if _on_primary.get() or transaction.get_connection("default").in_atomic_block:
            return "default"
        return "replica"

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"

    def allow_relation(self, first: Model, second: Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"
