"""The wait service: requests that wait cost next to nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import AsyncClient, override_settings

from ballast import waiting
from ballast.models import LoadQuery
from tests.conftest import Worker
from tests.test_problems import assert_problem

pytestmark = pytest.mark.urls("ballast.urls_wait")


@pytest.fixture(autouse=True)
def _wait_service() -> Iterator[None]:
    """The wait service has no synchronous middleware: that would need a thread for each request that waits."""
    with override_settings(MIDDLEWARE=["ballast.middleware.RequestMiddleware"]):
        yield
    waiting._threads.submit(connections.close_all).result()


def run(coroutine: Any) -> Any:
    async def main() -> Any:
        waiting.outcomes = waiting.Outcomes()
        return await coroutine

    return asyncio.run(main())


def test_many_long_queries_wait_at_once() -> None:
    async def main() -> tuple[list[Any], int]:
        client = AsyncClient()
        waits = asyncio.gather(*(client.get("/api/v1/long-query?seconds=2") for _ in range(300)))
        most = 0
        while not waits.done():
            most = max(most, waiting._in_flight)
            await asyncio.sleep(0.01)
        return await waits, most

    responses, most = run(main())
    assert [response.status_code for response in responses] == [200] * 300
    assert responses[0].json() == {"waited": 2.0}
    assert most > 10 * settings.WAIT_THREADS


@pytest.mark.parametrize("seconds", ["-1", "61", "nan", "inf", "x", "1e400"])
def test_a_wait_has_bounds(seconds: str) -> None:
    assert_problem(run(AsyncClient().get(f"/api/v1/long-query?seconds={seconds}")), 400, "seconds")


@pytest.mark.parametrize("n", ["-1", "43", "x", "1.5", "٣", "9" * 40])
def test_n_has_bounds(n: str) -> None:
    assert_problem(run(AsyncClient().get(f"/api/v1/load-query/{n}")), 400, "n:")


def test_only_get(worker: Worker) -> None:
    for path in ("/api/v1/long-query", "/api/v1/load-query/1"):
        response = run(AsyncClient().post(path))
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD"


@override_settings(WAIT_LIMIT=2)
def test_too_many_are_refused() -> None:
    async def main() -> list[Any]:
        client = AsyncClient()
        return await asyncio.gather(*(client.get("/api/v1/long-query?seconds=0.3") for _ in range(5)))

    assert sorted(response.status_code for response in run(main())) == [200, 200, 503, 503, 503]
    assert waiting._in_flight == 0


def test_the_outcome_is_the_answer(worker: Worker) -> None:
    async def main() -> list[Any]:
        client = AsyncClient()
        return await asyncio.gather(*(client.get(f"/api/v1/load-query/{n}") for n in range(20)))

    responses = run(main())
    assert [response.status_code for response in responses] == [200] * 20
    assert [response.json()["result"] for response in responses][:10] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    assert not waiting.outcomes._waiting


@override_settings(LOAD_QUERY_WAIT=0.2)
def test_what_takes_longer_is_to_be_fetched_later(no_worker: Worker) -> None:
    response = run(AsyncClient().get("/api/v1/load-query/5"))
    assert response.status_code == 202
    query = LoadQuery.objects.get()
    assert response["Location"] == f"/api/v1/load-queries/{query.pk}"
    assert response["Retry-After"] == "1"
    assert response.json()["state"] == "queued"


def test_a_calculation_that_failed_is_a_problem(no_worker: Worker) -> None:
    async def main() -> Any:
        answer = asyncio.create_task(AsyncClient().get("/api/v1/load-query/5"))
        for _ in range(100):
            await asyncio.sleep(0.05)
            if await LoadQuery.objects.using("default").aupdate(state="failed", error="out of luck"):
                break
        return await answer

    response = run(main())
    assert assert_problem(response, 502, "out of luck")["type"].endswith("load-query-failed")
    assert response["Content-Location"] == f"/api/v1/load-queries/{LoadQuery.objects.get().pk}"


@override_settings(LOAD_QUERY_BACKLOG=1, LOAD_QUERY_WAIT=0)
def test_a_full_backlog_refuses_here_too(no_worker: Worker) -> None:
    assert run(AsyncClient().get("/api/v1/load-query/5")).status_code == 202
    assert_problem(run(AsyncClient().get("/api/v1/load-query/5")), 503, "waiting")


def test_health_and_metrics_are_here_too(client: Any) -> None:
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").json()["status"] == "ok"
    assert b"ballast_request_seconds" in client.get("/metrics").content
