"""Tests that break a running topology (TOPOLOGY=postgresql, redis, rabbitmq), one fault after the other.

BALLAST_FAULT_RUNS repeats each fault (default once). What each cost is printed at the end and kept under
reports/faults/.
"""

import json
import os
import statistics
from collections.abc import Callable
from dataclasses import asdict

import pytest

import lab
from tests.faults.recorder import Figures

REPORT = lab.ROOT / "reports" / "faults" / f"{lab.TOPOLOGY}.json"
measured: dict[str, list[Figures]] = {}
gaps: dict[str, list[float]] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", range(1, int(os.environ.get("BALLAST_FAULT_RUNS", "1")) + 1))


@pytest.fixture
def report_gap() -> Callable[[str, float], None]:
    """Keeps for how long (seconds) a client had no answer."""
    return lambda trouble, seconds: gaps.setdefault(trouble, []).append(seconds)


@pytest.fixture
def report() -> Callable[[str, Figures], None]:
    """Keeps what a fault cost."""

    def keep(fault: str, figures: Figures) -> None:
        measured.setdefault(fault, []).append(figures)
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        runs = {name: [asdict(one) for one in those] for name, those in measured.items()}
        REPORT.write_text(json.dumps(runs, indent=2) + "\n")

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if gaps:
        terminalreporter.section("longest time without an answer (s)")
        line = "{:42} {:>4} {:>7} {:>7}".format
        terminalreporter.write_line(line("trouble", "runs", "median", "worst"))
        for trouble, seconds in gaps.items():
            median = f"{statistics.median(seconds):.2f}"
            terminalreporter.write_line(line(trouble, len(seconds), median, f"{max(seconds):.2f}"))
    if not measured:
        return
    terminalreporter.section("longest time between two acknowledged writes (s)")
    row = "{:42} {:>4} {:>7} {:>7} {:>8} {:>13} {:>5} {:>11} {:>15}".format
    heads = (
        "fault",
        "runs",
        "median",
        "worst",
        "healing",
        "acknowledged",
        "lost",
        "duplicated",
        "unanswered/kept",
    )
    terminalreporter.write_line(row(*heads))
    for fault, runs in measured.items():
        between = [figures.gap for figures in runs]
        total = {
            name: sum(getattr(figures, name) for figures in runs)
            for name in ("acknowledged", "lost", "duplicated", "unanswered", "unanswered_kept")
        }
        terminalreporter.write_line(
            row(
                fault,
                len(runs),
                f"{statistics.median(between):.2f}",
                f"{max(between):.2f}",
                f"{max(figures.gap_after_healing for figures in runs):.2f}",
                total["acknowledged"],
                total["lost"],
                total["duplicated"],
                f"{total['unanswered']}/{total['unanswered_kept']}",
            )
        )
