"""What the controller knows of a topology (TOPOLOGY, default full), and how to ask its hosts."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import requests
import yaml

ROOT = Path(__file__).parent.parent
TOPOLOGY = os.environ.get("TOPOLOGY", "full")
INVENTORY = ROOT / "inventory" / TOPOLOGY / "hosts.yml"


def tool(
    program: str, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs a program of the virtual environment, active or not, as the project has it configured.

    Its exit code is the caller's to judge. Raises subprocess.TimeoutExpired after `timeout` seconds.
    """
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _ansible(command: str, *arguments: str, **environment: str) -> Any:
    """The JSON that an Ansible command prints. Raises RuntimeError with its output when it prints none."""
    done = tool(command, "--inventory", str(INVENTORY), *arguments, environment=environment)
    try:
        # Other callbacks may add their words after it.
        return json.JSONDecoder().raw_decode(done.stdout, done.stdout.index("{"))[0]
    except ValueError as error:
        raise RuntimeError(f"{command} {' '.join(arguments)}:\n{done.stdout}{done.stderr}") from error


@cache
def inventory() -> dict[str, Any]:
    """Groups by name, and every host's variables under _meta.hostvars, as ansible-inventory lists them."""
    listed: dict[str, Any] = _ansible("ansible-inventory", "--list")
    return listed


def hosts(group: str) -> list[str]:
    """The names of a group's hosts, its children's among them, in the inventory's order."""
    entry = inventory()[group]
    names = list(entry.get("hosts", []))
    for child in entry.get("children", []):
        names += [name for name in hosts(child) if name not in names]
    return names


def variable(name: str, host: str | None = None) -> Any:
    """A variable that the inventory gives to a host (by default the first)."""
    return inventory()["_meta"]["hostvars"][host or hosts("ballast")[0]][name]


def port(service: str) -> int:
    """A service's port, out of the one port map."""
    services = yaml.safe_load((ROOT / "playbooks/group_vars/all/services.yml").read_text())["services"]
    return int(services[service]["port"])


def address(host: str, service: str) -> str:
    """Where a service of a host listens: address:port."""
    return f"{variable('node_address', host)}:{port(service)}"


# The command for a host; a function of its name where it differs.
Command = str | Callable[[str], str]


def on(pattern: str, command: Command) -> dict[str, str]:
    """Runs a shell command as root on every host of "group,host,...", all at once; host -> standard output.

    Raises RuntimeError, with the host's own words, when the command fails on one of them.
    """
    names = list(dict.fromkeys(name for part in pattern.split(",") for name in _named(part)))
    with ThreadPoolExecutor(len(names)) as pool:
        said = pool.map(lambda host: _on(host, command if isinstance(command, str) else command(host)), names)
        return dict(zip(names, said, strict=True))


def _named(group_or_host: str) -> list[str]:
    return hosts(group_or_host) if group_or_host in inventory() else [group_or_host]


def _on(host: str, command: str) -> str:
    shell = ["sh", "-c", command]
    line = shlex.join(shell if _reach()[host]["user"] == "root" else ["sudo", "--non-interactive", *shell])
    for left in reversed(range(3)):
        done = subprocess.run(
            [*ssh(host), line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        # ssh's own: a host that boots is not there yet, or not ready.
        if done.returncode != 255 or not left:
            break
        time.sleep(1)
    if done.returncode != 0:
        raise RuntimeError(f"{host}: {command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.rstrip("\n")


@cache
def _reach() -> dict[str, dict[str, str]]:
    """How the inventory says to reach each host."""
    names = {
        "address": "ansible_host | default(inventory_hostname)",
        "user": "ansible_user | default('')",
        "port": "ansible_port | default(22) | string",
        "key": "ansible_ssh_private_key_file | default('')",
        "more": "ansible_ssh_common_args | default('')",
    }
    message = "{" + ", ".join(f"'{name}': {expression}" for name, expression in names.items()) + "}"
    said = _ansible(
        "ansible",
        "all",
        "--connection=local",
        "--module-name=ansible.builtin.debug",
        f"--args=msg={{{{ {message} }}}}",
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        ANSIBLE_LOAD_CALLBACK_PLUGINS="true",
    )
    return {host: result["msg"] for host, result in said["plays"][0]["tasks"][0]["hosts"].items()}


def ssh(host: str) -> list[str]:
    """The start of a command line that runs something on a host, as the inventory says how to reach it."""
    reach = _reach()[host]
    command = [
        "ssh",
        *shlex.split(reach["more"]),
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=10",
        "-p",
        reach["port"],
    ]
    command += ["-i", str(Path(reach["key"]).resolve())] if reach["key"] else []
    return [*command, f"{reach['user']}@{reach['address']}" if reach["user"] else reach["address"]]


def secret(name: str) -> str:
    """A generated secret of the topology."""
    return (INVENTORY.parent / "secrets" / name).read_text().strip()


def vip_holders() -> dict[str, list[str]]:
    """The load balancers that have each of the two VIPs on an interface: one, when all is well."""
    addresses = on("lb", "ip -4 -oneline addr show")
    return {
        vip: [host for host, text in addresses.items() if f" {variable(vip)}/" in text]
        for vip in ("vip_edge", "vip_data")
    }


def postgresql_members() -> list[dict[str, Any]]:
    """Patroni's view of the cluster: name, role, state, timeline and lag (bytes) of every member."""
    url = f"http://{address(hosts('db')[0], 'patroni')}/cluster"
    members: list[dict[str, Any]] = requests.get(url, timeout=5).json()["members"]
    return members


def redis_replication(address: str = "", pattern: str = "cache") -> dict[str, str]:
    """INFO replication of the Redis at an address (default: each host's own), from a pattern's hosts."""
    password = secret("redis_check")

    def ask(host: str) -> str:
        server = address or variable("node_address", host)
        return f"REDISCLI_AUTH={password} redis-cli -h {server} --user check INFO replication"

    return on(pattern, ask)


def etcdctl(arguments: str, files: str = "--cert=/etc/etcd/member.pem --key=/etc/etcd/member.pem") -> str:
    """A shell command that asks the etcd of its own host, with that host's certificate or another one."""
    return (
        f"etcdctl --endpoints=https://127.0.0.1:{port('etcd_client')} --cacert=/etc/etcd/ca.crt {files}"
        f" --command-timeout=5s {arguments}"
    )


def rabbitmq(path: str, host: str | None = None) -> Any:
    """What RabbitMQ's management API says to a GET of a path, such as "nodes"."""
    url = f"http://{address(host or hosts('queue')[0], 'rabbitmq_management')}/api/{path}"
    answer = requests.get(url, auth=("admin", secret("rabbitmq_admin")), timeout=10)
    answer.raise_for_status()
    return answer.json()
