"""No read shows less than what was acknowledged before: whatever lags, is lost, or happens in between."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis import Redis

from ballast import cache, changes, db, users
from ballast.models import User, UserChange
from tests.conftest import PASSWORD, deliver, empty
from tests.replication import Pair, user_may_run_servers

SignUp = Callable[..., tuple[User, dict[str, Any]]]

pytestmark = pytest.mark.skipif(not user_may_run_servers(), reason="PostgreSQL refuses to run as root")


def queries(client: Client, path: str, alias: str) -> int:
    """How many queries for data a GET sent to this database."""
    with CaptureQueriesContext(connections[alias]) as captured:
        assert client.get(path).status_code == 200
    return sum("FROM" in query["sql"] for query in captured)


def test_a_read_after_a_write_sees_it_although_the_replica_does_not(
    client: Client, servers: Pair, sign_up: SignUp, redis: "Redis"
) -> None:
    user, headers = sign_up()
    me, messages = f"/api/v1/users/{user.pk}", f"/api/v1/users/{user.pk}/messages"
    deliver()
    servers.catch_up()
    assert [queries(client, path, "default") for path in (me, messages, "/api/v1/users")] == [0, 0, 0]

    servers.pause()
    json = "application/json"
    assert client.patch(me, {"name": "new"}, json, headers=headers).status_code == 200
    assert client.post(messages, {"text": "hello"}, json, headers=headers).status_code == 201
    body = {"username": "bob", "password": PASSWORD}
    bob = client.post("/api/v1/users", body, json)["Location"]
    assert User.objects.using("replica").get(pk=user.pk).name == ""
    stranger = Client(REMOTE_ADDR="203.0.113.7")
    for reader in (client, stranger):
        assert reader.get(me).json()["name"] == "new"
        assert [message["text"] for message in reader.get(messages).json()["results"]] == ["hello"]
        assert [each["username"] for each in reader.get("/api/v1/users").json()["results"]] == ["alice", "bob"]
        assert reader.get(bob).json()["username"] == "bob"
    assert client.delete(me, headers=headers).status_code == 204
    for path in (me, messages):
        assert client.get(path).status_code == 404


def test_tombstones_that_expired_while_a_replica_lagged_are_not_missed(
    client: Client, servers: Pair, sign_up: SignUp, redis: "Redis"
) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    servers.catch_up()
    servers.pause()
    client.patch(path, {"name": "new"}, "application/json", headers=headers)
    deliver()
    redis.delete(f"user:{user.pk}")  # a minute later
    assert client.get(path).json()["name"] == "new"
    assert client.get(path)["X-Cache"] == "hit"


def test_when_it_has_caught_up_reads_go_to_the_replica_again(client: Client, servers: Pair, sign_up: SignUp) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    client.patch(path, {"name": "new"}, "application/json", headers=headers)
    servers.catch_up()
    assert queries(client, path, "default") == 0
    assert queries(client, "/api/v1/users", "default") == 0


class Interleavings(RuleBasedStateMachine):
    """Readers and writers of one user, cut into their steps, with everything else that may happen in between."""

    servers: Pair
    redis: "Redis"
    count = 0

    @initialize()
    def begin(self) -> None:
        type(self).count += 1
        empty(self.redis)
        user = User.objects.create(username=f"user{self.count}", password="!", version=1)
        self.pk, self.version, self.acknowledged = user.pk, 1, 1
        self.readers: list[tuple[cache.Found, User | None]] = []
        self.replica_of_redis: dict[bytes, bytes] = {}
        self.servers.catch_up()
        deliver()

    def commit(self) -> None:
        self.version += 1
        with db.write_transaction():
            User.objects.filter(pk=self.pk).update(version=self.version, name=str(self.version))
            changes.record(self.pk, self.version)

    @rule()
    def write(self) -> None:
        self.commit()
        cache.changed("users", db.position_after_commit(), user_id=self.pk, version=self.version)
        self.acknowledged = self.version

    @rule()
    def commit_and_die(self) -> None:
        self.commit()

    @rule()
    def begin_to_read(self) -> None:
        found = cache.read_user(self.pk)
        self.readers.append((found, None if found.outcome == "hit" else users.fetch(self.pk, found)))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def finish_reading(self, data: Any) -> None:
        found, user = self.readers.pop(data.draw(st.integers(0, len(self.readers) - 1)))
        if user:
            cache.fill_user(self.pk, user.version, users.body_of(user), found.lease)

    @rule()
    def deliver(self) -> None:
        deliver()
        self.acknowledged = self.version  # nobody who is asked from now on may know less

    @rule()
    def pause(self) -> None:
        self.servers.pause()

    @rule()
    def resume(self) -> None:
        self.servers.resume()

    @rule()
    def lose_everything_in_redis(self) -> None:
        empty(self.redis)

    @rule()
    def replicate_redis(self) -> None:
        keys = [key for key in self.redis.scan_iter() if not key.endswith(b":fill") and key != cache.VOUCHED.encode()]
        self.replica_of_redis = dict(zip(keys, cast("list[bytes]", self.redis.mget(keys)), strict=True)) if keys else {}

    @rule()
    def fail_redis_over_to_a_replica_that_is_behind(self) -> None:
        """What lives shorter than a failover takes is gone."""
        empty(self.redis)
        for key, value in self.replica_of_redis.items():
            self.redis.set(key, value)

    @rule()
    def lose_the_tombstone_of_long_ago(self) -> None:
        """It expires long after the last round of delivery."""
        deliver()
        self.acknowledged = self.version
        if cast("bytes", self.redis.get(f"user:{self.pk}") or b"").endswith(b"\n"):
            self.redis.delete(f"user:{self.pk}")

    @rule()
    def read(self) -> None:
        answer = Client().get(f"/api/v1/users/{self.pk}")
        seen = int(answer["ETag"].strip('"'))
        assert self.acknowledged <= seen <= self.version
        assert answer.json()["name"] == ("" if seen == 1 else str(seen))

    def teardown(self) -> None:
        if hasattr(self, "pk"):
            self.read()
            deliver()
            self.acknowledged = self.version
            self.read()
        UserChange.objects.using("default").all().delete()


def test_in_every_order_of_readers_writers_lag_and_loss_nothing_old_is_read(
    servers: Pair, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FILL_PATIENCE", 0)
    Interleavings.servers, Interleavings.redis = servers, redis
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=120,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
