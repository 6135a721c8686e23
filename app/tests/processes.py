"""The web and the wait service as they are run: gunicorn and uvicorn, as processes of their own."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, Self

import httpx
from django.db import connections

from tests.faults import HOST
from tests.patience import free_port

APP = Path(__file__).parents[1]


class Service:
    """A real process on the test's database and queue."""

    def __init__(self, name: Literal["web", "wait"], folder: Path, **environment: str) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.drain_file = folder / f"{name}.drain"
        self.log = folder / f"{name}.log"
        self.environment = {
            "BALLAST_SERVICE": name,
            f"BALLAST_{name.upper()}_BIND": f"{HOST}:{self.port}",
            "BALLAST_DRAIN_FILE": str(self.drain_file),
            "DJANGO_SETTINGS_MODULE": "ballast.settings",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        module = {
            "web": ("gunicorn", "-c", "python:ballast.gunicorn_conf", "ballast.wsgi:application"),
            "wait": ("ballast.asgi",),
        }[self.name]
        database = {"BALLAST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"])}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=APP,
                env=os.environ | database | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 30
        while not self._lives():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _lives(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        assert self.process
        self.process.terminate()

    def wait(self, seconds: float = 30) -> int:
        """The exit status."""
        assert self.process
        return self.process.wait(timeout=seconds)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)

    def exchange(self, request: bytes, *, then_close: bool = False, timeout: float = 10) -> httpx.Response:
        """Send bytes as they are; the answer, up to the end of the connection."""
        received = b""
        with socket.create_connection((HOST, self.port), timeout=timeout) as connection:
            try:
                connection.sendall(request)
                if then_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:  # it may answer, and close, before it has everything
                pass
            while not _complete(received):
                data = connection.recv(65536)
                if not data:
                    break
                received += data
        head, _, body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers: Any = [tuple(line.split(": ", 1)) for line in lines]
        return httpx.Response(int(status.split()[1]), headers=headers, content=body)


def _complete(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(separator) and len(body) >= int(line.partition(b":")[2])
    return False
