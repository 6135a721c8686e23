"""The 'wait' service: the endpoints whose requests only wait, on one event loop: python -m ballast.asgi"""

import os
from typing import Any

import uvicorn
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ballast.settings")
os.environ.setdefault("BALLAST_SERVICE", "wait")

_django = get_asgi_application()

from ballast import env  # noqa: E402 - Django has its settings now
from ballast.requests import WaitRequest  # noqa: E402

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


if __name__ == "__main__":
    host, port = env.address("WAIT_BIND") or ("127.0.0.1", 8001)
    uvicorn.run(
        application,
        host=host,
        port=port,
        access_log=False,  # nginx logs every request
        proxy_headers=False,
        server_header=False,
        # nginx keeps its connections to us open for 30 s; we outlive that, so it never meets a closed one.
        timeout_keep_alive=75,
        # Above the longest request.
        timeout_graceful_shutdown=70,
    )
