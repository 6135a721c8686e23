"""The 'wait' service: the endpoints whose requests only wait, on one event loop (uvicorn)."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ballast.settings")
os.environ.setdefault("BALLAST_SERVICE", "wait")

_django = get_asgi_application()

from ballast.requests import WaitRequest  # noqa: E402 - Django has its settings now

_django.request_class = WaitRequest


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Django, which would read a request's whole body before it looks at its head. Nobody here wants a body."""
    started = False

    async def receive_no_body() -> Any:
        nonlocal started
        if not started:
            started = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    await _django(scope, receive_no_body, send)
