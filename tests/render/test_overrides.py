"""What an inventory's group_vars say wins over every role's defaults, and over the plays' wiring."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.render.play import render

TREE = Path(__file__).parents[2]
ROLES = TREE / "roles"

# role: (what an inventory sets, the template that shows it, the words that must stand there)
RENDERED: dict[str, tuple[dict[str, Any], str, str]] = {
    "app": (
        {"api_services_extra": {"web": {"memory_max": "471M"}}},
        "app.service.j2",
        "MemoryMax=471M",
    ),
    "common": ({"common_journal_max": "471M"}, "journald.conf.j2", "SystemMaxUse=471M"),
    "etcd": ({"etcd_snapshot_count": 4711}, "etcd.env.j2", "ETCD_SNAPSHOT_COUNT=4711"),
    "haproxy": (
        {"haproxy_edge_rate_limit": 4711},
        "haproxy.cfg.j2",
        "if { sc0_http_req_rate gt 4711 }",
    ),
    "keepalived": ({"keepalived_advert_interval": 0.375}, "keepalived.conf.j2", "advert_int 0.375"),
    "locust": ({"locust_max_users": 4711}, "lab.toml.j2", "max_users = 4711"),
    "nginx": ({"nginx_worker_connections": 4711}, "nginx.conf.j2", "worker_connections 4711;"),
    "patroni": ({"patroni_parameters_extra": {"work_mem": "47MB"}}, "config.yml.j2", '"work_mem": "47MB"'),
    "pgbackrest": ({"pgbackrest_retention_full": 7}, "pgbackrest.conf.j2", "retention-full=7"),
    "rabbitmq": ({"rabbitmq_memory_watermark": "471MiB"}, "rabbitmq.conf.j2", "absolute = 471MiB"),
    "redis": ({"redis_settings_extra": {"maxmemory": "47mb"}}, "server.conf.j2", 'maxmemory "47mb"'),
}
# The same for what the plays wire: a name that playbooks/group_vars/all sets.
WIRED: dict[str, tuple[dict[str, Any], str, str]] = {
    "app": (
        {"api_services": {"web": {"command": "mine", "memory_max": "1G"}}},
        "app.service.j2",
        "/bin/mine",
    ),
    "etcd": ({"etcd_name": "mine"}, "etcd.env.j2", "ETCD_NAME=mine"),
    "haproxy": ({"haproxy_edge_check_path": "/mine"}, "haproxy.cfg.j2", "uri /mine"),
    "keepalived": (
        {"keepalived_check_url": "192.0.2.9:1/x"},
        "keepalived.conf.j2",
        "check_http 192.0.2.9:1/x",
    ),
    "locust": ({"locust_host": "https://mine"}, "lab.toml.j2", 'host = "https://mine"'),
    "nginx": ({"nginx_port": 4711}, "nginx.conf.j2", ":4711 "),
    "patroni": ({"patroni_scope": "mine"}, "config.yml.j2", "scope: mine"),
    "pgbackrest": ({"pgbackrest_stanza": "mine"}, "pgbackrest.conf.j2", "[mine]"),
    "rabbitmq": ({"rabbitmq_cluster_name": "mine"}, "rabbitmq.conf.j2", "cluster_name = mine"),
    "redis": ({"redis_port": 4711}, "server.conf.j2", "port 4711"),
}
# Roles whose files are none of a template: what they take is asked for.
ASKED = {"pki", "preflight", "release"}


def test_every_role_is_here() -> None:
    assert {path.name for path in ROLES.iterdir()} == set(RENDERED) | ASKED


def inventory(folder: Path, variables: dict[str, Any]) -> Path:
    """One host in every group, and group variables as the README says that one writes them."""
    groups = ["lb", "web", "api", "worker", "db", "etcd", "backup", "cache", "queue", "load"]
    one = {"hosts": {"one": {"node_address": "192.0.2.1"}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"ballast": {"children": dict.fromkeys(groups, one)}}))
    names = {
        "network_cidr": "192.0.2.0/24",
        "vip_edge": "192.0.2.10",
        "vip_data": "192.0.2.50",
        "node_interface": "eth1",
        "ansible_python_interpreter": sys.executable,
        "app_release": "1",
    }
    (folder / "group_vars/ballast").mkdir(parents=True)
    (folder / "group_vars/ballast/main.yml").write_text(yaml.safe_dump(names | variables))
    secrets = yaml.safe_load((TREE / "playbooks/group_vars/all/secrets.yml").read_text())["secrets"]
    for name in [*secrets, *(f"pki/{name}.{kind}" for name in PKI for kind in ("crt", "key"))]:
        file = folder / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x" * 40)
    return folder / "hosts.yml"


PKI = ["edge/edge", *(f"{purpose}/{name}" for purpose in ("etcd", "pgbackrest") for name in ("ca", "one"))]


@pytest.fixture(scope="module", params=[RENDERED, WIRED], ids=["defaults", "wiring"])
def rendered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str]]:
    """Each role's file, and the words that must stand in it, after one run with all that is overridden."""
    cases: dict[str, tuple[dict[str, Any], str, str]] = request.param
    folder = tmp_path_factory.mktemp("overrides")
    # Ansible takes group_vars from beside the playbook.
    plays = folder / "plays"
    plays.mkdir()
    (plays / "group_vars").symlink_to(TREE / "playbooks/group_vars")
    (plays / "overrides.yml").write_text(Path(__file__).with_name("overrides.yml").read_text())
    variables = {name: value for given, _, _ in cases.values() for name, value in given.items()}
    values = {
        "render_to": str(folder),
        "render_roles": str(ROLES),
        "renders": {role: template for role, (_, template, _) in cases.items()},
    }
    render(str(inventory(folder, variables)), str(plays / "overrides.yml"), values)
    return {role: ((folder / role).read_text(), words) for role, (_, _, words) in cases.items()}


def test_an_inventory_overrides(rendered: dict[str, tuple[str, str]]) -> None:
    assert {role: words for role, (text, words) in rendered.items() if words not in text} == {}
