"""A change that is wrong stops at the first host, and the others serve on."""

from collections.abc import Iterator

import pytest

import lab
from tests.faults.play import play
from tests.faults.prober import Prober

pytestmark = pytest.mark.destructive

# Each is a play, its variables, and what it says.
WRONG: dict[str, tuple[str, dict[str, object], str]] = {
    "a setting that makes no sense": (
        "app",
        {"app_settings": {"BALLAST_LOG_LEVEL": "LOUD"}},
        "BALLAST_LOG_LEVEL must be one of",
    ),
    "a release that does not start": (
        "app",
        {"api_services_extra": {"web": {"command": "gunicorn ballast.no_such_module"}}},
        "does not serve with release",
    ),
    "a worker that does not start": (
        "workers",
        {"worker_services_extra": {"worker": {"command": "celery -A ballast.no_such_module worker"}}},
        "does not serve with release",
    ),
}
GROUPS = {"app": "api", "workers": "worker"}


def running(group: str) -> dict[str, str]:
    """What runs on each host, and since when."""
    units = "systemctl list-units --plain --no-legend 'ballast-*' | cut -d ' ' -f 1"
    show = f"systemctl show --property=ActiveEnterTimestamp,ActiveState $({units})"
    return lab.on(group, f"{show}; sha256sum /etc/ballast/app.env")


def settings_of(host: str) -> tuple[list[str], str]:
    """States and checksum in what `running` says of a host."""
    *states, checksum = [line for line in host.splitlines() if not line.startswith("ActiveEnterTimestamp")]
    return states, checksum


@pytest.fixture(scope="module", autouse=True)
def _mended() -> Iterator[None]:
    """Run again with what is right, the plays put the first host of each group right."""
    yield
    for name in GROUPS:
        code, said = play(name)
        assert code == 0, said


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_start_stops_at_the_first_host(what: str) -> None:
    name, variables, sentence = WRONG[what]
    first, *others = lab.hosts(GROUPS[name])
    before = running(GROUPS[name])
    url = f"http://{lab.variable('vip_edge')}/api/v1/users/42"
    with Prober(url, interval=0.1, timeout=10) as client:
        code, said = play(name, app_ready_timeout=5, **variables)
    assert code != 0
    assert sentence in said
    after = running(GROUPS[name])
    assert {host: after[host] for host in others} == {host: before[host] for host in others}
    # It runs what it ran, with the settings of before.
    assert settings_of(after[first]) == settings_of(before[first])
    assert len(client.answered) > 20
    assert client.failed == []
