"""While commits wait for a replica that is gone, what does not write is served as ever, and no write is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ballast.models import LoadQuery, User
from tests.conftest import PASSWORD
from tests.patience import eventually
from tests.processes import Service
from tests.replication import Pair, user_may_run_servers

pytestmark = pytest.mark.skipif(not user_may_run_servers(), reason="PostgreSQL refuses to run as root")

PLACES = 6  # half of 8 threads, and of 4


@contextmanager
def services(servers: Pair, folder: Path, *, patience: int) -> Iterator[tuple[Service, Service]]:
    """Both on a primary whose commits wait for its replica, which also answers where a replica would."""
    servers.commit_synchronously()
    settings = {
        "BALLAST_DATABASE_HOST": "127.0.0.1",
        "BALLAST_DATABASE_USER": "tests",
        "BALLAST_DATABASE_WRITE_PORT": str(servers.ports["default"]),
        "BALLAST_DATABASE_READ_PORT": str(servers.ports["default"]),
        "BALLAST_DATABASE_PATIENCE": str(patience),
    }
    with (
        Service("web", folder, BALLAST_THREADS="8", **settings) as web,
        Service("wait", folder, BALLAST_WAIT_THREADS="4", BALLAST_LOAD_QUERY_WAIT="0", **settings) as wait,
    ):
        yield web, wait


def sign_up(web: Service, name: str) -> httpx.Response:
    return httpx.post(f"{web.url}/api/v1/users", json={"username": name, "password": PASSWORD}, timeout=60)


def calculate(wait: Service) -> httpx.Response:
    return httpx.get(f"{wait.url}/api/v1/load-query/1", timeout=60)


def problem(answer: httpx.Response) -> str:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    return str(answer.json()["type"]).removeprefix("urn:ballast:problem:")


def test_writes_that_wait_leave_threads_and_connections_to_others(servers: Pair, tmp_path: Path, queue: None) -> None:
    patience = 60
    with services(servers, tmp_path, patience=patience) as (web, wait), ThreadPoolExecutor(40) as clients:
        assert sign_up(web, "before").status_code == 201
        servers.kill("replica")
        answers = [clients.submit(sign_up, web, f"user{k}") for k in range(30)]
        answers += [clients.submit(calculate, wait) for _ in range(10)]
        eventually(lambda: sum(each.done() for each in answers) == len(answers) - PLACES, patience / 2)
        assert {problem(each.result()) for each in answers if each.done()} == {"too-many-writes"}
        assert servers.waiting_commits() == PLACES
        for path in ("/api/v1/ping", "/api/v1/users", "/api/v1/users/100001", "/health/live", "/health/ready"):
            assert httpx.get(web.url + path, timeout=20).status_code == 200, path
        for path in ("/api/v1/long-query?seconds=0", "/health/live", "/health/ready"):
            assert httpx.get(wait.url + path, timeout=20).status_code == 200, path
        assert httpx.get(f"{web.url}/health/ready").json()["checks"]["database_write"] is True
        assert sum(not each.done() for each in answers) == PLACES, "the writes did not wait meanwhile"
        servers.begin("replica")
        last = [each.result().status_code for each in answers]
        assert (last.count(201), last.count(202), last.count(503)) == (4, 2, len(answers) - PLACES)


def test_a_write_that_nobody_waits_for_keeps_its_place_and_is_not_lost(
    servers: Pair, tmp_path: Path, queue: None
) -> None:
    with services(servers, tmp_path, patience=1) as (web, wait), ThreadPoolExecutor(PLACES) as clients:
        assert sign_up(web, "before").status_code == 201
        servers.kill("replica")
        signups = {name: clients.submit(sign_up, web, name) for name in ("user1", "user2", "user3", "user4")}
        calculations = [clients.submit(calculate, wait) for _ in range(2)]
        told = [problem(each.result()) for each in (*signups.values(), *calculations)]
        assert told == ["outcome-unknown"] * PLACES

        # Nobody waits for those six any more, but PostgreSQL does: there must never be a seventh.
        assert problem(sign_up(web, "another")) == problem(calculate(wait)) == "too-many-writes"
        assert servers.waiting_commits() == PLACES

        servers.begin("replica")
        eventually(lambda: servers.waiting_commits() == 0)
        assert sign_up(web, "after").status_code == 201
        assert calculate(wait).status_code == 202
    assert set(User.objects.using("default").values_list("username", flat=True)) == {"before", "after", *signups}
    assert LoadQuery.objects.using("default").count() == 3
