"""Reads go to replicas and to Redis, and yet see what was written before."""

from collections.abc import Iterator

import pytest

import lab
from tests.e2e.conftest import API
from tests.e2e.test_service import log_in, sign_up

pytestmark = pytest.mark.tier("lb")


@pytest.fixture
def paused_replicas() -> Iterator[list[str]]:
    """Replicas that stream, but replay nothing."""
    replicas = [member["name"] for member in lab.postgresql_members() if member["role"] != "leader"]
    if not replicas:
        pytest.skip("this topology has no replica")
    psql = "runuser -u postgres -- psql -qtAc"
    try:
        lab.on(",".join(replicas), f'{psql} "SELECT pg_wal_replay_pause()"')
        yield replicas
    finally:
        lab.on(",".join(replicas), f'{psql} "SELECT pg_wal_replay_resume()"')


@pytest.mark.destructive
def test_a_read_after_a_write_sees_it_while_no_replica_does(api: API, paused_replicas: list[str]) -> None:
    user, password = sign_up(api)
    path = f"/api/v1/users/{user['id']}"
    as_user = log_in(api, user["username"], password)
    for number in range(5):
        changed = api.patch(path, json={"name": f"name {number}"}, headers=as_user)
        assert changed.status_code == 200, changed.text
        for _ in range(3):  # whichever api host answers
            read = api.get(path)
            assert (read.json()["name"], read.headers["ETag"]) == (f"name {number}", changed.headers["ETag"])
        assert api.post(f"{path}/messages", json={"text": str(number)}, headers=as_user).status_code == 201
        listed = api.get(f"{path}/messages").json()["results"]
        assert [message["text"] for message in listed] == [str(each) for each in range(number + 1)]
    assert api.delete(path, headers=as_user).status_code == 204
    assert [api.get(path).status_code for _ in range(3)] == [404] * 3


def test_somebody_vouches_for_the_cache_all_the_time(api: API) -> None:
    api.get("/api/v1/users/78")
    seen = {api.get("/api/v1/users/78").headers["X-Cache"] for _ in range(200)}
    assert seen == {"hit"}
