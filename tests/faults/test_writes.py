"""What clients see while the way to PostgreSQL moves, or while PostgreSQL lets commits wait."""

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import lab
from lab import faults
from tests.faults.play import play
from tests.faults.test_edge import wait_until_at_home
from tests.faults.test_postgresql import wait_until_whole
from tests.patience import eventually

pytestmark = pytest.mark.destructive

GIVE_UP = 120


def url(host: str, path: str) -> str:
    """Of an api host itself, past the balancers."""
    return f"http://{lab.variable('node_address', host)}:{lab.port('api_web')}{path}"


def sign_up(base: Callable[[str], str], timeout: float = 30) -> requests.Response:
    body = {"username": f"writes-{uuid.uuid4().hex[:16]}", "password": "correct horse battery"}
    return requests.post(base("/api/v1/users"), json=body, headers={"Host": "localhost"}, timeout=timeout)


def through_the_edge(path: str) -> str:
    return f"http://{lab.variable('vip_edge')}{path}"


def at(host: str) -> Callable[[str], str]:
    return lambda path: url(host, path)


def assert_every_api_host_writes_and_is_ready() -> None:
    """At the first try: nothing has been sent yet, so nothing has to fail."""
    for host in lab.hosts("api"):
        answer = sign_up(at(host))
        assert answer.status_code == 201, (host, answer.text)
        ready = requests.get(url(host, "/health/ready"), timeout=10).json()
        assert ready["checks"] == dict.fromkeys(ready["checks"], True), (host, ready)
        read = requests.get(url(host, answer.headers["Location"]), headers={"Host": "localhost"}, timeout=10)
        assert read.status_code == 200, (host, read.text)


def test_the_first_write_after_the_data_vip_has_moved_succeeds() -> None:
    away = wait_until_at_home()["vip_data"]
    assert_every_api_host_writes_and_is_ready()
    faults.power_off(away)
    try:
        others = ",".join(host for host in lab.hosts("lb") if host != away)
        taken = f" {lab.variable('vip_data')}/"
        eventually(
            lambda: "".join(lab.on(others, "ip -4 -oneline addr show").values()),
            lambda said: taken in said,
            seconds=GIVE_UP,
        )
        assert_every_api_host_writes_and_is_ready()
    finally:
        faults.power_on(away)
        eventually(lambda: is_reachable(away), seconds=GIVE_UP)
    wait_until_at_home()
    assert_every_api_host_writes_and_is_ready()


def is_reachable(host: str) -> bool:
    try:
        lab.on(host, "true")
    except RuntimeError:
        return False
    return True


def test_the_first_write_after_a_switchover_succeeds() -> None:
    wait_until_whole()
    code, said = play("switchover")
    assert code == 0, said
    wait_until_whole()
    assert_every_api_host_writes_and_is_ready()


@pytest.fixture
def no_replicas() -> Iterator[None]:
    """The primary of PostgreSQL has nobody to stream to: commits wait."""
    primary = wait_until_whole()
    replicas = ",".join(host for host in lab.hosts("db") if host != primary)
    try:
        lab.on(replicas, "systemctl stop patroni")
        yield
    finally:
        lab.on(replicas, "systemctl start patroni")
        wait_until_whole()


def test_writes_that_wait_for_a_replica_leave_reads_and_ping_alone(no_replicas: None) -> None:
    with ThreadPoolExecutor(60) as pool:
        writes = [pool.submit(sign_up, through_the_edge) for _ in range(60)]
        took: dict[str, list[float]] = {}
        while not all(write.done() for write in writes):
            for path in ("/api/v1/ping", "/api/v1/users/42", "/api/v1/users/77/messages", "/health/ready"):
                began = time.monotonic()
                answer = requests.get(through_the_edge(path), timeout=10)
                assert answer.status_code == 200, (path, answer.text)
                took.setdefault(path, []).append(time.monotonic() - began)
        answers = [write.result() for write in writes]
    assert {answer.status_code for answer in answers} == {503}
    kinds = {answer.json()["type"].rpartition(":")[2] for answer in answers}
    assert "outcome-unknown" in kinds
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert {path: statistics.median(times) < 1 for path, times in took.items()} == dict.fromkeys(took, True)


def test_the_vips_are_at_home_in_the_end() -> None:
    wait_until_at_home()
    assert all(len(each) == 1 for each in lab.vip_holders().values())
