"""Readiness: 503 without any database or while draining; degraded without Redis or RabbitMQ."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from ballast import health


@pytest.fixture
def drain() -> Iterator[Path]:
    path = Path(settings.DRAIN_FILE)
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def fail() -> None:
    raise OSError("gone")


def test_all_is_well(client: Client) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "checks": {"database_write": True, "database_read": True, "redis": True, "rabbitmq": True},
    }
    assert client.get("/health/live").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "dead", [["redis"], ["rabbitmq"], ["redis", "rabbitmq"], ["database_write"], ["database_read"]]
)
def test_a_part_that_is_missing_degrades(client: Client, monkeypatch: pytest.MonkeyPatch, dead: list[str]) -> None:
    for name in dead:
        monkeypatch.setitem(health.CHECKS, name, fail)
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert [name for name, well in response.json()["checks"].items() if not well] == sorted(
        dead, key=list(health.CHECKS).index
    )


def test_a_rabbitmq_that_does_not_greet_is_dead(
    client: Client, monkeypatch: pytest.MonkeyPatch, dead_port: int
) -> None:
    monkeypatch.setattr(settings, "AMQP_PORT", dead_port)
    assert client.get("/health/ready").json()["checks"]["rabbitmq"] is False


def test_no_database_at_all_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "database_write", fail)
    monkeypatch.setitem(health.CHECKS, "database_read", fail)
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_draining_is_not_ready_at_once(client: Client, drain: Path) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "draining"
    assert client.get("/api/v1/ping").status_code == 200
    drain.unlink()
    assert client.get("/health/ready").status_code == 200


def test_a_check_that_hangs_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    answers = threading.Event()
    monkeypatch.setitem(health.CHECKS, "redis", answers.wait)
    assert client.get("/health/ready").json()["checks"]["redis"] is False
    answers.set()


def test_balancers_that_ask_often_do_not_cause_checks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setitem(health.CHECKS, "redis", lambda: calls.append(1))
    for _ in range(20):
        client.get("/health/ready")
    assert len(calls) == 1
