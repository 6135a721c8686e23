"""Liveness and readiness. Readiness asks whether this host can serve, not whether everything is well."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

# Balancers ask often; the answer is made at most once in this time (seconds) per process.
KEEP = 1.0
# A check that takes longer counts as failed.
PATIENCE = 2.0

_lock = threading.Lock()
_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="health")
_redis: Redis | None = None
_checked_at = float("-inf")
_checks: dict[str, bool] = {}


def _database(alias: str) -> None:
    connection = connections[alias]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


def _ping_redis() -> None:
    global _redis
    if _redis is None:
        _redis = Redis.from_url(
            settings.CACHE_URL,
            socket_timeout=1,
            socket_connect_timeout=1,
            # A connection that broke while it was idle says nothing about Redis.
            retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
        )
    _redis.ping()


def _greet_rabbitmq() -> None:
    """RabbitMQ answers a protocol header with Connection.Start, before any credentials."""
    with socket.create_connection((settings.AMQP_HOST, settings.AMQP_PORT), timeout=1) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        if connection.recv(1) != b"\x01":
            raise OSError("RabbitMQ did not greet back")


CHECKS: dict[str, Callable[[], None]] = {
    "database_write": lambda: _database("default"),
    "database_read": lambda: _database("replica"),
    "redis": _ping_redis,
    "rabbitmq": _greet_rabbitmq,
}


def check_all() -> dict[str, bool]:
    """All checks at once, or what the last ones said if that is less than KEEP seconds ago."""
    global _checked_at, _checks
    with _lock:
        if time.monotonic() - _checked_at < KEEP:
            return _checks
        futures = {name: _pool.submit(check) for name, check in CHECKS.items()}
        wait(futures.values(), timeout=PATIENCE)
        _checks = {name: future.done() and future.exception() is None for name, future in futures.items()}
        _checked_at = time.monotonic()
        return _checks


def readiness() -> tuple[int, dict[str, Any], dict[str, str]]:
    """HTTP status, body and headers of /health/ready."""
    status, body = _readiness()
    headers = {"Cache-Control": "no-store"}
    return status, body, headers if status == 200 else {**headers, "Retry-After": "1"}


def _readiness() -> tuple[int, dict[str, Any]]:
    if Path(settings.DRAIN_FILE).exists():
        return 503, {"status": "draining", "checks": {}}
    checks = check_all()
    if not (checks["database_write"] or checks["database_read"]):
        return 503, {"status": "unavailable", "checks": checks}
    return 200, {"status": "ok" if all(checks.values()) else "degraded", "checks": checks}
