"""Whatever a client sends, an answer comes: never a 5xx, and a problem whichever layer says it."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPResponse

import pytest

import lab

pytestmark = pytest.mark.tier("lb")

PING, USERS = "/api/v1/ping", "/api/v1/users"
# Seconds: more than any layer has patience for.
GIVE_UP = 30


def request(method: str, path: str, body: bytes = b"", /, **headers: str) -> bytes:
    """As it goes over the wire. Names of headers have `_` for `-`."""
    given = {"Host": "localhost", "Connection": "close"}
    if body:
        given |= {"Content_Type": "application/json", "Content_Length": str(len(body))}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (given | headers).items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def exchange(edge: str, *parts: bytes, pause: float = 0) -> Answer:
    """Sends the parts with a pause between them, unless the answer comes before."""
    with socket.create_connection((edge, 80), timeout=5) as connection:
        connection.sendall(parts[0])
        for part in parts[1:]:
            connection.settimeout(pause)
            try:
                connection.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                connection.sendall(part)
        connection.settimeout(GIVE_UP)
        response = HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def assert_problem(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]


PROBLEMS = {
    "a path with a NUL": (request("GET", f"{USERS}/%00"), 404),
    "a path of no UTF-8": (request("GET", f"{USERS}/%ff"), 404),
    "a path with half an escape": (request("GET", f"{USERS}/%zz"), 400),
    "a path above the root": (request("GET", "/../../etc/passwd"), 400),
    "a path above the root, escaped": (request("GET", "/%2e%2e/%2e%2e/etc/passwd"), 400),
    "a path that ends in half an escape": (request("GET", f"{USERS}/%4"), 400),
    "a path that is a star": (request("OPTIONS", "*"), 400),
    "an address of 5,000 bytes": (request("GET", f"{PING}?{'x' * 5000}"), 414),
    "an address of 9,000 bytes": (request("GET", f"{PING}?{'x' * 9000}"), 414),
    "a path of 20,000 bytes": (request("GET", f"{USERS}/{'x' * 20_000}"), 414),
    "a cookie of 9,000 bytes": (request("GET", PING, Cookie="x" * 9000), 431),
    "a cookie of 30,000 bytes": (request("GET", PING, Cookie="x" * 30_000), 431),
    "90 headers": (request("GET", PING, b"", **{f"X_{k}": "x" for k in range(90)}), 431),
    "TRACE": (request("TRACE", PING), 405),
    "CONNECT": (request("CONNECT", "localhost:443"), 405),
    "a method that nobody knows": (request("BREW", PING), 405),
    "a method that is not for this address": (request("DELETE", PING), 405),
    "no host": (b"GET /api/v1/ping HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    "a host of somebody else": (request("GET", PING, Host="example.org"), 400),
    "a body of another kind": (request("POST", USERS, b"x", Content_Type="text/plain"), 415),
    "a body in a secret alphabet": (
        request("POST", USERS, b"{}", Content_Type="application/json; charset=rot13"),
        415,
    ),
    "a body of no alphabet": (
        request("POST", USERS, b"{}", Content_Type="application/json; charset=undefined"),
        415,
    ),
    "a body that is no JSON": (request("POST", USERS, b"{"), 400),
    "a body that is too large": (request("POST", USERS, b" " * 70_000), 413),
    "a body that is announced as too large": (request("POST", USERS, Content_Length="3000000"), 413),
    "metrics, which are not for clients": (request("GET", "/metrics"), 404),
    "a static file that is none": (request("GET", "/static/none"), 404),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_makes_no_sense_is_answered_with_a_problem(edge: str, name: str) -> None:
    raw, status = PROBLEMS[name]
    assert_problem(exchange(edge, raw), status)


HARMLESS = {
    "a charset that nobody looks at": request("GET", PING, Content_Type="application/json; charset=rot13"),
    "a range of an answer": request("GET", PING, Range="bytes=0-0"),
    "an address with a name of its own": request("GET", "http://localhost/api/v1/ping"),
    "headers of 8 KB together": request("GET", PING, b"", **{f"X_{k}": "x" * 300 for k in range(24)}),
    "an address of 3,900 bytes": request("GET", f"{PING}?{'x' * 3800}"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_served(edge: str, name: str) -> None:
    assert exchange(edge, HARMLESS[name]).status == 200


NO_HTTP = {
    "nonsense": b"nonsense\r\n\r\n",
    "a length below zero": request("POST", USERS, b"{}", Content_Length="-1"),
    "a length that is no number": request("POST", USERS, b"{}", Content_Length="two"),
    "two lengths": request("POST", USERS, b"{}").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "an encoding that is none": request("POST", USERS, b"{}", Transfer_Encoding="gzip"),
    "a path with a control character": request("GET", f"{USERS}/\x7f"),
    "a path with a letter that is no ASCII": request("GET", "/caf\xe9"),
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused(edge: str, name: str) -> None:
    """In HAProxy's own words, which cannot be set: it has not even seen a request."""
    assert exchange(edge, NO_HTTP[name]).status == 400


def test_a_client_that_dawdles_is_cut_off(edge: str) -> None:
    """Paused or one byte every two seconds: 408 within a moment, and no server was kept waiting."""
    head = request("POST", USERS, Content_Type="application/json", Content_Length="400")
    get = request("GET", PING, Content_Length="20")
    cases = {
        "a body that pauses": ((head, b"{"), 12.0),
        "a body that trickles": ((head, *[b"x"] * 30), 2.0),
        "a GET with a body that pauses": ((get, b"x"), 12.0),
        "headers that trickle": ((b"GET / HTTP/1.1\r\nHost: localhost\r\n", *[b"X: y\r\n"] * 30), 2.0),
    }
    began = time.monotonic()
    with ThreadPoolExecutor(len(cases)) as pool:
        running = {
            name: pool.submit(exchange, edge, *parts, pause=pause) for name, (parts, pause) in cases.items()
        }
        answers = {name: future.result() for name, future in running.items()}
    assert time.monotonic() - began < GIVE_UP
    # Of headers HAProxy says it in its own words.
    assert answers.pop("headers that trickle").status == 408
    for answer in answers.values():
        assert_problem(answer, 408)


def test_a_body_that_comes_in_pieces_is_read(edge: str) -> None:
    head = request("POST", USERS, Content_Type="application/json", Content_Length="2")
    answer = exchange(edge, head, b"{", b"}", pause=1.5)
    assert_problem(answer, 400)
    assert b"username" in answer.body


def test_an_endpoint_has_a_limit_for_each_client(edge: str) -> None:
    (limit,) = lab.variable("haproxy_edge_limits")
    answers = [exchange(edge, request("GET", limit["path"])) for _ in range(limit["per_minute"] + 2)]
    # Another run may have been a moment ago.
    assert {answer.status for answer in answers} in ({404, 429}, {429})
    assert_problem(answers[-1], 429)
    assert answers[-1].headers["retry-after"] == "1"
    # It is for this method and path only.
    assert exchange(edge, request("OPTIONS", limit["path"])).status == 404
