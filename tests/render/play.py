"""Runs a play that renders the roles' templates with the plays' own wiring."""

import json
from collections.abc import Mapping

import lab


def render(inventory: str, play: str, values: Mapping[str, object]) -> None:
    """Only the tasks that are tagged so; the roles are in the play for their defaults."""
    done = lab.tool(
        *("ansible-playbook", "--tags=render", "--inventory", inventory),
        *("--extra-vars", json.dumps(values), play),
    )
    assert done.returncode == 0, done.stdout + done.stderr
