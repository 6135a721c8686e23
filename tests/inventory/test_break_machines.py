"""pytest alone breaks nothing."""

import subprocess

import lab


def run(topology: str, *options: str) -> subprocess.CompletedProcess[str]:
    asked = ("-p", "no:cacheprovider", *options, "tests/faults/test_edge.py")
    return lab.tool("pytest", *asked, environment={"TOPOLOGY": topology}, timeout=60)


def test_without_the_flag_they_are_skipped() -> None:
    done = run("full")
    assert done.returncode == 0, done.stdout
    assert "breaks the machines of full: --break-machines allows it" in done.stdout
    assert " passed" not in done.stdout


def test_other_machines_than_the_lab_s_are_refused() -> None:
    done = run("example", "--break-machines")
    assert done.returncode == 2, done.stdout
    assert "is no inventory of the lab" in done.stdout + done.stderr
