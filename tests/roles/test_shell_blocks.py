"""A shell block of more than one line stops at the first line that fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("roles", "playbooks", "molecule", "tests")
    for path in (TREE / folder).rglob("*.yml")
    if {"tasks", "handlers", "playbooks", "molecule", "tests"}.intersection(path.relative_to(TREE).parts)
)


def blocks(node: Any) -> Iterator[str]:
    """Every shell task's commands, wherever in plays and blocks it is."""
    if isinstance(node, list):
        for each in node:
            yield from blocks(each)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("ansible.builtin.shell", "shell"):
                yield value["cmd"] if isinstance(value, dict) else value
            else:
                yield from blocks(value)


SHELLS = [(path, cmd) for path in FILES for cmd in blocks(yaml.safe_load(path.read_text()))]
LONG = [(path, cmd) for path, cmd in SHELLS if "\n" in cmd.strip()]


def test_there_are_shell_blocks() -> None:
    assert len(LONG) > 10


@pytest.mark.parametrize(
    ("path", "cmd"), LONG, ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_it_begins_with_set_e(path: Path, cmd: str) -> None:
    assert cmd.startswith(("set -eu\n", "set -euo pipefail\n")), f"{path}:\n{cmd}"
