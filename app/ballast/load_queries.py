"""Accepting load queries: a row first, a message second, and a sweeper for messages that got lost."""

import logging
import threading
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.db.models import Max, Q
from django.db.models.functions import Now

from ballast import celery, metrics
from ballast.breaker import Breaker
from ballast.db import write_transaction
from ballast.logs import request_id
from ballast.models import LoadQuery
from ballast.problems import Problem

logger = logging.getLogger(__name__)

# A running query that is silent for this long (seconds) has lost its worker: more than the hard time limit.
ABANDONED = 120.0
SWEEP_BATCH = 200
_SWEEP_LOCK = 0x6C6F6164  # pg_advisory_lock's number for 'one sweeper at a time'

breaker = Breaker(pause=2.0)


def submit(*, n: int, caller: str, key: str | None = None) -> LoadQuery:
    """Commit a load query, then publish it. With a key, the same query again is the same row.

    Raises Problem 503 if too many wait already, 422 if the key was used for another n.
    """
    if key and (known := _known(caller, key)):
        return _same(known, n)
    if _backlog_is_full():
        raise Problem(
            503,
            "backlog-full",
            "Too many load queries are waiting. Please come back later.",
            headers={"Retry-After": "5"},
        )
    try:
        with write_transaction():
            query = LoadQuery.objects.using("default").create(n=n, caller=caller, idempotency_key=key)
    except IntegrityError:
        known = _known(caller, key) if key else None
        if known is None:
            raise
        return _same(known, n)
    publish([query.pk])
    return query


def _known(caller: str, key: str) -> LoadQuery | None:
    return LoadQuery.objects.using("default").filter(caller=caller, idempotency_key=key).first()


def _same(query: LoadQuery, n: int) -> LoadQuery:
    if query.n != n:
        raise Problem(422, "idempotency-key-reused", f"This Idempotency-Key was used before, for n = {query.n}.")
    return query


def _backlog_is_full() -> bool:
    limit: int = settings.LOAD_QUERY_BACKLOG
    return LoadQuery.objects.using("default").filter(state=LoadQuery.State.QUEUED)[limit - 1 : limit].exists()


def publish(ids: Iterable[uuid.UUID]) -> int:
    """Tell the workers about these rows; how many messages RabbitMQ confirmed. Never raises: rows stay queued."""
    sent = 0
    for pk in ids:
        if not breaker.allows():
            metrics.publishes.labels("skipped").inc()
            continue
        try:
            celery.publish(str(pk), request_id.get())
        except Exception as error:  # whatever it was: the row is safe, and the sweeper comes
            breaker.failed()
            metrics.publishes.labels("failed").inc()
            logger.warning("A load query was not published: %r", error, extra={"load_query": pk})
        else:
            breaker.succeeded()
            metrics.publishes.labels("confirmed").inc()
            sent += 1
    return sent


def _lost(empty: bool) -> Q:
    """Rows whose message is gone. A message in the queue may simply be waiting for a busy worker, so age alone
    proves nothing; but the queue is first in, first out: what is older than a running row was passed over."""
    # By the database's clock, which wrote the rows' times: no two hosts' clocks are compared.
    behind: Any = Now() - timedelta(seconds=settings.SWEEP_AFTER)
    if not empty:
        newest = (
            LoadQuery.objects.using("default")
            .filter(state=LoadQuery.State.RUNNING)
            .aggregate(at=Max("published_at"))["at"]
        )
        behind = newest - timedelta(seconds=settings.SWEEP_AFTER) if newest else None
    abandoned = Now() - timedelta(seconds=ABANDONED)
    lost = Q(state=LoadQuery.State.RUNNING, started_at__lt=abandoned, published_at__lt=abandoned)
    if behind:
        lost |= Q(state=LoadQuery.State.QUEUED, published_at__lt=behind)
    return lost


def sweep() -> int:
    """Publish again what has no message any more; how many were confirmed. One sweeper works at a time."""
    with transaction.atomic(using="default"):
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_SWEEP_LOCK])
            row = cursor.fetchone()
        if row is None or not row[0]:
            return 0
        open_rows = LoadQuery.objects.using("default").filter(state__in=LoadQuery.OPEN)
        if not open_rows.exists():
            return 0
        lost = open_rows.filter(_lost(empty=celery.messages_waiting() == 0))
        ids = list(lost.order_by("published_at").values_list("pk", flat=True)[:SWEEP_BATCH])
        LoadQuery.objects.using("default").filter(pk__in=ids).update(published_at=Now())
    sent = publish(ids)
    if ids:
        logger.info("Published %d of %d load queries again", sent, len(ids))
    return sent


def sweep_forever(stop: threading.Event) -> None:
    """The worker's thread: a sweep every SWEEP_EVERY seconds until told to stop."""
    while not stop.wait(settings.SWEEP_EVERY):
        try:
            sweep()
        except Exception as error:
            logger.warning("A sweep failed: %r", error)
        finally:
            connections.close_all()
