"""Each service tells Prometheus what it did, added up over its processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from ballast.models import User
from tests.conftest import Worker
from tests.faults import HOST
from tests.patience import eventually, free_port
from tests.processes import Service
from tests.test_load_queries import PATH, outcome

SignUp = Callable[..., tuple[User, dict[str, Any]]]


class Metrics:
    def __init__(self, url: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(httpx.get(url).text) for sample in family.samples
        ]

    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels; fails if there is none."""
        found = [each.value for each in self._samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, f"no {name} {labels}"
        return float(sum(found))


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    (tmp_path / "metrics").mkdir()

    def service(name: Literal["web", "wait"]) -> Service:
        return Service(
            name,
            tmp_path,
            BALLAST_METRICS_DIR=str(tmp_path / "metrics" / name),
            BALLAST_WEB_PROCESSES="2",
            BALLAST_THREADS="8",
        )

    with service("web") as web, service("wait") as wait:
        yield web, wait


def test_web_and_wait_count_requests_cache_reads_publishes_and_connections(
    services: tuple[Service, Service], sign_up: SignUp, queue: None
) -> None:
    web, wait = services
    user, _ = sign_up()
    url = f"{web.url}/api/v1/users"
    for _ in range(20):
        assert httpx.get(f"{url}/{user.pk}").status_code == 200
    assert httpx.get(f"{url}/0").status_code == 404
    assert httpx.post(f"{web.url}{PATH}", json={"n": 1}).status_code == 202

    def pools_are_seen() -> bool:
        told = Metrics(f"{web.url}/metrics")
        return told.of("ballast_database_pool_size", database="default") > 0

    eventually(pools_are_seen)
    told = Metrics(f"{web.url}/metrics")
    route = "api/v1/users/<int:user_id>"
    assert told.of("ballast_request_seconds_count", method="GET", route=route, status="200") == 20
    assert told.of("ballast_request_seconds_count", method="GET", route=route, status="404") == 1
    assert told.of("ballast_cache_reads_total", outcome="hit") == 19
    assert told.of("ballast_cache_reads_total", outcome="miss") == 2
    assert told.of("ballast_publishes_total", outcome="confirmed") == 1
    for database in ("default", "replica"):
        size = told.of("ballast_database_pool_size", database=database)
        assert 0 <= told.of("ballast_database_pool_available", database=database) <= size <= 16

    assert httpx.get(f"{wait.url}/api/v1/long-query?seconds=0").status_code == 200
    told = Metrics(f"{wait.url}/metrics")
    assert told.of("ballast_request_seconds_count", route="api/v1/long-query", status="200") == 1
    assert told.of("ballast_held_requests") == 0


def test_a_worker_counts_tasks_and_how_long_they_waited_and_took(
    client: Client, post: Callable[..., Any], no_worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = free_port()
    monkeypatch.setenv("BALLAST_WORKER_METRICS", f"{HOST}:{port}")
    monkeypatch.setenv("BALLAST_METRICS_DIR", str(tmp_path / "worker"))
    locations = [post(PATH, {"n": 12})["Location"] for _ in range(6)]
    no_worker.start()
    for location in locations:
        outcome(client, location)
    told = Metrics(f"http://{HOST}:{port}/metrics")
    assert told.of("ballast_tasks_total", outcome="done") == 6
    assert told.of("ballast_task_seconds_count") == 6
    assert told.of("ballast_task_seconds_sum") < 1
    assert told.of("ballast_queue_wait_seconds_count") == 6
    assert told.of("ballast_queue_wait_seconds_sum") > 0
    no_worker.stop()
