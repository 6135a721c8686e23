"""While commits wait for a replica that is gone, what does not write is served as ever, and no write is lost."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ballast.models import LoadQuery, User
from tests.conftest import PASSWORD
from tests.patience import eventually
from tests.processes import Service
from tests.replication import Pair, user_may_run_servers

pytestmark = pytest.mark.skipif(not user_may_run_servers(), reason="PostgreSQL refuses to run as root")


@pytest.fixture
def services(servers: Pair, tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    """Both on a primary whose commits wait for its replica, which also answers where a replica would."""
    servers.commit_synchronously()
    database = {
        "BALLAST_DATABASE_HOST": "127.0.0.1",
        "BALLAST_DATABASE_USER": "tests",
        "BALLAST_DATABASE_WRITE_PORT": str(servers.ports["default"]),
        "BALLAST_DATABASE_READ_PORT": str(servers.ports["default"]),
    }
    with (
        Service("web", tmp_path, BALLAST_THREADS="8", **database) as web,
        Service("wait", tmp_path, BALLAST_WAIT_THREADS="4", BALLAST_LOAD_QUERY_WAIT="0", **database) as wait,
    ):
        yield web, wait


def problem(answer: httpx.Response) -> str:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    return str(answer.json()["type"]).removeprefix("urn:ballast:problem:")


def answered_in_time(url: str) -> None:
    started = time.monotonic()
    assert httpx.get(url, timeout=20).status_code == 200, url
    assert time.monotonic() - started < 2, url


def test_writes_that_wait_take_neither_all_threads_nor_all_connections(
    servers: Pair, services: tuple[Service, Service], queue: None
) -> None:
    web, wait = services

    def sign_up(name: str) -> httpx.Response:
        return httpx.post(f"{web.url}/api/v1/users", json={"username": name, "password": PASSWORD}, timeout=60)

    def calculate() -> httpx.Response:
        return httpx.get(f"{wait.url}/api/v1/load-query/1", timeout=60)

    assert sign_up("before").status_code == 201
    servers.kill("replica")
    with ThreadPoolExecutor(80) as clients:
        signups: dict[str, Future[httpx.Response]] = {
            name: clients.submit(sign_up, name) for name in (f"user{k}" for k in range(60))
        }
        calculations = [clients.submit(calculate) for _ in range(20)]
        eventually(lambda: servers.waiting_commits() == 6)  # half of 8 threads, and of 4
        for path in ("/api/v1/ping", "/api/v1/users", "/api/v1/users/100001", "/health/live", "/health/ready"):
            answered_in_time(web.url + path)
        for path in ("/api/v1/long-query?seconds=0", "/health/live", "/health/ready"):
            answered_in_time(wait.url + path)
        assert httpx.get(f"{web.url}/health/ready").json()["checks"]["database_write"] is True
        told = [problem(each.result()) for each in (*signups.values(), *calculations)]
    assert told.count("outcome-unknown") == 6
    assert told.count("too-many-writes") == len(told) - 6

    # Nobody waits for those six any more, but PostgreSQL does: there must never be a seventh.
    assert problem(sign_up("another")) == problem(calculate()) == "too-many-writes"
    assert servers.waiting_commits() == 6

    servers.begin("replica")
    eventually(lambda: servers.waiting_commits() == 0)
    assert sign_up("after").status_code == 201
    assert calculate().status_code == 202
    unknown = [name for name, each in signups.items() if problem(each.result()) == "outcome-unknown"]
    names = set(User.objects.using("default").values_list("username", flat=True))
    assert names == {"before", "after", *unknown}
    assert LoadQuery.objects.using("default").count() == 3
