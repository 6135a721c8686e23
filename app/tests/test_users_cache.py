"""GET /users/{id} comes out of Redis, and is never older than what was read or written before."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from ballast import cache
from ballast.models import User
from tests.conftest import empty, vouch
from tests.faults import Tries
from tests.test_problems import assert_problem

SignUp = Callable[..., tuple[User, dict[str, Any]]]


def test_the_first_read_fills_and_the_second_hits(client: Client, sign_up: SignUp, redis: "Redis") -> None:
    user, _ = sign_up()
    path = f"/api/v1/users/{user.pk}"
    first, second = client.get(path), client.get(path)
    assert (first["X-Cache"], second["X-Cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert first["ETag"] == second["ETag"] == '"1"'
    # The format that other programs read.
    assert redis.get(f"user:{user.pk}") == b"1\n" + first.content
    assert 260 <= redis.ttl(f"user:{user.pk}") <= 330


def test_a_client_that_knows_the_version_is_told_so(client: Client, sign_up: SignUp) -> None:
    user, _ = sign_up()
    path = f"/api/v1/users/{user.pk}"
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        response = client.get(path, headers={"If-None-Match": tag})
        assert response.status_code == 304
        assert response.content == b""
        assert response["ETag"] == '"1"'
    assert client.get(path, headers={"If-None-Match": '"2"'}).status_code == 200


def test_a_change_is_seen_at_once_and_leaves_a_tombstone(client: Client, sign_up: SignUp, redis: "Redis") -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    client.get(path)
    client.patch(path, {"name": "new"}, content_type="application/json", headers=headers)
    assert redis.get(f"user:{user.pk}") == b"2\n"
    response = client.get(path)
    assert response.json()["name"] == "new"
    assert response["X-Cache"] == "miss"
    assert client.get(path)["X-Cache"] == "hit"


def test_a_deleted_user_does_not_come_back(client: Client, sign_up: SignUp, redis: "Redis") -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    reader = cache.read_user(user.pk)
    client.delete(path, headers=headers)
    assert not cache.fill_user(user.pk, 1, b"old", reader.lease)  # it had read the row before
    assert redis.get(f"user:{user.pk}") == b"2\n"
    assert_problem(client.get(path), 404)


def test_only_the_holder_of_the_lease_may_fill(redis: "Redis") -> None:
    reader = cache.read_user(7)
    assert (reader.outcome, reader.version) == ("miss", 0)
    assert not cache.fill_user(7, 1, b"x", "another")
    assert not cache.fill_user(7, 1, b"x", "")
    assert cache.fill_user(7, 1, b"x", reader.lease)
    assert not cache.fill_user(7, 1, b"x", reader.lease)  # once


@pytest.mark.parametrize("lost", ["nothing", "the tombstone", "everything"])
def test_a_reader_that_is_late_cannot_store_the_old_version(redis: "Redis", lost: str) -> None:
    reader = cache.read_user(7)  # goes to a database, and gets version 1
    cache.changed("users", 0, user_id=7, version=2)  # meanwhile a writer commits version 2
    if lost == "the tombstone":  # evicted
        redis.delete("user:7")
    if lost == "everything":
        empty(redis)
        vouch(redis)
    assert not cache.fill_user(7, 1, b"old", reader.lease)
    reader = cache.read_user(7)
    assert (reader.outcome, reader.version) == ("miss", 2 if lost == "nothing" else 0)
    assert cache.fill_user(7, 2, b"new", reader.lease)
    assert cache.read_user(7) == cache.Found("hit", 2, b"new")


_steps = st.lists(st.tuples(st.sampled_from(["read", "fill", "change"]), st.integers(1, 12)), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_steps)
def test_in_any_order_of_fills_and_tombstones_versions_only_grow(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(cache, "FILL_PATIENCE", 0)
    empty(redis)
    vouch(redis)
    newest = 0
    leases = [""]
    for kind, version in steps:
        if kind == "read":
            leases.append(cache.read_user(7).lease)
        elif kind == "fill":
            # Any reader, with any version that a database may have had: the lease and the tombstone decide.
            if cache.fill_user(7, version, f"body {version}".encode(), leases[version % len(leases)]):
                assert version >= newest
                newest = version
        else:
            cache.changed("users", 0, user_id=7, version=version)
            newest = max(newest, version)
        stored = redis.get("user:7") or b"0\n"
        assert stored in (f"{newest}\n".encode(), f"{newest}\nbody {newest}".encode())


def test_one_reader_fills_while_the_others_wait_for_it(redis: "Redis") -> None:
    assert cache.read_user(7).lease
    started = time.monotonic()
    other = cache.read_user(7)  # nobody filled: after FILL_PATIENCE it stops waiting
    assert (other.outcome, other.lease) == ("miss", "")
    assert time.monotonic() - started >= cache.FILL_PATIENCE * 0.8


def test_a_tombstone_lets_one_reader_through_too(redis: "Redis") -> None:
    cache.changed("users", 0, user_id=7, version=2)
    first, second = cache.read_user(7), cache.read_user(7)
    assert first.version == second.version == 2
    assert first.lease
    assert not second.lease


def test_nothing_counts_that_nobody_vouches_for(client: Client, sign_up: SignUp, redis: "Redis") -> None:
    user, _ = sign_up()
    path = f"/api/v1/users/{user.pk}"
    redis.set(f"user:{user.pk}", b'1\n{"name": "from long ago"}')
    redis.delete(cache.VOUCHED)
    response = client.get(path)
    assert (response.json()["name"], response["X-Cache"]) == ("", "bypass")
    assert redis.get(f"user:{user.pk}") == b'1\n{"name": "from long ago"}'


def test_without_redis_reads_are_right(
    client: Client, sign_up: SignUp, no_redis: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    assert client.get(path)["X-Cache"] == "bypass"
    tries = Tries(cache.breaker, monkeypatch)
    for name in ("one", "two", "three"):
        started = time.monotonic()
        assert client.patch(path, {"name": name}, "application/json", headers=headers).status_code == 200
        # Others may still reach Redis: a writer that cannot waits until nobody's vouch covers the old entry.
        assert time.monotonic() - started >= cache.VOUCHED_FOR
        assert client.get(path).json()["name"] == name
    assert tries.were_rare()


def test_a_redis_that_is_read_only_costs_no_error(
    client: Client, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ReadOnlyError

    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"

    def refuse(*_: object, **__: object) -> None:
        raise ReadOnlyError("You can't write against a read only replica.")

    monkeypatch.setattr(cache, "lua", lambda source: refuse)
    monkeypatch.setattr(Redis, "set", refuse)
    assert client.patch(path, {"name": "new"}, "application/json", headers=headers).status_code == 200
    response = client.get(path)
    assert response.status_code == 200
    assert json.loads(response.content)["name"] == "new"
    assert response["X-Cache"] == "bypass"
