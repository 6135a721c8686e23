"""Through the VIP, as a client: what the service says it does."""

import re
import time
import uuid

import pytest

import lab
from tests.e2e.conftest import API

pytestmark = pytest.mark.tier("lb")


def sign_up(api: API) -> tuple[dict[str, object], str]:
    """A new user and its password."""
    password = uuid.uuid4().hex
    body = {"username": f"e2e-{uuid.uuid4().hex[:12]}", "password": password}
    created = api.post("/api/v1/users", json=body)
    assert created.status_code == 201, created.text
    return created.json(), password


def log_in(api: API, username: object, password: str) -> dict[str, str]:
    """The headers that speak for a user."""
    token = api.post("/api/v1/tokens", json={"username": username, "password": password})
    assert token.status_code == 201, token.text
    return {"Authorization": f"Bearer {token.json()['token']}"}


def test_ping_answers_over_http_and_https(api: API) -> None:
    assert api.get("/api/v1/ping").status_code == 200
    authority = lab.INVENTORY.parent / "secrets/pki/edge/ca.crt"
    secure = api.base.replace("http:", "https:")
    assert api.get(f"{secure}/api/v1/ping", verify=str(authority)).status_code == 200


def test_the_landing_page_and_the_documentation_open(api: API) -> None:
    assert "<html" in api.get("/").text
    page = api.get("/docs")
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert any(part.endswith(".js") for part in parts), page.text
    for part in [*parts, "/api/v1/schema"]:
        assert api.get(part).status_code == 200, part


def test_every_answer_has_a_request_id(api: API) -> None:
    assert api.get("/api/v1/ping").headers["X-Request-ID"]
    mine = uuid.uuid4().hex
    assert api.get("/api/v1/ping", headers={"X-Request-ID": mine}).headers["X-Request-ID"] == mine


def test_a_user_created_is_read_back_at_once(api: API) -> None:
    user, _ = sign_up(api)
    for _ in range(5):  # whichever api host and database answers
        read = api.get(f"/api/v1/users/{user['id']}")
        assert read.status_code == 200, read.text
        assert read.json()["username"] == user["username"]


def test_a_user_is_read_from_the_cache_the_second_time(api: API) -> None:
    seen = [api.get("/api/v1/users/77").headers["X-Cache"] for _ in range(3)]
    assert seen[-1] == "hit", seen


def test_a_message_is_listed_and_a_deleted_user_is_gone(api: API) -> None:
    user, password = sign_up(api)
    as_user = log_in(api, user["username"], password)
    path = f"/api/v1/users/{user['id']}"

    sent = api.post(f"{path}/messages", json={"text": "still standing"}, headers=as_user)
    assert sent.status_code == 201, sent.text
    listed = api.get(f"{path}/messages", headers=as_user).json()["results"]
    assert [message["text"] for message in listed] == ["still standing"]

    assert api.delete(path).status_code == 401
    assert api.delete(path, headers=as_user).status_code == 204
    assert api.get(path).status_code == 404


def test_a_load_query_returns_the_right_number(api: API) -> None:
    # fib(30) = 832040
    answer = api.get("/api/v1/load-query/30")
    assert answer.status_code in (200, 202), answer.text
    location = answer.headers.get("Location") or f"/api/v1/load-queries/{answer.json()['id']}"
    assert wait_for(api, location)["result"] == 832040 % 10037


def test_a_submitted_load_query_is_run(api: API) -> None:
    # fib(25) = 75025
    accepted = api.post("/api/v1/load-queries", json={"n": 25})
    assert accepted.status_code == 202, accepted.text
    assert int(accepted.headers["Retry-After"]) >= 0
    assert wait_for(api, accepted.headers["Location"])["result"] == 75025 % 10037


def wait_for(api: API, location: str) -> dict[str, object]:
    """The finished load query."""
    for _ in range(120):
        query: dict[str, object] = api.get(location).json()
        if query["state"] in ("done", "failed"):
            return query
        time.sleep(0.5)
    raise AssertionError(f"{location} is still {query['state']}")


def test_a_client_is_known_by_its_address_and_not_by_what_it_claims(api: API) -> None:
    # An Idempotency-Key belongs to its caller, who is an address here.
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = api.post("/api/v1/load-queries", json={"n": 5}, headers=headers)
    for forged in ({"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.7, 203.0.113.8"}):
        again = api.post("/api/v1/load-queries", json={"n": 5}, headers=headers | forged)
        assert again.headers["Location"] == first.headers["Location"]
    client = lab.hosts("load")[0]
    command = (
        f"curl --silent --show-error --dump-header - --output /dev/null --json '{{\"n\": 5}}'"
        f" --header 'Idempotency-Key: {headers['Idempotency-Key']}' {api.base}/api/v1/load-queries"
    )
    answer = lab.on(client, command)[client]
    assert " 202" in answer, answer
    assert first.headers["Location"] not in answer


def test_a_long_query_waits(api: API) -> None:
    started = time.monotonic()
    assert api.get("/api/v1/long-query", params={"seconds": 1}).status_code == 200
    assert time.monotonic() - started >= 1


def test_wrong_input_gets_a_problem(api: API) -> None:
    for answer, status in (
        (api.get("/api/v1/users/999999999"), 404),
        (api.get("/api/v1/nowhere"), 404),
        (api.post("/api/v1/load-queries", json={"n": 1000}), 400),
        (api.post("/api/v1/users", data="{", headers={"Content-Type": "application/json"}), 400),
        (api.post("/api/v1/users", data=b"x" * 2_000_000), 413),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.json()["status"] == status
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_internal_pages_stay_inside(api: API) -> None:
    assert api.get("/metrics").status_code in (403, 404)


def test_a_sign_up_that_fails_leaves_no_hash_in_any_journal(api: API) -> None:
    user, password = sign_up(api)
    again = api.post("/api/v1/users", json={"username": user["username"], "password": password})
    assert again.status_code == 409, again.text
    # PostgreSQL has logged that it refused the row. (What is looked for is not in the command that looks.)
    said = lab.on(
        "ballast", "journalctl --since=-60s --output=cat | grep --count 'argon2[$]argon2id[$]' || true"
    )
    assert {host: count for host, count in said.items() if count != "0"} == {}
    refused = lab.on(
        "db", "journalctl --unit=patroni --since=-60s --output=cat | grep --count 'users_usernam[e]' || true"
    )
    assert sum(int(count) for count in refused.values()) > 0
