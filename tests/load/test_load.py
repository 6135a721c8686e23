"""Load is judged by its objectives, and refused where it must not go."""

import ipaddress
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "load"))

import bounds
import slo

LAB = bounds.Lab("http://127.0.0.1", ipaddress.IPv4Network("127.0.0.0/8"), "lo", max_users=10, max_seconds=60)
OBJECTIVES = slo.Objectives(failure_ratio=0.01, p95={"GET /ping": 100})


def failed(run: dict[str, slo.Measured]) -> list[str]:
    return [verdict.name for verdict in slo.judge(OBJECTIVES, run) if not verdict.passed]


def test_a_run_within_its_objectives_passes() -> None:
    assert failed({"GET /ping": slo.Measured(100, 1, 100)}) == []


@pytest.mark.parametrize(
    ("run", "missed"),
    [
        ({"GET /ping": slo.Measured(100, 2, 10)}, ["GET /ping", "all"]),
        ({"GET /ping": slo.Measured(100, 0, 101)}, ["GET /ping"]),
        ({}, ["GET /ping", "all"]),
        ({"GET /ping": slo.Measured(0, 0, 0)}, ["GET /ping", "all"]),
        ({"GET /ping": slo.Measured(9, 0, 1), "GET /new": slo.Measured(1, 0, 1)}, ["GET /new"]),
    ],
    ids=["failures", "slow", "nothing ran", "never asked", "without an objective"],
)
def test_a_missed_objective_is_named(run: dict[str, slo.Measured], missed: list[str]) -> None:
    assert failed(run) == missed


def test_the_objectives_can_be_read() -> None:
    objectives = slo.read_objectives()
    assert 0 < objectives.failure_ratio < 1
    assert len(objectives.p95) == 6


def test_the_lab_is_a_target() -> None:
    bounds.check_target(LAB, "http://127.0.0.1:8080")
    bounds.check_size(LAB, 10, 60)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://192.0.2.1", "outside the network"),
        ("ftp://127.0.0.1", "no http"),
        ("http://does-not-exist.invalid", "does not resolve"),
    ],
)
def test_any_other_target_is_refused(url: str, why: str) -> None:
    with pytest.raises(bounds.RefusedError, match=why):
        bounds.check_target(LAB, url)


@pytest.mark.parametrize(
    "way",
    [{"dev": "eth0", "gateway": "192.0.2.254"}, {"dev": "eth9"}, {"dev": "lo", "gateway": "127.0.0.9"}],
    ids=["another way out", "another interface", "a gateway on the interface"],
)
def test_an_address_of_the_lab_that_is_not_on_its_link_is_refused(
    way: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "route", lambda _: way)
    with pytest.raises(bounds.RefusedError, match="not directly"):
        bounds.check_target(LAB, "http://127.0.0.1")


@pytest.mark.parametrize(("users", "seconds"), [(0, 10), (11, 10), (1, 0), (1, 61), (1, None)])
def test_more_than_agreed_is_refused(users: int, seconds: int | None) -> None:
    with pytest.raises(bounds.RefusedError):
        bounds.check_size(LAB, users, seconds)


def test_a_host_without_a_lab_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bounds.RefusedError, match="only the inventory's load host"):
        bounds.read_lab(tmp_path / "lab.toml")
