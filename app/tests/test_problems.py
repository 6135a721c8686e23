"""Whatever goes wrong, the answer is a problem that says what, with the request's id."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client


def assert_problem(response: Any, status: int, detail: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    assert problem["status"] == status
    assert problem["request_id"] == response["X-Request-ID"]
    assert detail in problem["detail"]
    return problem


def test_an_address_with_nothing_there(client: Client) -> None:
    assert_problem(client.get("/api/v1/nothing"), 404)


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_method_that_is_not_possible(client: Client, method: str) -> None:
    response = getattr(client, method)("/api/v1/tokens")
    assert_problem(response, 405)


def test_a_body_that_is_cut_off(client: Client) -> None:
    assert_problem(client.post("/api/v1/users", '{"username": "a', content_type="application/json"), 400, "JSON")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_that_is_not_json(client: Client, kind: str) -> None:
    assert_problem(client.post("/api/v1/users", b"username=alice", content_type=kind), 415)


@pytest.mark.parametrize("body", [[], "text", 5, None, [{}]])
def test_a_body_that_is_no_object(post: Callable[..., Any], body: Any) -> None:
    for path in ("/api/v1/users", "/api/v1/tokens", "/api/v1/load-queries"):
        assert_problem(post(path, json.dumps(body)), 400)


def test_a_body_that_is_too_large(post: Callable[..., Any]) -> None:
    assert_problem(post("/api/v1/users", {"username": "x" * 70_000}), 413)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "alice"}, "password"),
        ({"username": "Alice", "password": "long enough"}, "username"),
        ({"username": "al", "password": "long enough"}, "username"),
        ({"username": 12345, "password": "long enough"}, "username"),
        ({"username": "alice\n", "password": "long enough"}, "username"),
        ({"username": "alice", "password": "short"}, "password"),
        ({"username": "alice", "password": "aaaaaaaaaa"}, "password"),
        ({"username": "alice", "password": ["long enough"]}, "password"),
        ({"username": "alice", "password": "long enough", "name": "\ud800"}, "name"),
        ({"username": "alice", "password": "long enough", "name": "a\x00b"}, "name"),
        ({"username": "alice", "password": "long enough", "is_staff": True}, "is_staff"),
    ],
)
def test_a_field_that_is_wrong_is_named(post: Callable[..., Any], body: Any, field: str) -> None:
    problem = assert_problem(post("/api/v1/users", body), 400)
    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%FF", "cursor=xyz", "cursor=cD1h"])
def test_a_page_that_does_not_exist(client: Client, query: str) -> None:
    assert_problem(client.get(f"/api/v1/users?{query}"), 400)


@pytest.mark.parametrize("user", ["0", "99999999", "99999999999999999999999", "x", "-1"])
def test_a_user_who_does_not_exist(client: Client, user: str) -> None:
    assert_problem(client.get(f"/api/v1/users/{user}"), 404)
    assert_problem(client.get(f"/api/v1/users/{user}/messages"), 404)


def test_a_good_request_id_is_kept_and_a_bad_one_replaced(client: Client) -> None:
    assert client.get("/api/v1/ping", headers={"X-Request-ID": "abc-123-def"})["X-Request-ID"] == "abc-123-def"
    for bad in ("short", "x" * 65, 'quote"quote', "space space"):
        assert client.get("/api/v1/ping", headers={"X-Request-ID": bad})["X-Request-ID"] != bad


def test_a_host_that_is_not_ours(client: Client) -> None:
    assert_problem(client.get("/api/v1/ping", headers={"Host": "evil.example"}), 400)
    assert client.get("/health/live", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_a_bug_is_a_problem_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("ballast.cache.read_user", bug)
    client.raise_request_exception = False
    problem = assert_problem(client.get("/api/v1/users/1"), 500)
    assert "secret" not in json.dumps(problem)
