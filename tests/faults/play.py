"""The project's playbooks, as a person would run them."""

import json
import os
import signal
import subprocess
import sys

import lab
from lab import faults


def _start(name: str, variables: dict[str, object]) -> subprocess.Popen[str]:
    command = ["playbook", f"--inventory={lab.INVENTORY}", f"playbooks/{name}.yml"]
    return subprocess.Popen(
        [sys.executable, "-m", "ansible", *command, f"--extra-vars={json.dumps(variables)}"],
        cwd=lab.ROOT,
        # Molecule asks for colour: its codes would stand between the words of a sentence that was folded.
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def play(name: str, **variables: object) -> tuple[int, str]:
    """Runs a playbook; its exit code and what it said, in one line."""
    with _start(name, variables) as running:
        try:
            said, _ = running.communicate(timeout=900)
        finally:
            _kill(running)
    return running.returncode, " ".join(said.split())


def play_until(task: str, name: str, **variables: object) -> None:
    """Runs a playbook and kills it, and what it runs here, when it comes to a task."""
    with _start(name, variables) as running:
        assert running.stdout
        said = []
        try:
            for line in running.stdout:
                said.append(line)
                if line.startswith(f"TASK [{task}]"):
                    return
        finally:
            _kill(running)
    raise AssertionError(f"{name} did not come to {task}: {''.join(said)}")


def _kill(running: subprocess.Popen[str]) -> None:
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)


def stops_at_the_first_host(name: str, group: str, unit: str, **wrong: object) -> None:
    """With a wrong setting a play restarts the first host's daemon, in vain, and leaves the others alone."""
    show = f"systemctl show --property=MainPID,ActiveState {unit}"
    first, *others = lab.hosts(group)
    before = lab.on(group, show)
    try:
        code, said = play(name, **wrong)
        after = lab.on(group, show)
    finally:
        mended, last = play(name)
    assert code != 0, said
    assert after[first] != before[first]
    assert {host: after[host] for host in others} == {host: before[host] for host in others}
    assert mended == 0, last


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
