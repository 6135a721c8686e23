"""A load query that was accepted is run, whatever happens to Redis, RabbitMQ or a worker meanwhile."""

import json
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import states
from celery.result import AsyncResult
from django.db import connections
from django.test import Client, override_settings
from django.utils import timezone

from ballast import celery, load_queries
from ballast.models import LoadQuery
from ballast.results import CalculationFailed
from tests.conftest import Worker
from tests.patience import eventually
from tests.test_problems import assert_problem

Post = Callable[..., Any]
PATH = "/api/v1/load-queries"


def outcome(client: Client, location: str, seconds: float = 20) -> Any:
    """The query as the API tells it, once it is finished."""

    def finished() -> Any:
        answer = client.get(location)
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        return answer.json() if answer.json()["state"] in ("done", "failed") else None

    return eventually(finished, seconds)


def messages() -> int:
    return celery.messages_waiting()


def dead_letters() -> int:
    with celery.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel.queue_declare(celery.dead_letters.name, passive=True).message_count)


@pytest.mark.parametrize(("n", "result"), [(0, 0), (1, 1), (2, 1), (20, 6765), (21, 909), (30, 9006)])
def test_a_worker_calculates(client: Client, post: Post, worker: Worker, n: int, result: int) -> None:
    response = post(PATH, {"n": n})
    assert response.status_code == 202
    assert response["Retry-After"] == "1"
    query = outcome(client, response["Location"])
    assert (query["n"], query["state"], query["result"]) == (n, "done", result)
    assert query["created_at"] <= query["started_at"] <= query["finished_at"]


@pytest.mark.parametrize("n", [-1, 43, "35", 3.5, True, None, [], 10**30])
def test_n_is_a_whole_number_within_its_bounds(post: Post, n: Any) -> None:
    problem = assert_problem(post(PATH, {"n": n}), 400)
    assert problem["errors"][0]["field"] == "n"
    assert not LoadQuery.objects.exists()


def test_an_unknown_query_is_not_there(client: Client) -> None:
    assert_problem(client.get(f"{PATH}/{uuid.uuid4()}"), 404)
    assert_problem(client.get(f"{PATH}/1"), 404)


def test_the_same_key_is_the_same_query(post: Post, queue: None) -> None:
    first = post(PATH, {"n": 5}, {"Idempotency-Key": "k1"})
    again = post(PATH, {"n": 5}, {"Idempotency-Key": "k1"})
    assert first.status_code == again.status_code == 202
    assert first["Location"] == again["Location"]
    assert LoadQuery.objects.count() == 1
    assert assert_problem(post(PATH, {"n": 6}, {"Idempotency-Key": "k1"}), 422)["type"].endswith("key-reused")
    assert post(PATH, {"n": 5}, {"Idempotency-Key": "k2"})["Location"] != first["Location"]


def test_a_key_belongs_to_its_caller(queue: None) -> None:
    locations = {
        Client(REMOTE_ADDR=address).post(
            PATH, {"n": 5}, content_type="application/json", headers={"Idempotency-Key": "k"}
        )["Location"]
        for address in ("203.0.113.7", "203.0.113.8")
    }
    assert len(locations) == 2


def test_the_same_key_at_the_same_time_is_the_same_query(queue: None) -> None:
    def send(_: int) -> str:
        try:
            answer = Client().post(PATH, {"n": 5}, content_type="application/json", headers={"Idempotency-Key": "k"})
            assert answer.status_code == 202, answer.content
            return str(answer["Location"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(24)))) == 1
    assert LoadQuery.objects.count() == 1


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "\x01", "\xe9"])
def test_a_key_that_is_none_is_refused(post: Post, key: str) -> None:
    assert_problem(post(PATH, {"n": 5}, {"Idempotency-Key": key}), 400, "Idempotency-Key")


@override_settings(LOAD_QUERY_BACKLOG=3)
def test_a_full_backlog_refuses(post: Post, no_worker: Worker) -> None:
    assert [post(PATH, {"n": 1}).status_code for _ in range(4)] == [202, 202, 202, 503]
    response = post(PATH, {"n": 1})
    assert assert_problem(response, 503)["type"].endswith("backlog-full")
    assert response["Retry-After"]
    assert LoadQuery.objects.count() == 3


def test_redis_is_not_needed(client: Client, post: Post, worker: Worker, no_redis: None) -> None:
    response = post(PATH, {"n": 10})
    assert response.status_code == 202
    assert outcome(client, response["Location"])["result"] == 55


