"""`make soak`: minutes of load and of converging, in which no VIP moves, because there is no cause."""

import os
import subprocess
import sys
import time

import pytest

import lab
from tests.faults.test_edge import changes_of_state, wait_until_at_home

pytestmark = pytest.mark.destructive

MINUTES = float(os.environ.get("MINUTES", "60"))
USERS = 4


def test_no_vip_moves_without_cause() -> None:
    wait_until_at_home()
    before = changes_of_state()
    until = time.monotonic() + 60 * MINUTES
    runs = 0
    while (left := until - time.monotonic()) > 0:
        load = subprocess.Popen(
            [sys.executable, "-m", "lab.load", str(USERS), f"{int(min(left, 600))}s"],
            cwd=lab.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while load.poll() is None:
            done = lab.tool(
                "ansible-playbook", f"--inventory={lab.INVENTORY}", "playbooks/site.yml", timeout=1800
            )
            assert done.returncode == 0, done.stdout
            runs += 1
    assert changes_of_state() == before
    wait_until_at_home()
    print(f"{MINUTES:g} minutes of load, converged {runs} times: no VIP moved")
