"""Real services, one worker process, and no memory between tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
from celery import Celery
from django.db import connections
from django.test import Client
from django_redis import get_redis_connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ballast import cache, celery, changes, health, load_queries
from ballast.auth import issue_token
from ballast.models import User
from ballast.postgresql.base import breakers
from tests.patience import eventually, free_port
from tests.replication import Pair, pair

# Fixed examples: what fails once fails always, so there is nothing to remember between runs.
hypothesis.settings.register_profile("ballast", derandomize=True, database=None)
hypothesis.settings.load_profile("ballast")

PASSWORD = "correct horse battery"
APP = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test writes must be committed: other connections, and the worker, have to see it."""
    for item in items:
        if "tests/test_env" not in str(item.path):
            item.add_marker(pytest.mark.django_db(transaction=True, databases=["default", "replica"]))


@pytest.fixture(scope="session", autouse=True)
def _pools(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database cannot be dropped while a thread or the second pool holds a connection to it."""
    yield
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
        )
    for connection in connections.all():
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]


def empty(client: Redis) -> None:
    """Key by key: the application's user may not FLUSHDB."""
    for key in client.scan_iter():
        client.delete(key)


def deliver() -> None:
    """One round of a worker."""
    seen = changes.look(cache.vouch_until())
    if changes.deliver(seen):
        changes.forget(seen)


def vouch(client: Redis) -> None:
    """What a worker does all the time: whatever is in Redis counts from here on."""
    client.set(cache.VOUCHED, 0)


@pytest.fixture(autouse=True)
def redis() -> Iterator["Redis"]:
    client: Redis = get_redis_connection("default")
    empty(client)
    vouch(client)
    cache.breaker.succeeded()
    for breaker in breakers.values():
        breaker.succeeded()
    load_queries.breaker.succeeded()
    health._checked_at = float("-inf")
    yield client
    empty(client)


@pytest.fixture
def dead_port() -> int:
    return free_port()


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch, dead_port: int) -> None:
    """The application's Redis is gone: connections are refused."""
    gone = Redis(host="127.0.0.1", port=dead_port, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(cache, "get_redis_connection", lambda alias: gone)


@pytest.fixture
def no_rabbitmq(monkeypatch: pytest.MonkeyPatch, dead_port: int) -> None:
    """The application's RabbitMQ is gone: connections are refused."""
    gone = Celery("gone")
    gone.conf.update(celery.app.conf.changes or {}, broker_url=f"amqp://nobody:nothing@127.0.0.1:{dead_port}//")
    monkeypatch.setattr(celery, "app", gone)


@pytest.fixture
def sign_up() -> Callable[..., tuple[User, dict[str, Any]]]:
    """A user in the database, and the headers that speak for them."""

    def make(username: str = "alice", **fields: Any) -> tuple[User, dict[str, Any]]:
        user = User.objects.create(username=username, password="!", **fields)
        user.refresh_from_db(using="default")
        raw, _ = issue_token(user)
        return user, {"Authorization": f"Bearer {raw}"}

    return make


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """POST JSON."""

    def send(path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        return client.post(path, body, content_type="application/json", headers=headers)

    return send


@pytest.fixture
def queue() -> None:
    """The test's queues, empty."""
    with celery.app.connection_for_write() as connection:
        for each in (celery.dead_letters, celery.load_queries):
            bound = each(connection.default_channel)
            bound.declare()
            bound.purge()


@pytest.fixture
def servers(redis: "Redis", _worker: "Worker") -> Iterator["Pair"]:
    """A primary and a replica that the test may pause and kill. Django's databases are these meanwhile."""
    _worker.stop()  # it would vouch for positions in the WAL of another cluster
    vouch(redis)
    with TemporaryDirectory() as folder, pair(Path(folder)) as started:
        yield started


class Worker:
    """A real `celery worker` on the test's database and queue."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {
            "BALLAST_SERVICE": "worker",
            "BALLAST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
            "BALLAST_SWEEP_EVERY": "0.5",
            "BALLAST_SWEEP_AFTER": "0.5",
            "DJANGO_SETTINGS_MODULE": "ballast.settings",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "ballast.celery", "worker"],
                cwd=APP,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: " ready." in self.log.read_text() or self.process.poll() is not None, 60)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def kill(self) -> None:
        """As a power cut would: the whole process group at once."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)


@pytest.fixture(scope="session")
def _worker(django_db_setup: None, _pools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    worker = Worker(tmp_path_factory.mktemp("worker") / "log")
    yield worker
    worker.stop()
    with celery.app.connection_for_write() as connection:
        for each in (celery.dead_letters, celery.load_queries):
            each(connection.default_channel).delete()


@pytest.fixture
def worker(_worker: Worker, queue: None) -> Worker:
    """A worker that is running."""
    if _worker.process is None or _worker.process.poll() is not None:
        _worker.start()
    return _worker


@pytest.fixture
def no_worker(_worker: Worker, queue: None) -> Worker:
    """Nobody takes messages from the queue; start() the worker to change that."""
    _worker.stop()
    return _worker