def test_celery_reads_the_row_as_the_result(post: Post, no_worker: Worker, no_redis: None) -> None:
    result: AsyncResult[int] = AsyncResult(post(PATH, {"n": 10})["Location"].rpartition("/")[2], app=celery.app)
    assert result.state == states.PENDING
    no_worker.start()
    assert result.get(timeout=20, interval=0.05) == 55
    assert result.successful()
    assert result.date_done == LoadQuery.objects.get().finished_at


def test_celery_reads_a_failed_row_as_a_failure(db: None) -> None:
    query = LoadQuery.objects.create(n=1, caller="test", state="failed", error="took too long")
    with pytest.raises(CalculationFailed, match="took too long"):
        AsyncResult(str(query.pk), app=celery.app).get(timeout=1)
    assert AsyncResult(str(uuid.uuid4()), app=celery.app).state == states.PENDING


def test_without_rabbitmq_a_query_is_accepted_and_run_later(
    client: Client, post: Post, no_worker: Worker, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("no_rabbitmq")
    response = post(PATH, {"n": 10})
    assert response.status_code == 202
    assert client.get(response["Location"]).json()["state"] == "queued"
    no_worker.start()  # its own RabbitMQ is well; the sweeper finds the row
    assert outcome(client, response["Location"])["result"] == 55


def test_the_sweeper_publishes_what_has_no_message_and_nothing_else(no_worker: Worker) -> None:
    lost = LoadQuery.objects.create(n=1, caller="test")
    with override_settings(SWEEP_AFTER=0):
        assert load_queries.sweep() == 1
        assert messages() == 1
        assert load_queries.sweep() == 0  # its message waits in the queue now
    assert messages() == 1
    LoadQuery.objects.update(state="done", result=1, finished_at=timezone.now())
    with override_settings(SWEEP_AFTER=0):
        assert load_queries.sweep() == 0
    lost.refresh_from_db()
    assert lost.state == "done"


def test_a_second_delivery_changes_nothing(client: Client, post: Post, worker: Worker) -> None:
    location = post(PATH, {"n": 12})["Location"]
    before = outcome(client, location)
    load_queries.publish([uuid.UUID(before["id"])] * 3)
    eventually(lambda: messages() == 0)
    marker = post(PATH, {"n": 1})["Location"]
    outcome(client, marker)
    assert client.get(location).json() == before
    assert LoadQuery.objects.get(pk=before["id"]).attempts == 1


def test_a_query_whose_worker_died_is_run_by_the_next(client: Client, post: Post, worker: Worker) -> None:
    location = post(PATH, {"n": 42})["Location"]
    eventually(lambda: client.get(location).json()["state"] == "running")
    worker.kill()
    assert client.get(location).json()["state"] == "running"
    worker.start()
    query = outcome(client, location, 60)
    assert (query["state"], query["result"]) == ("done", 6692)
    assert LoadQuery.objects.get(pk=query["id"]).attempts == 2


def test_a_query_that_keeps_killing_workers_is_given_up(client: Client, worker: Worker) -> None:
    query = LoadQuery.objects.create(n=1, caller="test", state="running", attempts=5)
    load_queries.publish([query.pk])
    told = outcome(client, f"{PATH}/{query.pk}")
    assert (told["state"], told["error"]) == ("failed", "given up after 5 attempts")
    assert eventually(dead_letters) == 1


@pytest.mark.parametrize("name", ["not-a-uuid", "", 5, None])
def test_a_message_that_makes_no_sense_ends_in_the_dead_letters(worker: Worker, name: Any) -> None:
    celery.app.send_task(celery.TASK, args=[name], queue=celery.load_queries.name, confirm_timeout=2)
    assert eventually(dead_letters) == 1


def test_a_message_for_a_row_that_is_gone_is_dropped(worker: Worker, post: Post, client: Client) -> None:
    load_queries.publish([uuid.uuid4()])
    assert outcome(client, post(PATH, {"n": 3})["Location"])["result"] == 2
    assert (messages(), dead_letters()) == (0, 0)


def test_the_request_id_reaches_the_worker(client: Client, post: Post, worker: Worker) -> None:
    location = post(PATH, {"n": 8}, {"X-Request-ID": "trace-me-please-1"})["Location"]
    query = outcome(client, location)
    load_queries.publish([uuid.UUID(query["id"])])

    def lines() -> list[Any]:
        parsed = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in parsed if line.get("request_id") == "trace-me-please-1"]

    assert eventually(lines)


def test_no_decision_rests_on_a_host_s_own_clock() -> None:
    """Rows carry the database's time; a worker whose clock is off would take waiting queries for lost ones."""
    package = Path(load_queries.__file__).parent
    clocks = re.compile(r"timezone\.now|datetime\.now|time\.time\(|date\.today")
    modules = list(package.rglob("*.py"))
    assert len(modules) > 20
    assert [module.name for module in modules if clocks.search(module.read_text())] == []
