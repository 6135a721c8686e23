"""Redis hears of every change in the end, and counts only while somebody makes sure of that."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, override_settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ballast import cache, changes
from ballast.models import User, UserChange
from tests.conftest import deliver, empty
from tests.patience import eventually

SignUp = Callable[..., tuple[User, dict[str, Any]]]


@pytest.fixture
def _nobody_vouches(redis: "Redis") -> None:
    redis.delete(cache.VOUCHED)


def test_a_writer_that_dies_after_its_commit_leaves_no_old_entry(
    client: Client, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    client.get(path)

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr(cache, "changed", die)
    with pytest.raises(SystemExit):
        client.patch(path, {"name": "new"}, "application/json", headers=headers)
    deliver()
    assert client.get(path).json()["name"] == "new"
    assert not UserChange.objects.using("default").exists()


def test_what_redis_missed_is_delivered_before_its_entries_count_again(
    client: Client, sign_up: SignUp, redis: "Redis", dead_port: int
) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    old = client.get(path).content
    with pytest.MonkeyPatch.context() as patch:
        gone = Redis(port=dead_port, retry=Retry(NoBackoff(), 0))
        patch.setattr(cache, "get_redis_connection", lambda alias: gone)
        assert client.patch(path, {"name": "new"}, "application/json", headers=headers).status_code == 200
    cache.breaker.succeeded()
    redis.delete(cache.VOUCHED)  # which ended while the writer waited
    assert redis.get(f"user:{user.pk}") == b"1\n" + old
    response = client.get(path)
    assert (response.json()["name"], response["X-Cache"]) == ("new", "bypass")
    deliver()
    response = client.get(path)
    assert (response.json()["name"], response["X-Cache"]) == ("new", "miss")


def test_a_deleted_user_is_delivered_too(client: Client, sign_up: SignUp, redis: "Redis") -> None:
    user, headers = sign_up()
    client.delete(f"/api/v1/users/{user.pk}", headers=headers)
    empty(redis)
    deliver()
    assert redis.get(f"user:{user.pk}") == b"2\n"


@pytest.mark.usefixtures("_nobody_vouches")
def test_a_vouch_ends_by_itself(redis: "Redis", sign_up: SignUp, client: Client) -> None:
    user, _ = sign_up()
    deliver()
    assert 0 < redis.pttl(cache.VOUCHED) <= cache.VOUCHED_FOR * 1000
    assert client.get(f"/api/v1/users/{user.pk}")["X-Cache"] == "miss"
    eventually(lambda: not redis.exists(cache.VOUCHED), 3)
    assert client.get(f"/api/v1/users/{user.pk}")["X-Cache"] == "bypass"


@pytest.mark.usefixtures("_nobody_vouches")
def test_a_look_that_is_too_old_vouches_for_nothing(redis: "Redis") -> None:
    seen = changes.look(cache.vouch_until())
    changes.deliver(changes.Look(seen.until - int(cache.VOUCHED_FOR * 1000), seen.position, seen.changes))
    assert not redis.exists(cache.VOUCHED)


@pytest.mark.usefixtures("_nobody_vouches")
def test_nobody_vouches_before_the_last_change_is_delivered(redis: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "BATCH", 3)
    for version in range(5):
        changes.record(7, version)
    deliver()
    assert not redis.exists(cache.VOUCHED)
    assert redis.get("user:7") == b"2\n"
    deliver()
    assert redis.exists(cache.VOUCHED)
    assert redis.get("user:7") == b"4\n"
    assert not UserChange.objects.using("default").exists()


@pytest.mark.usefixtures("_nobody_vouches")
def test_what_no_replica_of_redis_has_is_not_forgotten_nor_vouched_for(redis: "Redis") -> None:
    changes.record(7, 2)
    with override_settings(REDIS_REPLICAS=1):  # this Redis has none, as if it was cut off from them
        deliver()
        cache.vouch_again()
    assert redis.get("user:7") == b"2\n"
    assert UserChange.objects.using("default").exists()
    assert not redis.exists(cache.VOUCHED)
    deliver()
    assert not UserChange.objects.using("default").exists()
    assert redis.exists(cache.VOUCHED)


def test_a_redis_without_its_replicas_gets_no_longer_vouch_either(redis: "Redis") -> None:
    redis.set(cache.VOUCHED, 5, px=500)
    with override_settings(REDIS_REPLICAS=1):
        cache.vouch_again()
    assert redis.pttl(cache.VOUCHED) <= 500


def test_while_the_primary_is_away_a_vouch_is_prolonged_but_not_made(
    redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(until: int) -> changes.Look:
        raise OperationalError("no primary")

    monkeypatch.setattr(changes, "look", unavailable)
    delivery = changes.Delivery()
    redis.set(cache.VOUCHED, 5, px=200)
    delivery.round()
    assert redis.pttl(cache.VOUCHED) > 300
    redis.delete(cache.VOUCHED)
    delivery.round()
    assert not redis.exists(cache.VOUCHED)


def test_a_primary_that_hangs_does_not_end_the_vouching(redis: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Future[changes.Look] = Future()
    monkeypatch.setattr(changes, "look", lambda until: answer.result())
    monkeypatch.setattr(changes, "PATIENCE", 0.01)
    delivery = changes.Delivery()
    redis.set(cache.VOUCHED, 5, px=200)
    delivery.round()
    assert redis.pttl(cache.VOUCHED) > 300
    seen = changes.Look(cache.vouch_until(), 6, [])
    answer.set_result(seen)
    delivery.round()
    assert redis.get(cache.VOUCHED) == b"6"


def test_the_workers_thread_vouches(worker: object, redis: "Redis") -> None:
    redis.delete(cache.VOUCHED)
    changes.record(7, 2)
    assert eventually(lambda: int(redis.get(cache.VOUCHED) or 0)) > 0
    assert redis.get("user:7") == b"2\n"
    eventually(lambda: not UserChange.objects.using("default").exists())
