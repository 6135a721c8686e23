"""nginx answers cached reads by itself, exactly as the API would."""

import http.client
import re
import uuid
from functools import partial
from typing import NamedTuple

import pytest

import lab
from tests.e2e.conftest import API
from tests.e2e.test_service import log_in, sign_up
from tests.patience import eventually

pytestmark = pytest.mark.tier("lb")

USER = "/api/v1/users/79"
# Each hop's own.
HOPS = {"date", "server", "connection", "keep-alive"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(host: str, service: str, method: str, target: str, headers: dict[str, str]) -> Answer:
    """Sends a request as it stands, and its answer without what each hop says of itself."""
    connection = http.client.HTTPConnection(lab.variable("node_address", host), lab.port(service), timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in HOPS}
        return Answer(answer.status, kept, answer.read())
    finally:
        connection.close()


def hits() -> int:
    """Reads that the web hosts have answered by themselves so far."""
    status = lab.ROOT / "roles/nginx/defaults/main.yml"
    port = re.search(r"^nginx_status_port: (\d+)", status.read_text(), re.MULTILINE)
    assert port
    said = lab.on("web", f"curl -sS --fail http://127.0.0.1:{port[1]}/metrics")
    found = [re.search(r'outcome="hit"} (\d+)', text) for text in said.values()]
    return sum(int(each[1]) for each in found if each)


CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "GET": ("GET", USER, {}),
    "HEAD": ("HEAD", USER, {}),
    "the client's version": ("GET", USER, {"If-None-Match": '"1"'}),
    "the client's version, weak": ("HEAD", USER, {"If-None-Match": 'W/"1"'}),
    "any version": ("GET", USER, {"If-None-Match": "*"}),
    "one of several versions": ("GET", USER, {"If-None-Match": '"7" , W/"1","x"'}),
    "another version": ("GET", USER, {"If-None-Match": '"2", "11", 1'}),
    "no version": ("GET", USER, {"If-None-Match": ""}),
    "a version that is none": ("GET", USER, {"If-None-Match": '"1"2'}),
    "If-Match": ("GET", USER, {"If-Match": '"2"'}),
    "If-Modified-Since": ("GET", USER, {"If-Modified-Since": "Wed, 25 Nov 2026 10:00:00 GMT"}),
    "If-Unmodified-Since": ("GET", USER, {"If-Unmodified-Since": "Wed, 25 Nov 2020 10:00:00 GMT"}),
    "Range": ("GET", USER, {"Range": "bytes=0-3"}),
    "If-Range": ("GET", USER, {"Range": "bytes=0-3", "If-Range": '"1"'}),
    "Accept": ("GET", USER, {"Accept": "text/html"}),
    "Accept-Encoding": ("GET", USER, {"Accept-Encoding": "gzip, br"}),
    "Authorization": ("GET", USER, {"Authorization": "Bearer nobody"}),
    "a query": ("GET", f"{USER}?page=2", {}),
    "an empty query": ("GET", f"{USER}?", {}),
    "a slash": ("GET", f"{USER}/", {}),
    "two slashes": ("GET", "/api/v1/users//79", {}),
    "a detour": ("GET", "/api/v1/./users/79", {}),
    "escaped": ("GET", "/api/v1/users/%37%39", {}),
    "zeros": ("GET", "/api/v1/users/0079", {}),
    "in capitals": ("GET", "/API/V1/USERS/79", {}),
    "nobody": ("GET", "/api/v1/users/99999999", {}),
    "nobody, HEAD": ("HEAD", "/api/v1/users/99999999", {}),
    "zero": ("GET", "/api/v1/users/0", {}),
    "more than a bigint": ("GET", f"/api/v1/users/{10**30}", {}),
    "not a number": ("GET", "/api/v1/users/seventy-nine", {}),
    "a foreign host": ("GET", USER, {"Host": "example.org"}),
    "a host with a port": ("GET", USER, {"Host": "localhost:8080"}),
    "a host in capitals": ("GET", USER, {"Host": "LOCALHOST"}),
    "a length": ("GET", USER, {"Content-Length": "0"}),
    "OPTIONS": ("OPTIONS", USER, {}),
    "POST": ("POST", USER, {"Content-Length": "0"}),
    "PATCH": ("PATCH", USER, {"Content-Length": "0"}),
    "DELETE": ("DELETE", USER, {}),
}
# What is a plain read, and must not reach the API.
PLAIN = {
    *("GET", "HEAD", "the client's version", "the client's version, weak", "any version", "no version"),
    *("one of several versions", "another version", "a version that is none", "Accept", "Accept-Encoding"),
    *("Authorization", "Range", "If-Range", "a host with a port", "a host in capitals"),
}


def outcome(web: str) -> str | None:
    return ask(web, "nginx", "GET", USER, {"Host": "localhost"}).headers.get("x-cache")


@pytest.fixture(scope="module")
def warm(api: API) -> None:
    """The user is in the cache, and every web host has found it there."""
    for web in lab.hosts("web"):
        eventually(partial(outcome, web), lambda found: found == "hit", seconds=30)


def ask_for(case: str, tier: str, service: str, name: str) -> Answer:
    """Sends a case to the first host of a tier, under a request id."""
    method, target, headers = CASES[case]
    headers = {"Host": "localhost", "X-Request-ID": name, **headers}
    return ask(lab.hosts(tier)[0], service, method, target, headers)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("case", CASES)
def test_nginx_answers_as_the_api_does(case: str) -> None:
    name = uuid.uuid4().hex
    assert ask_for(case, "web", "nginx", name) == ask_for(case, "api", "api_web", name)


@pytest.mark.usefixtures("warm")
def test_plain_reads_do_not_reach_the_api_and_all_others_do() -> None:
    begun = hits()
    for case in PLAIN:
        ask_for(case, "web", "nginx", uuid.uuid4().hex)
    plain = hits()
    for case in CASES.keys() - PLAIN:
        ask_for(case, "web", "nginx", uuid.uuid4().hex)
    assert (plain - begun, hits() - plain) == (len(PLAIN), 0)


@pytest.mark.usefixtures("warm")
def test_a_change_shows_at_once_on_every_web_host(api: API) -> None:
    user, password = sign_up(api)
    path = f"/api/v1/users/{user['id']}"
    as_user = log_in(api, user["username"], password)

    def read() -> list[Answer]:
        return [ask(web, "nginx", "GET", path, {"Host": "localhost"}) for web in lab.hosts("web")]

    for number in range(20):
        read()  # so that it is in the cache
        changed = api.patch(path, json={"name": f"name {number}"}, headers=as_user)
        assert changed.status_code == 200, changed.text
        assert {each.headers["etag"] for each in read()} == {changed.headers["ETag"]}
    read()
    assert api.delete(path, headers=as_user).status_code == 204
    assert {each.status for each in read()} == {404}


@pytest.mark.destructive
@pytest.mark.usefixtures("warm")
def test_a_cache_that_is_emptied_is_filled_again(api: API) -> None:
    paths = [f"/api/v1/users/{number}" for number in range(80, 90)]
    before = [api.get(path).content for path in paths]
    password = lab.secret("redis_admin")
    flush = "redis-cli --user admin FLUSHALL"  # a replica refuses
    lab.on("cache", f"REDISCLI_AUTH={password} {flush} || true")
    assert [api.get(path).content for path in paths] == before
    eventually(lambda: api.get(paths[0]).headers["X-Cache"], lambda found: found == "hit", seconds=30)
