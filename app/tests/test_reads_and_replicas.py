"""Reads go to the replicas, except for those that have to see what was just written."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ballast import problems
from ballast.db import OutcomeUnknown, write_transaction
from ballast.models import User
from ballast.routers import on_primary
from tests.conftest import PASSWORD
from tests.test_problems import assert_problem

SignUp = Callable[..., tuple[User, dict[str, Any]]]
Post = Callable[..., Any]


@pytest.fixture(autouse=True)
def _new_connections() -> Iterator[None]:
    yield
    connections.close_all()


def reads(client: Client, path: str, alias: str) -> int:
    """How many queries a GET sent to this database."""
    with CaptureQueriesContext(connections[alias]) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def test_a_stranger_reads_from_a_replica(client: Client, sign_up: SignUp) -> None:
    user, _ = sign_up()
    for path in ("/api/v1/users", f"/api/v1/users/{user.pk}"):
        assert reads(client, path, "replica") >= 1
    assert reads(client, "/api/v1/users", DEFAULT_DB_ALIAS) == 0


def test_inside_a_transaction_and_where_it_is_wanted_reads_stay_on_the_primary() -> None:
    assert User.objects.all().db == "replica"
    with on_primary():
        assert User.objects.all().db == DEFAULT_DB_ALIAS
    with transaction.atomic():
        assert User.objects.all().db == DEFAULT_DB_ALIAS


def _terminate(alias: str) -> None:
    """What a failover does to a connection in use."""
    connections[alias].ensure_connection()
    pid = connections[alias].connection.info.backend_pid
    other = DEFAULT_DB_ALIAS if alias == "replica" else "replica"
    with connections[other].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])  # waits until it is gone


def test_a_safe_request_survives_a_killed_connection(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from ballast import views

    calls = 0
    original = views.Users.list

    def killed_once(self: views.Users, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            _terminate("replica")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(views.Users, "list", killed_once)
    assert client.get("/api/v1/users").status_code == 200
    assert calls == 2


def test_a_write_is_not_repeated_but_told_to_come_back(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: User, **_: Any) -> None:
        _terminate(DEFAULT_DB_ALIAS)
        User.objects.using(DEFAULT_DB_ALIAS).count()

    body = {"username": "alice", "password": PASSWORD}
    with monkeypatch.context() as patch:
        patch.setattr(User, "save", killed)
        response = post("/api/v1/users", body)
    assert assert_problem(response, 503)["type"] == "urn:ballast:problem:database-unavailable"
    assert response["Retry-After"] == str(problems.RETRY_AFTER)
    assert post("/api/v1/users", body).status_code == 201


def test_a_commit_without_an_answer_is_reported_as_unknown(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    original = User.save

    def save(self: User, **options: Any) -> None:
        original(self, **options)
        _terminate(DEFAULT_DB_ALIAS)  # the COMMIT that follows finds the connection dead

    monkeypatch.setattr(User, "save", save)
    response = post("/api/v1/users", {"username": "alice", "password": PASSWORD})
    assert assert_problem(response, 503)["type"] == "urn:ballast:problem:outcome-unknown"


def test_an_error_before_the_commit_is_not_unknown() -> None:
    def fail() -> None:
        with write_transaction():
            raise OperationalError("deadlock")

    with pytest.raises(OperationalError):
        fail()
    assert not issubclass(OutcomeUnknown, OperationalError)
