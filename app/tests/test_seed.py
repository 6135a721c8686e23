"""Seeding: the same users and messages, however often it is run."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from ballast.models import Message, User
from tests.conftest import PASSWORD


def test_users_and_messages_are_there_once(capsys: pytest.CaptureFixture[str], client: Client) -> None:
    call_command("seed", "--users", "50", "--messages", "3")
    call_command("seed", "--users", "50", "--messages", "3")
    assert capsys.readouterr().out.splitlines() == [
        "50 users and 150 messages added",
        "0 users and 0 messages added",
    ]
    assert list(User.objects.order_by("pk").values_list("pk", "username")) == [(k, f"user{k:05}") for k in range(1, 51)]
    assert client.get("/api/v1/users/7").json()["username"] == "user00007"
    listed = client.get("/api/v1/users/7/messages").json()["results"]
    assert [message["text"] for message in listed] == [f"Message {m} of user00007" for m in (1, 2, 3)]


def test_seeding_more_adds_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("seed", "--users", "5", "--messages", "1")
    call_command("seed", "--users", "8", "--messages", "2")
    assert capsys.readouterr().out.splitlines()[1] == "3 users and 11 messages added"
    assert (User.objects.count(), Message.objects.count()) == (8, 16)


def test_a_name_that_was_signed_up_before_is_left_alone(post: object, client: Client) -> None:
    client.post("/api/v1/users", {"username": "user00002", "password": PASSWORD}, content_type="application/json")
    call_command("seed", "--users", "3", "--messages", "1")
    assert sorted(User.objects.values_list("username", flat=True)) == ["user00001", "user00002", "user00003"]
    assert User.objects.get(username="user00002").pk > 100_000
    assert Message.objects.count() == 2


def test_nobody_can_log_in_as_a_seeded_user(client: Client) -> None:
    call_command("seed", "--users", "1", "--messages", "0")
    for password in ("!", "user00001", ""):
        body = {"username": "user00001", "password": password}
        assert client.post("/api/v1/tokens", body, content_type="application/json").status_code in (400, 401)


@pytest.mark.parametrize("users", ["-1", "100001"])
def test_a_number_that_makes_no_sense_is_refused(users: str) -> None:
    with pytest.raises(CommandError, match="--users must be from 0 to 100000"):
        call_command("seed", "--users", users)
