"""The tools of the virtual environment start whatever the user's environment says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import ROOT

BESIDE = Path(sys.executable).parent
# The last is what ssh brings along from a machine that has other locales.
LOCALES: list[dict[str, str]] = [
    {},
    {"LC_ALL": "C"},
    {"LC_ALL": "xx_XX.UTF-8"},
    {"LANG": "en_US.UTF-8", "LC_CTYPE": "UTF-8"},
]
STARTS = [("ansible --version", names) for names in LOCALES] + [("molecule list", LOCALES[-1])]


@pytest.mark.parametrize(("command", "names"), STARTS, ids=str)
def test_a_tool_starts_in_any_locale(command: str, names: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    program, *arguments = command.split()
    done = subprocess.run(
        [BESIDE / program, *arguments],
        cwd=ROOT,
        env=environment | names | {"PATH": f"{BESIDE}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
