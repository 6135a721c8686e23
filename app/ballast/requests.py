"""Requests whose address is UTF-8, whatever their body claims to be.

Django takes the charset of a Content-Type for the query string, too, before any middleware has seen the request: one
that Python knows and that is none of text, like rot13, would end in an error of the server.
"""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters


class _UTF8:
    content_type: str | None
    content_params: dict[str, str] | None

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class WebRequest(_UTF8, WSGIRequest):
    """Of the web service."""


class WaitRequest(_UTF8, ASGIRequest):
    """Of the wait service."""
