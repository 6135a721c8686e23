"""A load query is accepted whatever RabbitMQ does, and run when RabbitMQ is back."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.test import Client, override_settings
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from ballast import amqp, celery, deadline, load_queries
from ballast.middleware import RequestMiddleware
from ballast.models import LoadQuery
from tests.conftest import Worker
from tests.faults import HOST, Gate, Tries
from tests.test_load_queries import PATH, messages, outcome

Post = Callable[..., Any]


def variant(**changes: Any) -> Any:
    """The application's Celery app, configured a little differently."""
    other: Any = Celery("variant", set_as_current=False)
    other.conf.update(celery.app.conf.changes or {}, **changes)
    return other


@pytest.fixture
def gate(queue: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """The application reaches RabbitMQ, the real one, through this gate; so does a worker that is started now."""
    gate = Gate(settings.AMQP_HOST, settings.AMQP_PORT)
    gate.open()
    here = f"{settings.AMQP_HOST}:{settings.AMQP_PORT}"
    through = variant(broker_url=settings.CELERY_BROKER_URL.replace(here, f"{HOST}:{gate.port}"))
    monkeypatch.setattr(celery, "app", through)
    monkeypatch.setenv("BALLAST_AMQP_HOST", HOST)
    monkeypatch.setenv("BALLAST_AMQP_PORT", str(gate.port))
    yield gate
    through.pool.force_close_all()
    gate.refuse()


def accepted(post: Post, n: int = 10) -> str:
    """Where the outcome will be."""
    response = post(PATH, {"n": n})
    assert response.status_code == 202, response.content
    return str(response["Location"])


def sweep() -> int:
    with override_settings(SWEEP_AFTER=0):
        return load_queries.sweep()


def test_a_connection_that_went_stale_in_the_pool_costs_nothing(post: Post, no_worker: Worker, gate: Gate) -> None:
    accepted(post)
    assert messages() == 1
    gate.break_connections()  # as a restart of RabbitMQ does
    accepted(post)
    assert messages() == 2
    assert not load_queries.breaker.has_failed


@pytest.mark.parametrize("before", ["connected", "not connected"])
@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_query_is_accepted_and_few_wait(
    post: Post, no_worker: Worker, gate: Gate, fault: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before == "connected":
        accepted(post)
    getattr(gate, fault)()
    tries = Tries(load_queries.breaker, monkeypatch)
    for _ in range(10):
        accepted(post)
    assert tries.were_rare()
    assert set(LoadQuery.objects.values_list("state", flat=True)) == {"queued"}


def test_wherever_a_conversation_stops_it_is_given_up(
    post: Post, no_worker: Worker, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connect, open a channel, ask for confirms, declare, publish: RabbitMQ may fall silent after any of these."""
    celery.app.conf.broker_connection_timeout = 0.3
    accepted(post)
    whole, points = gate.answered, 12
    assert whole > 100
    monkeypatch.setattr(amqp, "PATIENCE", 0.3)
    monkeypatch.setattr(celery, "CONFIRM_TIMEOUT", 0.3)
    for point in range(points):
        gate.open()
        gate.hang(after=whole * point // points)
        load_queries.breaker.succeeded()
        accepted(post)
        assert load_queries.breaker.has_failed, f"not silent after {whole * point // points} of {whole} bytes"
        gate.refuse()
    gate.open()
    assert LoadQuery.objects.filter(state="queued").count() == points + 1


def test_a_request_waits_no_longer_than_it_may_in_all(
    post: Post, no_worker: Worker, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestMiddleware, "PATIENCE", 1.0)
    monkeypatch.setattr(amqp, "PATIENCE", 60.0)
    monkeypatch.setattr(celery, "CONFIRM_TIMEOUT", 60.0)
    accepted(post)
    gate.hang()
    with deadline.within(60):
        accepted(post)
        assert deadline.left(60) > 0
    assert load_queries.breaker.has_failed


def test_a_sweeper_does_not_wait_for_ever(no_worker: Worker, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock that keeps every other worker's sweeper out."""
    monkeypatch.setattr(amqp, "PATIENCE", 0.5)
    LoadQuery.objects.create(n=1, caller="test")
    before = gate.answered
    messages()
    gate.hang(after=(gate.answered - before) * 3 // 4)
    with pytest.raises((OperationalError, OSError)):
        sweep()
    gate.open()
    assert sweep() == messages() == 1


def test_what_was_accepted_meanwhile_is_run_when_rabbitmq_is_back(
    client: Client, post: Post, no_worker: Worker, gate: Gate
) -> None:
    no_worker.start()
    for fault in (gate.refuse, gate.hang):
        assert outcome(client, accepted(post, 9))["result"] == 34
        fault()
        locations = [accepted(post, n) for n in range(5)]
        gate.open()
        assert [outcome(client, location, 40)["result"] for location in locations] == [0, 1, 1, 2, 3]
        load_queries.breaker.succeeded()
    no_worker.stop()  # it knows the gate, which goes away now


def test_a_queue_that_is_full_leaves_the_row_to_the_sweeper(
    client: Client, post: Post, no_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{settings.QUEUE}_small"
    small = Queue(
        name,
        Exchange(name, type="direct"),
        routing_key=name,
        queue_arguments={**(celery.load_queries.queue_arguments or {}), "x-max-length": 1},
    )
    other = variant(task_queues=[small], task_default_queue=name)
    with monkeypatch.context() as patch, override_settings(QUEUE=name):
        patch.setattr(celery, "app", other)
        patch.setattr(celery, "load_queries", small)
        locations = [accepted(post, n) for n in range(8)]
        load_queries.breaker.succeeded()
        assert load_queries.publish([LoadQuery.objects.latest("created_at").pk]) == 0  # it is full
        assert set(LoadQuery.objects.values_list("state", flat=True)) == {"queued"}
        with other.connection_for_write() as connection:
            bound = small(connection.default_channel)
            bound.delete()
            bound.exchange.delete()
    no_worker.start()
    assert {outcome(client, location, 30)["state"] for location in locations} == {"done"}
