"""While PostgreSQL has no primary, writes are told to come back, at once, and reads go on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from redis import Redis

from ballast import cache, changes, health
from ballast.models import LoadQuery, User
from tests.conftest import PASSWORD
from tests.patience import eventually
from tests.replication import Pair, user_may_run_servers
from tests.test_problems import assert_problem

SignUp = Callable[..., tuple[User, dict[str, Any]]]
Post = Callable[..., Any]

pytestmark = pytest.mark.skipif(not user_may_run_servers(), reason="PostgreSQL refuses to run as root")


def test_reads_go_on_and_writes_come_back(
    client: Client, post: Post, servers: Pair, sign_up: SignUp, redis: "Redis"
) -> None:
    user, _ = sign_up()
    other, as_bob = sign_up("bob")
    open_query = LoadQuery.objects.create(n=1, caller="test")
    me = f"/api/v1/users/{user.pk}"
    assert client.get(me)["X-Cache"] == "miss"
    client.patch(f"/api/v1/users/{other.pk}", {"name": "new"}, "application/json", headers=as_bob)
    changes.deliver(changes.look(cache.vouch_until()))
    redis.persist("users:vouched")
    servers.catch_up()
    servers.kill("default")
    health._checked_at = float("-inf")

    body = {"username": "carol", "password": PASSWORD}
    refused = post("/api/v1/users", body)
    assert assert_problem(refused, 503)["type"].endswith("database-unavailable")
    assert refused["Retry-After"]

    for path, status in (
        (me, 200),
        (f"/api/v1/users/{other.pk}", 200),
        ("/api/v1/users/999999", 404),
        (f"{me}/messages", 200),
        ("/api/v1/users", 200),
        (f"/api/v1/load-queries/{open_query.pk}", 200),
        ("/api/v1/ping", 200),
        ("/health/ready", 200),
    ):
        assert client.get(path).status_code == status, path
    assert client.get("/health/ready").json()["checks"]["database_write"] is False

    with ThreadPoolExecutor(8) as pool:

        def write(_: int) -> int:
            try:
                return int(Client().post("/api/v1/load-queries", {"n": 1}, "application/json").status_code)
            finally:
                connections.close_all()

        assert set(pool.map(write, range(160))) == {503}

    servers.begin("default")
    eventually(lambda: post("/api/v1/users", body).status_code == 201, 10)
    assert [each["username"] for each in client.get("/api/v1/users").json()["results"]] == ["alice", "bob", "carol"]
