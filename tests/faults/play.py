"""The project's playbooks, as a person would run them."""

import json
import os
import subprocess
import sys

import lab
from lab import faults


def play(name: str, **variables: object) -> tuple[int, str]:
    """Runs a playbook; its exit code and what it said, in one line."""
    command = ["playbook", f"--inventory={lab.INVENTORY}", f"playbooks/{name}.yml"]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", *command, f"--extra-vars={json.dumps(variables)}"],
        cwd=lab.ROOT,
        # Molecule asks for colour: its codes would stand between the words of a sentence that was folded.
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def removal_is_refused(member: str, *, tier: str, down: str, stays: str) -> None:
    """Of three hosts of a tier one is down: remove.yml has to spare the other that `stays` needs."""
    faults.power_off(down)
    try:
        code, said = play("remove", member=member)
    finally:
        faults.power_on(down)
    assert code != 0
    left = f"without {member} {tier} has 2 members, 2 of them have to work, and {stays} does"
    assert f"No removal: {left}" in said
