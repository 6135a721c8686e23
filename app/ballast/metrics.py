"""Prometheus metrics. With BALLAST_METRICS_DIR the processes of one service add up (one folder a service)."""

import os
import time

if _directory := os.environ.get("BALLAST_METRICS_DIR", "").strip():
    os.makedirs(_directory, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _directory

from django.db import connections
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST

requests = Histogram(
    "ballast_request_seconds",
    "Requests by route and status, and how long they took.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)
held_requests = Gauge("ballast_held_requests", "Requests that wait here.", multiprocess_mode="livesum")
cache_reads = Counter("ballast_cache_reads", "Reads of the user cache by outcome.", ["outcome"])
changes_delivered = Counter("ballast_changes_delivered", "Changes of users of which Redis surely heard.")
publishes = Counter("ballast_publishes", "Load queries sent to RabbitMQ by outcome.", ["outcome"])
tasks = Counter("ballast_tasks", "Load queries that a worker finished, by outcome.", ["outcome"])
task_seconds = Histogram(
    "ballast_task_seconds",
    "CPU-bound part of a load query.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
queue_wait_seconds = Histogram(
    "ballast_queue_wait_seconds",
    "From a load query's row to the start of its task.",
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
writes = Gauge("ballast_writes", "Write transactions in progress.", multiprocess_mode="livesum")
unanswered_writes = Gauge(
    "ballast_unanswered_writes",
    "Write transactions that nobody waits for any more, and PostgreSQL has not answered.",
    multiprocess_mode="livesum",
)
_POOL = {
    name: Gauge(f"ballast_database_pool_{name}", text, ["database"], multiprocess_mode="livesum")
    for name, text in {
        "size": "Connections of the pools to PostgreSQL.",
        "available": "Those that no request has at the moment.",
    }.items()
}
# Seconds between two looks at the pools.
_POOL_EVERY = 1.0
_pools_seen_at = 0.0


def observe_pools() -> None:
    """Keep the gauges of the connection pools current. Each process writes its own, so a scrape cannot do it."""
    global _pools_seen_at
    now = time.monotonic()
    if now - _pools_seen_at < _POOL_EVERY:
        return
    _pools_seen_at = now
    for alias in connections:
        if pool := connections[alias].pool:  # type: ignore[attr-defined]
            size, available = pool.sizes()
            _POOL["size"].labels(alias).set(size)
            _POOL["available"].labels(alias).set(available)


def registry() -> CollectorRegistry:
    """The process's own metrics, or the sum over the service's processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    combined = CollectorRegistry()
    MultiProcessCollector(combined)  # type: ignore[no-untyped-call]
    return combined


def exposition() -> bytes:
    return generate_latest(registry())


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that is gone; its counters stay in the sum."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
