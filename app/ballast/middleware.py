"""The outermost layer of both services: identity, limits, metrics, and a second try for safe requests."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ballast import db, deadline, metrics
from ballast.logs import request_id
from ballast.postgresql.base import breakers
from ballast.problems import problem_response
from ballast.routers import on_primary

logger = logging.getLogger(__name__)

SAFE = ("GET", "HEAD", "OPTIONS")
_METHODS = frozenset((*SAFE, "POST", "PUT", "PATCH", "DELETE"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_INTERNAL = ("/health/", "/metrics")


class RequestMiddleware:
    """Gives the request its id, refuses what no view should see, and counts it. Works sync and async."""

    # Seconds that a request of the web service waits for others, a write and what comes before and after it, but for a
    # last connection (2 s): nginx waits longer, so that a client learns of its commit. The views of the wait service
    # say themselves how long they take.
    AROUND_A_WRITE = 2.5
    PATIENCE = settings.DATABASE_PATIENCE + AROUND_A_WRITE

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        started = self._enter(request)
        with deadline.within(self.PATIENCE):
            response = self._refuse(request) or self.get_response(request)
        assert isinstance(response, HttpResponseBase)  # noqa: S101 - for the type checker
        return self._leave(request, response, started)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        started = self._enter(request)
        response: HttpResponseBase | None = self._refuse(request)
        if response is None:
            awaitable = self.get_response(request)
            assert isinstance(awaitable, Awaitable)  # noqa: S101 - for the type checker
            response = await awaitable
        return self._leave(request, response, started)

    def _enter(self, request: HttpRequest) -> float:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id.set(given if _REQUEST_ID.fullmatch(given) else uuid4().hex)
        return time.perf_counter()

    def _refuse(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.startswith(_INTERNAL):  # health checks come by address
            try:
                request.get_host()
            except DisallowedHost:
                return problem_response(400, "This host name is not served here.")
        if "HTTP_TRANSFER_ENCODING" in request.META:  # Django would read nothing (WSGI), or all there is (ASGI)
            return problem_response(411, "A request body needs a Content-Length.")
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > settings.MAX_BODY:
            return problem_response(413, f"A request body has at most {settings.MAX_BODY} bytes.")
        return None

    def _leave(self, request: HttpRequest, response: HttpResponseBase, started: float) -> HttpResponseBase:
        seconds = time.perf_counter() - started
        response["X-Request-ID"] = request_id.get()
        if isinstance(response, HttpResponse) and response.status_code not in (204, 304):
            response.headers.setdefault("Content-Length", str(len(response.content)))
        route = request.resolver_match.route if request.resolver_match else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method, route, str(response.status_code)).observe(seconds)
        metrics.observe_pools()
        if response.status_code >= 500:
            logger.warning(
                "Answered with an error",
                extra={
                    "method": method,
                    "path": request.path,
                    "status": response.status_code,
                    "seconds": round(seconds, 4),
                },
            )
        return response


class RetryMiddleware:
    """A request that changes nothing and met a broken database connection is run once more.

    It reads from the primary then, unless that is what did not answer: a replica may have caught up meanwhile.

    Requests that write read from the primary too, so that what they decide on is current.
    """

    # Seconds; a little more than the time-out of a connect. A first try that took longer met more than one address
    # that does not answer, and a second one would only double that.
    RETRY_PATIENCE = 2.5

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method not in SAFE:
            with on_primary():
                return self.get_response(request)
        started = time.monotonic()
        response = self.get_response(request)
        if getattr(response, "database_unavailable", False) and time.monotonic() - started < self.RETRY_PATIENCE:
            db.discard_connections()
            with on_primary(not breakers["default"].has_failed):
                response = self.get_response(request)
        return response
