"""Signing up, tokens, and who may change whom."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, override_settings

from ballast.models import Message, Token, User
from tests.conftest import PASSWORD
from tests.test_problems import assert_problem

SignUp = Callable[..., tuple[User, dict[str, Any]]]
Post = Callable[..., Any]


def test_signing_up_makes_a_user_whose_password_is_only_kept_as_argon2id(post: Post, client: Client) -> None:
    response = post("/api/v1/users", {"username": "alice", "password": PASSWORD, "name": "Alice ☃"})
    assert response.status_code == 201
    user = User.objects.get(username="alice")
    assert user.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in response.content.decode()
    assert set(response.json()) == {"id", "username", "name", "created_at"}
    assert response["Location"] == f"/api/v1/users/{user.pk}"
    assert client.get(response["Location"]).json() == response.json()


def test_a_name_is_taken_once(post: Post) -> None:
    body = {"username": "alice", "password": PASSWORD}
    assert post("/api/v1/users", body).status_code == 201
    problem = assert_problem(post("/api/v1/users", body), 409)
    assert problem["type"] == "urn:ballast:problem:username-taken"
    assert User.objects.count() == 1


def test_a_password_buys_a_token_that_is_not_kept(post: Post, client: Client) -> None:
    user_id = post("/api/v1/users", {"username": "alice", "password": PASSWORD}).json()["id"]
    response = post("/api/v1/tokens", {"username": "alice", "password": PASSWORD})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    token = response.json()["token"]
    assert token.encode() not in bytes(Token.objects.get().digest)
    changed = client.patch(
        f"/api/v1/users/{user_id}",
        {"name": "Al"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert changed.json()["name"] == "Al"


@pytest.mark.parametrize("username", ["alice", "nobody"])
def test_a_wrong_password_buys_nothing(post: Post, username: str) -> None:
    post("/api/v1/users", {"username": "alice", "password": PASSWORD})
    response = post("/api/v1/tokens", {"username": username, "password": "something else"})
    assert_problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x", "Basic YTpi", "Bearer \xff\xfe", "Bearer a b"])
def test_without_a_good_token_nothing_is_changed(client: Client, sign_up: SignUp, header: str | None) -> None:
    user, _ = sign_up()
    headers = {"Authorization": header} if header else {}
    for method in ("patch", "delete"):
        response = getattr(client, method)(
            f"/api/v1/users/{user.pk}", {"name": "x"}, content_type="application/json", headers=headers
        )
        assert_problem(response, 401)
        assert response["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_none(client: Client, sign_up: SignUp) -> None:
    user, headers = sign_up()
    Token.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert_problem(client.delete(f"/api/v1/users/{user.pk}", headers=headers), 401)


def test_one_user_cannot_touch_another_but_staff_can(client: Client, sign_up: SignUp) -> None:
    alice, _ = sign_up("alice")
    _, bob = sign_up("bob")
    _, staff = sign_up("staff", is_staff=True)
    path = f"/api/v1/users/{alice.pk}"
    assert_problem(client.delete(path, headers=bob), 403)
    assert_problem(client.post(f"{path}/messages", {"text": "hi"}, "application/json", headers=bob), 403)
    assert client.delete(path, headers=staff).status_code == 204
    assert_problem(client.get(path), 404)
    assert_problem(client.delete(path, headers=staff), 404)


def test_a_change_applies_to_the_version_that_the_client_has_seen(client: Client, sign_up: SignUp) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}"
    seen = client.get(path)["ETag"]

    def change(name: str, tag: str) -> Any:
        return client.patch(path, {"name": name}, content_type="application/json", headers={**headers, "If-Match": tag})

    first = change("first", seen)
    assert first.status_code == 200
    assert first["ETag"] != seen
    assert_problem(change("second", seen), 412)
    assert_problem(change("second", f"W/{first['ETag']}"), 412)
    assert change("third", "*").status_code == 200
    assert client.get(path).json()["name"] == "third"


def test_a_new_password_ends_the_other_tokens(client: Client, post: Post, sign_up: SignUp) -> None:
    user, first = sign_up()
    from ballast.auth import issue_token

    raw, _ = issue_token(user)
    path = f"/api/v1/users/{user.pk}"
    changed = client.patch(path, {"password": "another password"}, content_type="application/json", headers=first)
    assert changed.status_code == 200
    assert_problem(client.delete(path, headers={"Authorization": f"Bearer {raw}"}), 401)
    assert post("/api/v1/tokens", {"username": "alice", "password": "another password"}).status_code == 201


def test_deleting_a_user_takes_messages_and_tokens_along(client: Client, sign_up: SignUp) -> None:
    user, headers = sign_up()
    client.post(f"/api/v1/users/{user.pk}/messages", {"text": "hi"}, "application/json", headers=headers)
    assert client.delete(f"/api/v1/users/{user.pk}", headers=headers).status_code == 204
    assert not Message.objects.exists()
    assert not Token.objects.exists()


def test_pages_cover_all_users_once_and_in_order(client: Client) -> None:
    User.objects.bulk_create(User(username=f"u{i:03}", password="!") for i in range(25))
    seen: list[int] = []
    path = "/api/v1/users?limit=10"
    while path:
        assert path.startswith("/api/v1/users")
        page = client.get(path).json()
        seen += [user["id"] for user in page["results"]]
        path = page["next"]
    assert seen == sorted(User.objects.values_list("pk", flat=True))


def test_a_message_is_listed_after_it_was_sent(client: Client, sign_up: SignUp) -> None:
    user, headers = sign_up()
    path = f"/api/v1/users/{user.pk}/messages"
    assert client.get(path).json()["results"] == []
    sent = client.post(path, {"text": "hello"}, "application/json", headers=headers)
    assert sent.status_code == 201
    assert client.get(path).json()["results"] == [sent.json()]


@override_settings(SIGNUP_RATE=3)
def test_sign_ups_are_limited_by_the_address_behind_our_proxies(post: Post) -> None:
    def attempt(number: int, forwarded: str) -> int:
        body = {"username": f"user-{number}", "password": PASSWORD}
        return int(post("/api/v1/users", body, {"X-Forwarded-For": forwarded}).status_code)

    # 127.0.0.1 and 10.0.0.0/8 are ours; what stands left of the first stranger is the client's own invention.
    assert [attempt(i, f"6.6.6.{i}, 9.9.9.9, 10.0.0.5") for i in range(4)] == [201, 201, 201, 429]
    assert attempt(9, "9.9.9.8, 10.0.0.5") == 201


@override_settings(SIGNUP_RATE=1)
def test_without_redis_there_is_no_limit(post: Post, no_redis: None) -> None:
    for name in ("alice", "bob", "carol"):
        assert post("/api/v1/users", {"username": name, "password": PASSWORD}).status_code == 201
