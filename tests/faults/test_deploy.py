"""Planned changes of the application's hosts: no request fails."""

from collections.abc import Iterator

import pytest

import lab
from tests.faults.play import play
from tests.faults.prober import no_request_fails

pytestmark = pytest.mark.destructive

NEXT = "next-release"
CURRENT = "readlink /opt/ballast/current"


def current() -> set[str]:
    """The releases in use."""
    return {said.removeprefix("releases/") for said in lab.on("api,worker", CURRENT).values()}


@pytest.fixture(scope="module")
def before() -> Iterator[str]:
    """The release that every host runs, in the end again."""
    (release,) = current()
    yield release
    if current() != {release}:
        for name in ("app", "workers"):
            code, said = play(name)
            assert code == 0, said


def test_a_deploy_and_a_rollback_cost_no_request(before: str) -> None:
    with no_request_fails():
        code, said = play("deploy", app_release=NEXT)
        assert code == 0, said
        assert current() == {NEXT}
        code, said = play("rollback")
        assert code == 0, said
        assert current() == {before}


@pytest.mark.parametrize(
    ("tier", "unit"), [("lb", "haproxy"), ("lb", "keepalived"), ("web", "nginx")], ids=lambda each: each
)
def test_reloads_cost_no_request(tier: str, unit: str) -> None:
    with no_request_fails():
        lab.on(tier, f"for i in $(seq 25); do systemctl reload {unit}; sleep 0.2; done")


@pytest.mark.parametrize("tier", ["web", "api", "worker"])
def test_a_drained_host_can_be_stopped_and_no_request_fails(tier: str) -> None:
    host = lab.hosts(tier)[0]
    units = {"web": "nginx", "api": "ballast-web ballast-wait", "worker": "ballast-worker"}[tier]
    with no_request_fails():
        code, said = play("drain", host=host)
        assert code == 0, said
        lab.on(host, f"systemctl kill --signal=KILL {units} 2>/dev/null; systemctl stop {units}; sleep 2")
        lab.on(host, f"systemctl start {units}")
        code, said = play("undrain", host=host)
        assert code == 0, said


@pytest.mark.parametrize(
    ("name", "variables", "sentence"),
    [
        ("deploy", {"app_archive": "/nowhere.tar"}, "/nowhere.tar is not there, or holds no release"),
        ("deploy", {}, "every host runs"),
        ("rollback", {"app_release": "0.0.0"}, "has no release 0.0.0"),
        ("drain", {}, "say -e host=NAME"),
        ("drain", {"host": "pg1"}, "pg1 is none"),
    ],
)
def test_what_cannot_be_done_is_refused(
    name: str, variables: dict[str, str], sentence: str, before: str
) -> None:
    code, said = play(name, **variables)
    assert code != 0
    assert sentence in said
    assert current() == {before}


def test_the_last_host_is_not_drained() -> None:
    web = lab.hosts("web")[0]
    *others, last = (lab.variable("node_address", host) for host in lab.hosts("api"))
    drain = "; ".join(f"nginx-drain {address}" for address in others)
    undo = "; ".join(f"nginx-drain --undo {address}" for address in others)
    said = lab.on(web, f"{drain}; nginx-drain {last} 2>&1 || true; {undo}")[web]
    assert f"without {last} no server would be left" in said
