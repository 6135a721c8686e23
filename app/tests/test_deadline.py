"""Whatever a request has waited for already: what is left of its time bounds the rest."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ballast import cache, db, deadline
from ballast.middleware import RequestMiddleware
from tests.conftest import PASSWORD

Post = Callable[..., Any]


def test_a_step_has_what_is_left() -> None:
    assert deadline.left(5) == 5
    with deadline.within(60):
        assert deadline.left(5) == 5
        with deadline.within(0):
            assert deadline.left(5) == 0
            with deadline.within(60):  # a block cannot give itself more
                assert deadline.left(5) == 0
        assert deadline.left(5) == 5


@override_settings(DATABASE_PATIENCE=60)
def test_a_client_learns_of_its_commit_though_the_database_is_silent_after_it(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestMiddleware, "PATIENCE", 1.0)
    monkeypatch.setattr(db, "_FLUSHED", "SELECT 0 FROM pg_sleep(20)")
    positions: list[int] = []
    monkeypatch.setattr(cache, "changed", lambda what, position, **_: positions.append(position))
    assert post("/api/v1/users", {"username": "alice", "password": PASSWORD}).status_code == 201
    assert positions == [db.END]  # not the 0 that the database would have said at last
