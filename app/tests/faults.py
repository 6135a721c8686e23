"""Faults that really happen: a Redis of the test's own to kill or freeze, and a gate in front of any TCP service.

Who waits for something that never answers, and answers all the same, has a limit. Tests do not ask how long it is: on a
busy machine that is anything. They count who waited.
"""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ballast.breaker import Breaker
from tests.patience import free_port

HOST = "127.0.0.1"


class RedisServer:
    """A real redis-server that a test may do anything to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder), "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        with Redis(host=HOST, port=self.port, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                with contextlib.suppress(RedisError):
                    client.ping()
                    return
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """Connections are refused afterwards. Nothing was saved."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=10)

    def hang(self) -> None:
        """The kernel still accepts connections and bytes, but nobody answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


class Tries:
    """How often a breaker let somebody wait in vain, from here on."""

    def __init__(self, breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._pause = breaker.pause
        self._started = time.monotonic()
        failed = breaker.failed

        def count() -> None:
            self.count += 1
            failed()

        monkeypatch.setattr(breaker, "failed", count)

    def were_rare(self, callers: int = 1) -> bool:
        """Each caller may be the first to notice; then there is one try in a pause, however slow everything else is."""
        return 0 < self.count <= callers + (time.monotonic() - self._started) / self._pause


class Gate:
    """Forwards TCP connections to a service, until it is told to refuse them or to hold every byte back."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._flowing = threading.Event()
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()
        self._allowance: int | None = None
        self.answered = 0  # bytes that came from the service

    def open(self) -> None:
        """Forward; what was held back goes on its way first."""
        self._allowance = None
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port), backlog=128)
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def hang(self, after: int = 0) -> None:
        """Connections, old and new, stay up and carry nothing, once the service has answered so many bytes more."""
        if after:
            self._allowance = after
        else:
            self._flowing.clear()

    def refuse(self) -> None:
        """Break every connection and refuse new ones."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would not wake accept()
            self._listener.close()
            self._listener = None
        self.break_connections()
        self._flowing.set()

    @property
    def connections(self) -> int:
        """How many it carries at the moment."""
        with self._lock:
            return len(self._ends - self._forgotten) // 2

    def forget_connections(self) -> None:
        """As a balancer that lost its power does: what old connections send vanishes, and new ones work."""
        with self._lock:
            self._forgotten |= self._ends

    def break_connections(self) -> None:
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=[near], daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._flowing.wait()
        try:
            far = socket.create_connection(self.target, timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._ends |= {near, far}
        other = threading.Thread(target=self._pump, args=[far, near, True], daemon=True)
        other.start()
        self._pump(near, far, False)
        other.join()
        with self._lock:
            self._ends -= {near, far}
            self._forgotten -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self._allowance is not None and self._flowing.is_set():
                    passing, data = data[: self._allowance], data[self._allowance :]
                    sink.sendall(passing)
                    self._allowance -= len(passing)
                    if not self._allowance:
                        self._flowing.clear()
                self._flowing.wait()
                if source in self._forgotten:
                    continue
                sink.sendall(data)
                if answers:
                    self.answered += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
