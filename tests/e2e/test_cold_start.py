"""All machines lose their power at once; then they get it back, one after the other."""

import time
from collections.abc import Callable

import pytest
import requests

import lab
from lab import faults
from tests.e2e import test_cluster
from tests.e2e.conftest import API
from tests.e2e.test_service import sign_up, wait_for

# Seconds.
GIVE_UP = 300

# An API host asks for what it needs at the moment; these ask for every member, and every VIP in its place.
WHOLE = (
    test_cluster.test_exactly_one_load_balancer_holds_each_vip,
    test_cluster.test_every_etcd_member_answers,
    test_cluster.test_postgresql_has_one_primary_and_the_others_stream_from_it,
    test_cluster.test_redis_has_one_primary_and_the_others_replicate_it,
    test_cluster.test_rabbitmq_is_one_cluster_with_quorum_queues,
)


@pytest.mark.destructive
@pytest.mark.tier("lb", "worker")
def test_the_service_is_back_with_no_hand_on_it_and_has_what_it_acknowledged(
    api: API, capsys: pytest.CaptureFixture[str]
) -> None:
    user, _ = sign_up(api)
    accepted = [api.post("/api/v1/load-queries", json={"n": n}) for n in range(20)]
    assert [answer.status_code for answer in accepted] == [202] * 20

    faults.power_cycle(lab.hosts("ballast"))
    began = time.monotonic()
    while (said := readiness(api)) != "ok":
        assert time.monotonic() - began < GIVE_UP, f"{GIVE_UP} s after the last machine got its power: {said}"
        time.sleep(0.5)
    serving = time.monotonic() - began
    for check in WHOLE:
        eventually(check, until=began + GIVE_UP)
    whole = time.monotonic() - began
    with capsys.disabled():
        print(f"Seconds after the last machine got its power back: serving {serving:.1f}, whole {whole:.1f}.")
    # What was open goes to where the VIPs were.
    api.close()

    assert api.get(f"/api/v1/users/{user['id']}").json()["username"] == user["username"]
    for answer in accepted:
        assert wait_for(api, answer.headers["Location"])["state"] == "done"


def readiness(api: API) -> str:
    """What an API host says of itself and of what it needs: ok, degraded, or what was in the way."""
    try:
        answer = api.get("/health/ready", timeout=5)
        return str(answer.json().get("status")) if answer.status_code == 200 else answer.text
    except requests.RequestException as error:
        return str(error)


def eventually(check: Callable[[], None], *, until: float) -> None:
    while True:
        try:
            return check()
        except (AssertionError, LookupError, RuntimeError, requests.RequestException):
            if time.monotonic() > until:
                raise
        time.sleep(1)
