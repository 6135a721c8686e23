"""PostgreSQL logs a statement that failed. It must find no secret in it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PASSWORD
from tests.replication import Pair, user_may_run_servers

pytestmark = pytest.mark.skipif(not user_may_run_servers(), reason="PostgreSQL refuses to run as root")


def test_a_sign_up_that_fails_leaves_no_hash_in_the_log(servers: Pair, post: Callable[..., Any]) -> None:
    body = {"username": "alice", "password": PASSWORD}
    assert [post("/api/v1/users", body).status_code for _ in range(2)] == [201, 409]
    log = (servers.folder / "default.log").read_text()
    assert "duplicate key" in log
    assert 'INSERT INTO "users"' in log
    assert "argon2" not in log
    assert PASSWORD not in log
