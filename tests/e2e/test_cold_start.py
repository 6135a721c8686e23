"""All machines lose their power at once; then they get it back, one after the other."""

import time

import pytest
import requests

import lab
from lab import faults
from tests.e2e.conftest import API
from tests.e2e.test_service import sign_up, wait_for

# Seconds.
GIVE_UP = 300


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
    with capsys.disabled():
        print(f"All well {time.monotonic() - began:.1f} s after the last machine got its power back.")

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
