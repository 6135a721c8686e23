"""Preflight refuses what cannot work with a sentence that names file and fix; the topologies pass."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import lab
from lab import ROOT

TOPOLOGIES = sorted(path.parent.name for path in (ROOT / "inventory").glob("*/hosts.yml"))


def preflight(hosts_file: Path) -> subprocess.CompletedProcess[str]:
    play = "playbooks/preflight_inventory.yml"
    arguments = ("--inventory", str(hosts_file), play)
    return lab.tool("ansible-playbook", *arguments, environment={"COLUMNS": "1000"}, timeout=60)


def write(folder: Path, hosts: dict[str, Any], **group_vars: str) -> Path:
    """A topology like the full one, with its own hosts and variables on top of the lab's."""
    variables = yaml.safe_load((ROOT / "inventory" / "lab.yml").read_text()) | group_vars
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "ballast.yml").write_text(yaml.safe_dump(variables))
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return folder / "hosts.yml"


@pytest.fixture
def full() -> dict[str, Any]:
    text = (ROOT / "inventory" / "full" / "hosts.yml").read_text()
    hosts: dict[str, Any] = copy.deepcopy(yaml.safe_load(text))
    return hosts


def sentence_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0, done.stdout
    return " ".join((done.stdout + done.stderr).split())


def test_there_are_the_topologies_of_the_readme() -> None:
    assert TOPOLOGIES == ["compact", "example", "full", "postgresql", "rabbitmq", "redis", "single"]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_topology_passes(topology: str) -> None:
    done = preflight(ROOT / "inventory" / topology / "hosts.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_hosts_on_one_address_are_refused(full: dict[str, Any], tmp_path: Path) -> None:
    full["ballast"]["children"]["api"]["hosts"]["api2"]["node_address"] = "192.168.56.31"
    said = sentence_of(preflight(write(tmp_path, full)))
    assert f"{tmp_path}/hosts.yml: two hosts have one address: api1 and api2" in said


def test_an_even_number_of_etcd_members_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    del full["ballast"]["children"]["db"]["hosts"]["pg3"]
    said = sentence_of(preflight(write(tmp_path, full)))
    assert f"{tmp_path}/hosts.yml: group etcd has 2 members" in said
    assert "use 1, 3 or 5" in said


def test_a_vip_outside_its_network_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    said = sentence_of(preflight(write(tmp_path, full, vip_data="10.1.2.3")))
    assert "vip_data is 10.1.2.3, outside network_cidr (192.168.56.0/24)" in said
    assert f"{tmp_path}/hosts.yml" in said


def test_a_vip_that_a_host_has_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    said = sentence_of(preflight(write(tmp_path, full, vip_edge="192.168.56.11")))
    assert "must be two addresses that no host has" in said


def test_a_host_without_an_address_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    del full["ballast"]["children"]["web"]["hosts"]["web2"]["node_address"]
    said = sentence_of(preflight(write(tmp_path, full)))
    assert "web2 has no node_address" in said


def test_an_empty_tier_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    full["ballast"]["children"]["worker"]["hosts"] = {}
    said = sentence_of(preflight(write(tmp_path, full)))
    assert "group worker has no host" in said


def test_secrets_that_came_along_in_a_copy_are_refused(full: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    mark = tmp_path / "secrets" / "made-for"
    mark.write_text("full\n")
    said = sentence_of(preflight(write(tmp_path, full)))
    assert f"{tmp_path}/secrets was made for the inventory full, and this is {tmp_path.name}" in said
    mark.write_text(f"{tmp_path.name}\n")
    assert preflight(tmp_path / "hosts.yml").returncode == 0


def test_a_topology_that_does_not_exist_is_refused() -> None:
    done = subprocess.run(
        ["make", "up", "TOPOLOGY=huge"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert (
        f"TOPOLOGY=huge: there is no inventory/huge/hosts.yml. Known: {' '.join(TOPOLOGIES)}" in done.stderr
    )
