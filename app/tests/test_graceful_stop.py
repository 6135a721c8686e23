"""Stopping a process loses nothing: what it holds is answered, what it runs is finished."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from ballast.models import LoadQuery, User
from tests.conftest import Worker
from tests.patience import eventually
from tests.processes import Service
from tests.test_load_queries import PATH, messages, outcome

Post = Callable[..., Any]
SignUp = Callable[..., tuple[User, dict[str, Any]]]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Service]:
    with Service("web", tmp_path) as service:
        yield service


@pytest.fixture
def wait(tmp_path: Path) -> Iterator[Service]:
    with Service("wait", tmp_path) as service:
        yield service


def refuses(service: Service) -> bool:
    try:
        httpx.get(f"{service.url}/health/live", timeout=1)
    except httpx.TransportError:
        return True
    return False


def blocked_queries() -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


def test_web_answers_what_it_holds(web: Service, sign_up: SignUp) -> None:
    user, token = sign_up()

    def change(k: int) -> int:
        url = f"{web.url}/api/v1/users/{user.pk}"
        return httpx.patch(url, json={"name": f"name {k}"}, headers=token, timeout=30).status_code

    # As many as may write at a time, of 8 threads.
    with ThreadPoolExecutor(4) as pool:
        with transaction.atomic(using="default"):
            User.objects.using("default").select_for_update().get(pk=user.pk)
            answers = [pool.submit(change, k) for k in range(4)]
            eventually(lambda: blocked_queries() == 4)
            web.terminate()
            eventually(lambda: refuses(web))
        assert [answer.result() for answer in answers] == [200] * 4
    assert web.wait() == 0
    user.refresh_from_db(using="default")
    assert user.version == 5


def test_a_drained_web_process_stops_under_load_without_a_lost_request(web: Service) -> None:
    """As a deploy does it: readiness fails, the balancers stop sending, TERM."""
    drained = threading.Event()

    def send(k: int) -> list[int]:
        statuses: list[int] = []
        with httpx.Client(base_url=web.url, timeout=30) as client:
            while not drained.is_set():
                body = {"username": f"user-{k}-{len(statuses)}", "password": "long enough"}
                statuses.append(client.post("/api/v1/users", json=body, headers={"Connection": "close"}).status_code)
        return statuses

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(send, k) for k in range(6)]
        with httpx.Client(base_url=web.url) as balancer:
            assert balancer.get("/health/ready").status_code == 200
            web.drain_file.touch()
            assert balancer.get("/health/ready").status_code == 503
            served = User.objects.using("default").count()
            eventually(lambda: User.objects.using("default").count() > served + 10)  # everything else still goes on
            assert balancer.get("/api/v1/users").status_code == 200
            assert balancer.get("/health/live").status_code == 200
        drained.set()
        time.sleep(1)  # gunicorn drops what waits in its accept queue: the balancers have to be quiet before TERM
        web.terminate()
        statuses = [status for client in clients for status in client.result()]
    assert web.wait() == 0
    assert set(statuses) == {201}
    assert User.objects.using("default").count() == len(statuses)


def test_wait_answers_what_it_holds(wait: Service, queue: None) -> None:
    def get(path: str) -> tuple[int, Any]:
        answer = httpx.get(f"{wait.url}/api/v1/{path}", timeout=30)
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(21) as pool:
        waits = [pool.submit(get, "long-query?seconds=3") for _ in range(20)]
        calculation = pool.submit(get, "load-query/7")
        eventually(lambda: LoadQuery.objects.using("default").exists())
        eventually(lambda: b"ballast_held_requests 21.0" in httpx.get(f"{wait.url}/metrics").content)
        wait.terminate()
        eventually(lambda: refuses(wait))
        LoadQuery.objects.update(state="done", result=13, finished_at=timezone.now())
        status, body = calculation.result()
        assert (status, body["result"]) == (200, 13)
        assert [answer.result() for answer in waits] == [(200, {"waited": 3.0})] * 20
    wait.wait()


def test_a_worker_finishes_what_it_runs_and_leaves_the_rest(client: Client, post: Post, worker: Worker) -> None:
    running = [post(PATH, {"n": 42})["Location"] for _ in range(2)]
    eventually(lambda: {client.get(location).json()["state"] for location in running} == {"running"})
    waiting = [post(PATH, {"n": n})["Location"] for n in range(6)]
    worker.stop()
    assert [client.get(location).json()["result"] for location in running] == [6692, 6692]
    assert messages() == LoadQuery.objects.filter(state="queued").count()
    worker.start()
    assert [outcome(client, location)["state"] for location in waiting] == ["done"] * 6
    assert not LoadQuery.objects.exclude(attempts=1).exists()
