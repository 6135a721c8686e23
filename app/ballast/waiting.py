"""The wait service's views: plain async Django. A request that waits costs a coroutine, not a thread."""

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from ballast import health, load_queries, metrics
from ballast.client import client_address
from ballast.models import LoadQuery
from ballast.problems import exception_handler, problem_response
from ballast.serializers import LoadQuerySerializer

logger = logging.getLogger(__name__)

# Seconds between two looks at the rows that somebody waits for.
POLL = 0.03
# The same after a look that failed.
POLL_AFTER_ERROR = 0.25

_threads = ThreadPoolExecutor(max_workers=settings.WAIT_THREADS, thread_name_prefix="wait")
_in_flight = 0


async def _in_thread[T](work: Callable[[], T]) -> T:
    """Database work on one of a few threads, which gives its connection back afterwards."""

    def run() -> T:
        close_old_connections()
        try:
            return work()
        finally:
            if not connections["default"].in_atomic_block:
                connections.close_all()

    return await sync_to_async(run, thread_sensitive=False, executor=_threads)()


class Outcomes:
    """One poller for all who wait: a single query asks for all their rows at once, only while there are any."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, asyncio.Future[LoadQuery]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def of(self, pk: uuid.UUID, seconds: float) -> LoadQuery | None:
        """The finished query, or None if that takes longer."""
        future = self._waiting[pk] = asyncio.get_running_loop().create_future()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(pk, None)

    async def _poll(self) -> None:
        while self._waiting:
            try:
                finished = await _in_thread(lambda: _finished(list(self._waiting)))
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Cannot look for outcomes: %s", error)
                await asyncio.sleep(POLL_AFTER_ERROR)
                continue
            for query in finished:
                future = self._waiting.get(query.pk)
                if future and not future.done():
                    future.set_result(query)
            await asyncio.sleep(POLL)


def _finished(ids: Iterable[uuid.UUID]) -> list[LoadQuery]:
    return list(LoadQuery.objects.using("default").filter(pk__in=ids).exclude(state__in=LoadQuery.OPEN))


outcomes = Outcomes()


def _only_get(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    return problem_response(405, f"{request.method} is not possible here.", headers={"Allow": "GET, HEAD"})


def _busy() -> HttpResponse | None:
    if _in_flight < settings.WAIT_LIMIT:
        return None
    return problem_response(
        503, "Too many requests are waiting here.", slug="too-many-waiting", headers={"Retry-After": "1"}
    )


class _Held:
    """Counts the requests that this process holds."""

    def __enter__(self) -> None:
        global _in_flight
        _in_flight += 1
        metrics.held_requests.inc()

    def __exit__(self, *_: object) -> None:
        global _in_flight
        _in_flight -= 1
        metrics.held_requests.dec()


def default_wait() -> float:
    """Seconds that a long query takes if it names none."""
    return min(20.0, settings.LONG_QUERY_MAX)


async def long_query(request: HttpRequest) -> HttpResponse:
    """Wait `seconds`, then answer."""
    if refusal := _only_get(request) or _busy():
        return refusal
    try:
        seconds = float(request.GET.get("seconds", default_wait()))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= settings.LONG_QUERY_MAX:
        return problem_response(
            400, f"seconds: a number from 0 to {settings.LONG_QUERY_MAX:g} is needed.", slug="invalid"
        )
    with _Held():
        await asyncio.sleep(seconds)
    return JsonResponse({"waited": seconds}, headers={"Cache-Control": "no-store"})


async def load_query(request: HttpRequest, n: str) -> HttpResponse:
    """Run a calculation on a worker and answer with its outcome; 202 if that takes too long."""
    if refusal := _only_get(request) or _busy():
        return refusal
    limit = settings.LOAD_QUERY_MAX_N
    if not (n.isascii() and n.isdecimal() and len(n) <= 9 and int(n) <= limit):
        return problem_response(400, f"n: a whole number from 0 to {limit} is needed.", slug="invalid")
    caller = f"ip:{client_address(request)}"
    with _Held():
        try:
            query = await _in_thread(lambda: load_queries.submit(n=int(n), caller=caller))
        except Exception as error:
            if response := exception_handler(error, {}):
                return response
            raise
        finished = await outcomes.of(query.pk, settings.LOAD_QUERY_WAIT)
    return _answer(finished, query)


def _answer(finished: LoadQuery | None, query: LoadQuery) -> HttpResponse:
    location = f"/api/v1/load-queries/{query.pk}"
    headers = {"Cache-Control": "no-store"}
    if finished is None:
        return JsonResponse(
            LoadQuerySerializer(query).data,
            status=202,
            headers={**headers, "Location": location, "Retry-After": "1"},
        )
    if finished.state == LoadQuery.State.FAILED:
        # Not 500: this service did its part, and the worker behind it did not deliver.
        return problem_response(
            502,
            f"The calculation failed: {finished.error}.",
            slug="load-query-failed",
            headers={"Content-Location": location},
        )
    return JsonResponse(LoadQuerySerializer(finished).data, headers={**headers, "Content-Location": location})


async def live(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


async def ready(request: HttpRequest) -> HttpResponse:
    status, body, headers = await _in_thread(health.readiness)
    return JsonResponse(body, status=status, headers=headers)


async def metrics_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)
