"""Hosts whose clocks differ are named. Each host of these tests is this machine, with a `date` of its own."""

import json
import subprocess
from pathlib import Path

import pytest

import lab

PLAY = """
- hosts: all
  gather_facts: false
  connection: local
  environment: {PATH: "{{ fake }}:/usr/bin:/bin"}
  tasks:
    - ansible.builtin.import_role: {name: preflight, tasks_from: clocks}
      vars: {preflight_hosts_file: hosts.yml}
"""


def compare(folder: Path, ahead: dict[str, int]) -> subprocess.CompletedProcess[str]:
    hosts = {}
    for host, seconds in ahead.items():
        (folder / host).mkdir()
        date = folder / host / "date"
        date.write_text(f'#!/bin/sh\nexec /usr/bin/date --date="{seconds} seconds" "$@"\n')
        date.chmod(0o755)
        hosts[host] = {"fake": str(folder / host)}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY)
    return lab.tool(
        *("ansible-playbook", "--inventory", str(folder / "hosts.yml"), str(folder / "play.yml")),
        environment={"COLUMNS": "1000"},
        timeout=60,
    )


def test_hosts_that_agree_pass_whatever_the_controller_s_clock_says(tmp_path: Path) -> None:
    done = compare(tmp_path, {"one": 3600, "two": 3600, "three": 3600})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seconds", [60, -60])
def test_a_host_whose_clock_differs_is_named(tmp_path: Path, seconds: int) -> None:
    done = compare(tmp_path, {"right": 0, "wrong": seconds})
    assert done.returncode != 0
    fast, slow = ("wrong", "right") if seconds > 0 else ("right", "wrong")
    said = " ".join(done.stdout.split())
    assert f"{fast}'s clock is" in said
    assert f"s ahead of {slow}'s" in said
