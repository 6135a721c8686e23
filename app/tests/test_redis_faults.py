"""Redis killed or frozen: every endpoint answers, rightly, and hardly anybody waits; and all is well again after."""

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings
from django_redis import get_redis_connection

from ballast import cache, changes, health
from ballast.models import LoadQuery, User
from tests.conftest import PASSWORD, Worker
from tests.faults import HOST, RedisServer, Tries
from tests.patience import eventually
from tests.test_load_queries import PATH, outcome

Post = Callable[..., Any]
SignUp = Callable[..., tuple[User, dict[str, Any]]]
FAULTS = ["kill", "hang"]


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def server(_server: RedisServer, _worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis of its own for the application, with the application's own options; running, empty."""
    _worker.stop()  # it would tell the usual Redis of changes, and forget them
    _server.kill()
    _server.start()
    caches = copy.deepcopy(settings.CACHES)
    caches["default"]["LOCATION"] = f"{_server.url}/0"
    monkeypatch.setattr(health, "_redis", None)
    stop = threading.Event()
    with override_settings(CACHES=caches, CACHE_URL=f"{_server.url}/0"), ThreadPoolExecutor(1) as pool:
        vouching = pool.submit(vouch_until, stop)
        yield _server
        stop.set()
        vouching.result()
        get_redis_connection("default").connection_pool.disconnect()
    health._redis = None


def vouch_until(stop: threading.Event) -> None:
    """What a worker does all the time: without it nobody believes what is in Redis."""
    delivery = changes.Delivery()
    while not stop.wait(changes.PAUSE):
        with contextlib.suppress(cache.CacheDown):
            delivery.round()
    with delivery._database as thread:
        thread.submit(connections.close_all)


def fresh_health() -> None:
    health._checked_at = float("-inf")


class Api:
    """Every endpoint once, with what has to come out."""

    def __init__(self, client: Client, post: Post, sign_up: SignUp) -> None:
        self.client, self.post, self.sign_up = client, post, sign_up

    def call(self, expected: int, method: str, path: str, body: Any = None, **headers: Any) -> Any:
        response = getattr(self.client, method)(path, body, content_type="application/json", headers=headers)
        assert response.status_code == expected, (method, path, response.content)
        return response

    def round(self, name: str) -> None:
        user, token = self.sign_up(name, name="before")
        path = f"/api/v1/users/{user.pk}"
        assert self.call(200, "get", "/api/v1/ping").json() == {"pong": True}
        assert self.call(200, "get", path).json()["name"] == "before"
        assert self.call(200, "patch", path, {"name": "after"}, **token).json()["name"] == "after"
        assert self.call(200, "get", path).json()["name"] == "after"
        assert name in [each["username"] for each in self.call(200, "get", "/api/v1/users").json()["results"]]
        self.call(201, "post", f"{path}/messages", {"text": "hello"}, **token)
        assert self.call(200, "get", f"{path}/messages").json()["results"][0]["text"] == "hello"
        newcomer = {"username": f"{name}-2", "password": PASSWORD}
        location = self.call(201, "post", "/api/v1/users", newcomer)["Location"]
        assert self.call(200, "get", location).json()["username"] == f"{name}-2"
        self.call(409, "post", "/api/v1/users", newcomer)
        self.call(201, "post", "/api/v1/tokens", newcomer)
        self.call(401, "post", "/api/v1/tokens", newcomer | {"password": "wrong"})
        query = self.call(202, "post", PATH, {"n": 5}, **token)["Location"]
        assert self.call(200, "get", query).json()["n"] == 5
        self.call(204, "delete", path, **token)
        self.call(404, "get", path)
        self.call(200, "get", "/health/live")
        self.call(200, "get", "/health/ready")


@pytest.fixture
def api(client: Client, post: Post, sign_up: SignUp) -> Api:
    return Api(client, post, sign_up)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_endpoint_answers_without_redis(
    api: Api, server: RedisServer, queue: None, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.round("with")
    getattr(server, fault)()
    fresh_health()
    tries = Tries(cache.breaker, monkeypatch)
    for k in range(3):
        api.round(f"without{k}")
    assert tries.were_rare(callers=2)  # a request, and who vouches


@pytest.mark.parametrize("fault", FAULTS)
def test_readiness_is_degraded_without_redis(client: Client, server: RedisServer, fault: str) -> None:
    assert client.get("/health/ready").json()["status"] == "ok"
    getattr(server, fault)()
    fresh_health()
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert [name for name, well in response.json()["checks"].items() if not well] == ["redis"]


@pytest.mark.parametrize("fault", FAULTS)
def test_reads_wait_for_a_dead_redis_about_once_a_second(
    client: Client, server: RedisServer, sign_up: SignUp, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _ = sign_up()
    path = f"/api/v1/users/{user.pk}"
    client.get(path)
    getattr(server, fault)()
    tries = Tries(cache.breaker, monkeypatch)
    reads = 0
    while tries.count < 4:
        response = client.get(path)
        assert response.status_code == 200
        assert response["X-Cache"] == "bypass"
        reads += 1
    assert tries.were_rare(callers=2)
    assert reads > tries.count


@pytest.mark.parametrize("fault", FAULTS)
def test_the_cache_is_right_and_used_again_when_redis_is_back(
    client: Client, server: RedisServer, sign_up: SignUp, fault: str
) -> None:
    """A frozen Redis comes back with the old entry in it, and with vouches on their way that froze, too."""
    user, token = sign_up(name="before")
    path = f"/api/v1/users/{user.pk}"
    eventually(lambda: client.get(path)["X-Cache"] == "hit")
    getattr(server, fault)()
    assert client.patch(path, {"name": "after"}, content_type="application/json", headers=token).status_code == 200
    if fault == "hang":
        server.resume()
    else:
        server.start()

    def used_again() -> bool:
        response = client.get(path)
        assert response.json()["name"] == "after"
        return bool(response["X-Cache"] == "hit")

    eventually(used_again, 10)
    fresh_health()
    assert client.get("/health/ready").json()["status"] == "ok"


@override_settings(TOKEN_RATE=2, SIGNUP_RATE=2)
@pytest.mark.parametrize("fault", FAULTS)
def test_throttles_let_everybody_through_without_redis_and_count_again_after(
    post: Post, server: RedisServer, fault: str
) -> None:
    wrong = {"username": "nobody", "password": "wrong"}

    def statuses() -> set[int]:
        return {post("/api/v1/tokens", wrong).status_code for _ in range(5)}

    assert statuses() == {401, 429}
    getattr(server, fault)()
    assert statuses() == {401}
    if fault == "hang":
        server.resume()
    else:
        server.start()
    eventually(lambda: 429 in statuses(), 10)


def test_a_worker_needs_no_redis(
    client: Client, post: Post, no_worker: Worker, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BALLAST_REDIS_HOST", HOST)
    monkeypatch.setenv("BALLAST_REDIS_PORT", str(server.port))
    monkeypatch.setenv("BALLAST_REDIS_USERNAME", "default")
    monkeypatch.setenv("BALLAST_REDIS_PASSWORD", "")
    monkeypatch.delenv("BALLAST_REDIS_PASSWORD_FILE", raising=False)
    no_worker.start()

    def all_done() -> None:
        locations = [post(PATH, {"n": n})["Location"] for n in range(20)]
        assert [outcome(client, location)["state"] for location in locations] == ["done"] * 20

    all_done()
    server.hang()
    all_done()
    server.kill()
    all_done()
    assert not LoadQuery.objects.exclude(attempts=1).exists()
    no_worker.stop()  # it knows a Redis that goes away now
