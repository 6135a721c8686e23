"""Cursor pagination: pages stay right while rows are added, and page 1,000 costs what page 1 does."""

import re
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

# What our links hold, decoded: backwards or not, and the id at which the page begins.
_CURSOR = re.compile(rb"r=1|(r=1&)?p=[0-9]{1,19}")


def _relative(link: str | None) -> str | None:
    """Links name no host: the address under which the client knows us is the client's business."""
    return link and urlsplit(link)._replace(scheme="", netloc="").geturl()


class Cursor(CursorPagination):
    ordering = "id"
    page_size = 50
    max_page_size = 100
    page_size_query_param = "limit"

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("limit")
        if given is None:
            return self.page_size
        if not (given.isascii() and given.isdecimal() and 1 <= int(given) <= self.max_page_size):
            raise ValidationError({"limit": [f"A whole number from 1 to {self.max_page_size}."]})
        return int(given)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        cursor, limit = super().get_schema_operation_parameters(view)
        limit["schema"] = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        cursor["description"] = "Where the page begins: take it from a link of a page, unchanged."
        return [cursor, limit]

    def decode_cursor(self, request: Request) -> Any:
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            ours = _CURSOR.fullmatch(b64decode(given, validate=True))
        except ValueError:
            ours = None
        if not ours:
            raise ValidationError({"cursor": ["Take it from a link of a page, unchanged."]})
        return super().decode_cursor(request)

    def get_next_link(self) -> str | None:
        return _relative(super().get_next_link())

    def get_previous_link(self) -> str | None:
        return _relative(super().get_previous_link())
