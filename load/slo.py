"""Judges a finished run by slo.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SLO_FILE = Path(__file__).parent / "slo.toml"


@dataclass(frozen=True)
class Objectives:
    failure_ratio: float
    p95: Mapping[str, float]  # ms, by "METHOD name"


@dataclass(frozen=True)
class Measured:
    requests: int
    failures: int
    p95: float  # ms


@dataclass(frozen=True)
class Verdict:
    name: str
    objective: str
    measured: str
    passed: bool


def read_objectives(path: Path = SLO_FILE) -> Objectives:
    values = tomllib.loads(path.read_text())
    return Objectives(failure_ratio=float(values["failure_ratio"]), p95=values["p95"])


def judge(objectives: Objectives, run: Mapping[str, Measured]) -> list[Verdict]:
    """A verdict for each objective. What was never asked has failed; so has what has no objective."""
    verdicts = []
    for name in sorted({*objectives.p95, *run}):
        measured = run.get(name)
        if measured is None or not measured.requests:
            verdicts.append(Verdict(name, "to be asked", "no request", passed=False))
        elif name not in objectives.p95:
            verdicts.append(Verdict(name, "an objective", f"p95 {measured.p95:.0f} ms", passed=False))
        else:
            limit, p95 = objectives.p95[name], measured.p95
            verdicts.append(Verdict(name, f"p95 <= {limit:.0f} ms", f"{p95:.0f} ms", passed=p95 <= limit))
            verdicts.append(_failures(name, objectives.failure_ratio, measured.failures, measured.requests))
    requests = sum(measured.requests for measured in run.values())
    failures = sum(measured.failures for measured in run.values())
    verdicts.append(_failures("all", objectives.failure_ratio, failures, requests))
    return verdicts


def _failures(name: str, limit: float, failures: int, requests: int) -> Verdict:
    return Verdict(
        name,
        f"failed <= {limit:.2%}",
        f"{failures} of {requests}",
        passed=requests > 0 and failures <= limit * requests,
    )


def table(verdicts: list[Verdict]) -> str:
    rows = [
        f"{'pass' if v.passed else 'FAIL'}  {v.name:<24} {v.objective:<20} {v.measured}" for v in verdicts
    ]
    rows.append(f"{sum(v.passed for v in verdicts)} of {len(verdicts)} objectives met")
    return "\n".join(rows)
