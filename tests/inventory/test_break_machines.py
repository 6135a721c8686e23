"""pytest alone breaks nothing."""

import os
import subprocess
import sys

from lab import ROOT


def run(topology: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "tests/faults/test_edge.py"],
        cwd=ROOT,
        env=os.environ | {"TOPOLOGY": topology},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_flag_they_are_skipped() -> None:
    done = run("full")
    assert done.returncode == 0, done.stdout
    assert "breaks the machines of full: --break-machines allows it" in done.stdout
    assert " passed" not in done.stdout


def test_other_machines_than_the_lab_s_are_refused() -> None:
    done = run("example", "--break-machines")
    assert done.returncode == 2, done.stdout
    assert "is no inventory of the lab" in done.stdout + done.stderr
