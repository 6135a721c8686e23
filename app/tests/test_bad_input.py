"""Whatever comes over the wire is answered: a 4xx that says what was wrong, never a 500, never silence."""

import json
from collections.abc import Iterator

import httpx
import pytest
from django.conf import settings

from ballast.auth import issue_token
from ballast.models import User
from tests.processes import Service

JSON = "application/json"
BIG = settings.MAX_BODY + 1


@pytest.fixture(scope="module")
def web(django_db_setup: None, _pools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service("web", tmp_path_factory.mktemp("web")) as service:
        yield service


@pytest.fixture(scope="module")
def wait(django_db_setup: None, _pools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service("wait", tmp_path_factory.mktemp("wait")) as service:
        yield service


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    if method != "GET":
        headers = {"Content_Type": JSON, "Content_Length": str(len(body))} | headers
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


def assert_told(response: httpx.Response, status: int, detail: str = "") -> None:
    """A problem of the application's own."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert detail in problem["detail"], problem


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", ""),
    "no JSON": (b"{username", "JSON"),
    "cut off JSON": (b'{"username": "al', "JSON"),
    "no UTF-8": (b'{"username": "\xff\xfe"}', "JSON"),
    "UTF-16": ('{"username": "alice"}'.encode("utf-16"), "JSON"),
    "NaN": (b'{"username": NaN, "password": "long enough"}', "JSON"),
    "Infinity": (b'{"username": -Infinity}', "JSON"),
    "an array": (b"[]", ""),
    "null": (b"null", ""),
    "a NUL character": (b'{"username": "alice", "password": "long enough", "name": "a\\u0000b"}', "name"),
    "a lone surrogate": (b'{"username": "alice", "password": "long enough", "name": "\\ud800"}', "name"),
    "a password with a lone surrogate": (b'{"username": "alice", "password": "long\\udfffenough"}', "password"),
    "a password with a NUL": (b'{"username": "alice", "password": "long\\u0000enough"}', "password"),
    "a username with a lone surrogate": (b'{"username": "ali\\ud800", "password": "long enough"}', "username"),
    "a name that is a lone surrogate": (b'{"\\ud800": 1}', ""),
    "a number of 5,000 digits": (b'{"username": ' + b"9" * 5000 + b"}", ""),
    "1e999": (b'{"username": 1e999}', ""),
    "deep nesting": (b"[" * 15_000 + b"]" * 15_000, ""),
    "deep nesting of objects": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, ""),
    "2,000 unknown fields": (json.dumps({f"f{k}": 1 for k in range(2_000)}).encode(), ""),
    "the same field twice": (b'{"username": "x", "username": 5, "password": "long enough"}', "username"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_makes_no_sense(web: Service, name: str) -> None:
    body, detail = BODIES[name]
    assert_told(web.exchange(request("POST", "/api/v1/users", body)), 400, detail)
    assert_told(web.exchange(request("POST", "/api/v1/tokens", body)), 400)
    assert_told(web.exchange(request("POST", "/api/v1/load-queries", body)), 400)


@pytest.mark.parametrize("n", ["1e30", "1e400", "9" * 4000, "-1", "1.0", "true", '"1"', "{}", "NaN"])
def test_an_n_that_is_none(web: Service, n: str) -> None:
    assert_told(web.exchange(request("POST", "/api/v1/load-queries", b'{"n": %s}' % n.encode())), 400)


def test_a_body_that_is_cut_off_by_the_network(web: Service) -> None:
    half = request("POST", "/api/v1/users", b'{"username": "al', Content_Length="100")
    assert_told(web.exchange(half, then_close=True), 400)


def test_a_body_that_is_announced_as_too_large(web: Service) -> None:
    for length in (BIG, 10**12, 10**30):
        head = request("POST", "/api/v1/users", b"", Content_Length=str(length))
        assert_told(web.exchange(head), 413, str(settings.MAX_BODY))


def test_a_body_without_a_length(web: Service) -> None:
    for size in (10, BIG, 100 * BIG):
        body = b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
        head = request("POST", "/api/v1/users", Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
        assert_told(web.exchange(head + body), 411, "Content-Length")


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "+5", "5.0", ""])
def test_a_length_that_is_none(web: Service, length: str) -> None:
    response = web.exchange(request("POST", "/api/v1/users", b"{}", Content_Length=length))
    assert 400 <= response.status_code < 500


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "x",
        "",
        "; charset=utf-8",
    ],
)
def test_a_content_type_that_is_not_json(web: Service, kind: str) -> None:
    assert_told(web.exchange(request("POST", "/api/v1/users", b"{}", Content_Type=kind)), 415)


@pytest.mark.parametrize(
    "charset", ["utf-16", "nonsense", "latin-1", '"', "idna", "base64", "rot13", "bz2", "undefined", "unicode_escape"]
)
def test_a_charset_that_is_not_utf_8(web: Service, wait: Service, charset: str) -> None:
    kind = f"{JSON}; charset={charset}"
    for path in ("/api/v1/users", "/api/v1/tokens", "/api/v1/load-queries"):
        assert_told(web.exchange(request("POST", path, b"{}", Content_Type=kind)), 415)
    user = User.objects.create(username="alice", password="!")
    # Where there is no body it says nothing.
    for path in (f"/api/v1/users/{user.pk}", "/api/v1/users?limit=1", "/api/v1/ping"):
        assert web.exchange(request("GET", path, Content_Type=kind)).status_code == 200
    assert wait.exchange(request("GET", "/api/v1/long-query?seconds=0", Content_Type=kind)).status_code == 200


@pytest.mark.parametrize(
    "kind", [f"{JSON}; charset=UTF-8", f'{JSON}; charset="utf-8"', f"{JSON};charset=utf8", "Application/JSON"]
)
def test_a_charset_that_is_utf_8(web: Service, kind: str) -> None:
    body = '{"username": "alice", "password": "long enough", "name": "Älice"}'.encode()
    response = web.exchange(request("POST", "/api/v1/users", body, Content_Type=kind))
    assert (response.status_code, response.json()["name"]) == (201, "Älice")


@pytest.mark.parametrize(
    "user", ["0", "-1", str(2**31), str(2**63), str(10**30), "9" * 3000, "1.5", "%00", "%ff", "%D9%A3"]
)
def test_an_id_that_is_none(web: Service, user: str) -> None:
    for path in (f"/api/v1/users/{user}", f"/api/v1/users/{user}/messages"):
        assert_told(web.exchange(request("GET", path)), 404)
        assert web.exchange(request("POST", path, b'{"text": "x"}')).status_code in (401, 404, 405)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Basic YTpi",
        "Bearer \xe9",
        "Bearer ünïcode",
        "Bearer " + "x" * 7000,
        "x",
        "bearer\t",
    ],
)
def test_a_token_that_is_none(web: Service, header: str) -> None:
    for method, path, body in (
        ("PATCH", "/api/v1/users/1", b'{"name": "x"}'),
        ("POST", "/api/v1/load-queries", b'{"n": 1}'),
    ):
        response = web.exchange(request(method, path, body, Authorization=header))
        assert_told(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


TAGS = ["", "x", '"', '"1', "W/", '"0"', '"' + "9" * 5000 + '"', '"é"', ",,,", "1", "\x01"]


@pytest.mark.parametrize("tag", TAGS)
def test_an_etag_that_is_none(web: Service, tag: str) -> None:
    user = User.objects.create(username="alice", password="!")
    user.refresh_from_db(using="default")
    token, _ = issue_token(user)
    path = f"/api/v1/users/{user.pk}"
    assert web.exchange(request("GET", path, If_None_Match=tag)).status_code in (200, 400)
    change = request("PATCH", path, b'{"name": "x"}', If_Match=tag, Authorization=f"Bearer {token}")
    assert web.exchange(change).status_code in (400, 412)
    assert User.objects.using("default").get(pk=user.pk).version == 1


@pytest.mark.parametrize(
    "query",
    [
        *("limit=", "limit=-1", "limit=1e3", "limit=" + "9" * 3000, "limit=1&limit=x", "limit=%00", "limit=%D9%A3"),
        *(
            "cursor=x",
            "cursor=%00",
            "cursor=%ff%fe",
            "cursor=cD0tMQ==",
            "cursor=bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk=",
            "cursor=" + "A" * 3000,
        ),
    ],
)
def test_a_page_that_is_none(web: Service, query: str) -> None:
    for path in ("/api/v1/users", "/api/v1/users/1/messages"):
        assert_told(web.exchange(request("GET", f"{path}?{query}")), 400)


@pytest.mark.parametrize("query", ["x=1", "&&&", "=", "%", "%zz", "a[]=1", "limit", "cursor="])
def test_a_parameter_that_nobody_asked_for_is_ignored(web: Service, query: str) -> None:
    assert web.exchange(request("GET", f"/api/v1/users?{query}")).status_code in (200, 400)
    assert web.exchange(request("GET", f"/api/v1/ping?{query}")).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /api/v1/ping\r\n\r\n",
        b"GET /api/v1/ping HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /api/v1/ping?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(b"X-%d: 1\r\n" % k for k in range(500))
        + b"\r\n",
        b"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused_by_the_server_itself(web: Service, raw: bytes) -> None:
    response = web.exchange(raw, then_close=True)
    assert 400 <= response.status_code < 500 or response.status_code == 505


@pytest.mark.parametrize("host", ["", "evil.example", "localhost:x", "localhost/", "a b", "[::1", "\xe9"])
def test_a_host_that_is_none(web: Service, wait: Service, host: str) -> None:
    for service in (web, wait):
        raw = f"GET /api/v1/ping HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert service.exchange(raw).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *(
            "long-query?seconds=",
            "long-query?seconds=nan",
            "long-query?seconds=1e400",
            "long-query?seconds=" + "9" * 5000,
        ),
        *("long-query?seconds=%00", "load-query/", "load-query/%00", "load-query/-1", "load-query/" + "9" * 5000),
        *("load-query/1.0", "load-query/%D9%A3", "nothing", "%ff", "load-query/1/2"),
    ],
)
def test_the_wait_service_says_what_was_wrong(wait: Service, path: str) -> None:
    response = wait.exchange(request("GET", f"/api/v1/{path}"))
    assert response.status_code in (400, 404)
    assert_told(response, response.status_code)


def test_the_wait_service_wants_no_body(wait: Service) -> None:
    path = "/api/v1/long-query"
    assert_told(wait.exchange(request("POST", path, b"{}")), 405)
    assert_told(wait.exchange(request("POST", path, Content_Length=str(BIG))), 413)
    head = request("POST", path, Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
    assert_told(wait.exchange(head + b"%x\r\n" % BIG + b"x" * BIG + b"\r\n0\r\n\r\n"), 411)


def test_none_of_this_left_a_trace(web: Service, wait: Service) -> None:
    """No 500, no traceback, no stuck thread."""
    for service in (web, wait):
        log = service.log.read_text()
        assert "Traceback" not in log
        assert '"status": 500' not in log
    assert httpx.get(f"{web.url}/health/ready").status_code == 200
