"""Errors as application/problem+json (RFC 9457), whoever raised them."""

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters
from rest_framework import exceptions, status
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from ballast import db
from ballast.logs import request_id

logger = logging.getLogger(__name__)

# Seconds after which a client whose request met an outage may come again.
RETRY_AFTER = 2


class Problem(exceptions.APIException):
    """An error of the API. `slug` names its kind for programs: it ends up in `type`."""

    def __init__(
        self,
        code: int,
        slug: str,
        detail: str,
        *,
        errors: Sequence[dict[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = code
        self.slug = slug
        self.errors = errors
        self.headers = headers or {}


def problem_response(
    code: int,
    detail: str,
    *,
    slug: str = "",
    errors: Sequence[dict[str, str]] = (),
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """The answer itself: type, title, status, detail, the request's id, and what was wrong where."""
    body: dict[str, Any] = {
        "type": f"urn:ballast:problem:{slug}" if slug else "about:blank",
        "title": HTTPStatus(code).phrase,
        "status": code,
        "detail": detail,
        "request_id": request_id.get(),
    }
    if errors:
        body["errors"] = list(errors)
    response = HttpResponse(json.dumps(body), status=code, content_type="application/problem+json", headers=headers)
    response["Cache-Control"] = "no-store"
    return response


def _flatten(detail: Any, where: str = "") -> list[dict[str, str]]:
    """DRF's nested errors as a list of {field, detail}; the empty field is the body as a whole."""
    if isinstance(detail, dict):
        return [
            error
            for name, inner in detail.items()
            for error in _flatten(inner, where if name == "non_field_errors" else f"{where}.{name}".strip("."))
        ]
    if isinstance(detail, list):
        return [error for inner in detail for error in _flatten(inner, where)]
    return [{"field": where, "detail": str(detail)}]


def database_unavailable() -> HttpResponse:
    response = problem_response(
        503,
        "The database cannot be reached at the moment; nothing was changed. Please repeat the request.",
        slug="database-unavailable",
        headers={"Retry-After": str(RETRY_AFTER)},
    )
    response.database_unavailable = True  # type: ignore[attr-defined]
    return response


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's hook: what a view raised, as a response; None for what is a bug, which becomes a 500."""
    if db.unavailable(error):
        logger.warning("The database is unavailable: %s", error)
        db.discard_connections()
        return database_unavailable()
    match error:
        case db.TooManyWrites():
            return problem_response(
                503,
                "Too many changes are waiting for the database; nothing was changed. Please repeat the request later.",
                slug="too-many-writes",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        case db.OutcomeUnknown():
            logger.error("The outcome of a write is unknown", exc_info=error)
            db.discard_connections()
            return problem_response(
                503,
                "The database did not say whether it committed the change: it may have been made or not. "
                "Look before you repeat the request.",
                slug="outcome-unknown",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        case Problem():
            return problem_response(
                error.status_code,
                str(error.detail),
                slug=error.slug,
                errors=error.errors,
                headers=error.headers,
            )
        case exceptions.ValidationError():
            errors = _flatten(error.detail)
            detail = "; ".join(f"{e['field']}: {e['detail']}" if e["field"] else e["detail"] for e in errors)
            return problem_response(error.status_code, detail, slug="invalid", errors=errors)
        case exceptions.APIException():
            headers = {}
            if challenge := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = challenge
            if wait := getattr(error, "wait", None):
                headers["Retry-After"] = str(max(1, round(wait)))
            return problem_response(error.status_code, str(error.detail), headers=headers)
        case Http404():
            return not_found()
        case PermissionDenied():
            return problem_response(403, "You may not do this.")
    return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(status.HTTP_400_BAD_REQUEST, "The request makes no sense.")


def not_found(request: HttpRequest | None = None, exception: Exception | None = None) -> HttpResponse:
    return problem_response(status.HTTP_404_NOT_FOUND, "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    return problem_response(
        status.HTTP_500_INTERNAL_SERVER_ERROR,
        "Something is wrong on our side. The request's id leads us to it.",
    )


class Parser(JSONParser):
    """DRF's. Nesting without end is the client's mistake, too."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as error:
            raise exceptions.ParseError("JSON parse error - nested too deeply") from error


class JSONOnly(BaseContentNegotiation):
    """JSON is all there is, so an Accept header changes nothing."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        content_type, parameters = parse_header_parameters(request.content_type or "")
        # JSON is UTF-8 (RFC 8259).
        if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            return None
        return next((parser for parser in parsers if parser.media_type == content_type.lower()), None)

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], str(renderers[0].media_type)
