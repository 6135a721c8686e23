"""The worker's side of a load query."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from celery import Task
from celery.exceptions import Reject, SoftTimeLimitExceeded
from celery.signals import worker_ready, worker_shutdown
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import F
from django.db.models.functions import Now
from prometheus_client import start_http_server

from ballast import celery, changes, db, load_queries, metrics
from ballast.kernel import fib
from ballast.logs import request_id
from ballast.models import LoadQuery

logger = logging.getLogger(__name__)

# Times that a query may be started: a calculation that kills its worker must not kill them all, for ever.
MAX_ATTEMPTS = 5
# Seconds to wait for the database inside a task: longer than a failover.
PATIENCE = 45.0

_stop = threading.Event()


def _insist[T](work: Callable[[], T]) -> T:
    """Do a piece of database work, again and again while the database is away, until PATIENCE runs out."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.1
    while True:
        try:
            return work()
        except (DatabaseError, InterfaceError) as error:
            db.discard_connections()
            if not db.unavailable(error) or time.monotonic() + pause > deadline:
                raise
            logger.warning("The database is unavailable, trying again: %s", error)
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


def _open_query(pk: uuid.UUID) -> Any:
    return LoadQuery.objects.using("default").filter(pk=pk, state__in=LoadQuery.OPEN)


def _start(pk: uuid.UUID) -> LoadQuery | None:
    """Claim the query; None if it is finished already (a second delivery) or unknown."""
    changed = _open_query(pk).update(state=LoadQuery.State.RUNNING, started_at=Now(), attempts=F("attempts") + 1)
    return LoadQuery.objects.using("default").get(pk=pk) if changed else None


def _finish(pk: uuid.UUID, **outcome: Any) -> None:
    """Write the outcome, unless another delivery of the same query has done so."""
    _insist(lambda: _open_query(pk).update(finished_at=Now(), **outcome))
    metrics.tasks.labels(outcome["state"]).inc()


@celery.app.task(bind=True, name=celery.TASK)
def run_load_query(self: "Task[[str], int | None]", query_id: str) -> int | None:
    """Calculate one row. Any number of deliveries of the same row end in the same state."""
    request_id.set(str(self.request.get("request_id") or ""))
    try:
        pk = uuid.UUID(query_id)
    except (ValueError, AttributeError, TypeError) as error:
        logger.error("A message that names no load query goes to the dead letters")
        raise Reject("no load query", requeue=False) from error
    query = _insist(lambda: _start(pk))
    if query is None:
        logger.info("Nothing left to do", extra={"load_query": pk})
        return None
    if query.attempts > MAX_ATTEMPTS:
        _finish(pk, state=LoadQuery.State.FAILED, error=f"given up after {MAX_ATTEMPTS} attempts")
        logger.error("A load query was given up", extra={"load_query": pk, "attempt": query.attempts})
        raise Reject("too many attempts", requeue=False)
    if query.started_at:
        waited = (query.started_at - query.created_at).total_seconds()
        metrics.queue_wait_seconds.observe(max(0.0, waited))
    started = time.perf_counter()
    try:
        result = int(fib(query.n))
    except SoftTimeLimitExceeded:
        _finish(pk, state=LoadQuery.State.FAILED, error="took too long")
        raise
    metrics.task_seconds.observe(time.perf_counter() - started)
    _finish(pk, state=LoadQuery.State.DONE, result=result)
    return result


@worker_ready.connect
def _begin(**_: Any) -> None:
    """Make sure that dead letters have somewhere to go; sweep, and deliver changes, as long as this worker lives."""
    with celery.app.connection_for_write() as connection:
        celery.dead_letters(connection.default_channel).declare()
    if settings.WORKER_METRICS:
        host, port = settings.WORKER_METRICS
        start_http_server(port, host, registry=metrics.registry())
    threading.Thread(target=load_queries.sweep_forever, args=[_stop], name="sweeper", daemon=True).start()
    threading.Thread(target=changes.Delivery().run, args=[_stop], name="changes", daemon=True).start()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    _stop.set()
