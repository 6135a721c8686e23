"""Refuses to send load anywhere but to the lab, or more of it than was agreed."""

import ipaddress
import json
import os
import socket
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# Written beside these files by the role that installs them, from the inventory.
LAB_FILE = Path(os.environ.get("LAB_FILE", Path(__file__).parent / "lab.toml"))


class RefusedError(Exception):
    """Why the run does not start, as a sentence for its operator."""


@dataclass(frozen=True)
class Lab:
    host: str  # where requests go unless --host says otherwise
    network: ipaddress.IPv4Network
    interface: str
    max_users: int
    max_seconds: int


def read_lab(path: Path = LAB_FILE) -> Lab:
    if not path.exists():
        raise RefusedError(f"{path} is missing: only the inventory's load host sends load (load.yml).")
    values = tomllib.loads(path.read_text())
    return Lab(**{**values, "network": ipaddress.IPv4Network(values["network"])})


def route(address: str) -> dict[str, object]:
    """The kernel's way to an address, as `ip -json route get` tells it."""
    answer = subprocess.run(
        ["ip", "-json", "route", "get", address], capture_output=True, text=True, timeout=5, check=False
    )
    if answer.returncode != 0:
        raise RefusedError(f"There is no route to {address}: {answer.stderr.strip()}")
    routes: list[dict[str, object]] = json.loads(answer.stdout)
    return routes[0]


def check_target(lab: Lab, url: str) -> None:
    """Every address of the target must be the inventory's, and on the lab's own link."""
    target = urlsplit(url)
    if target.scheme not in ("http", "https") or not target.hostname:
        raise RefusedError(f"--host {url!r} is no http:// or https:// URL.")
    try:
        found = socket.getaddrinfo(target.hostname, target.port or target.scheme, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RefusedError(f"{target.hostname} does not resolve: {error}") from error
    for address in sorted({str(entry[4][0]) for entry in found}):
        if ipaddress.ip_address(address) not in lab.network:
            raise RefusedError(f"{target.hostname} is {address}, outside the network {lab.network}.")
        way = route(address)
        # An address of this very host (a topology of one) goes over the loopback.
        direct = way.get("dev") == lab.interface and "gateway" not in way
        if not (direct or way.get("type") == "local"):
            raise RefusedError(f"{address} is reached by {way.get('dev')}, not directly by {lab.interface}.")


def check_size(lab: Lab, users: int, seconds: int | None) -> None:
    if not 1 <= users <= lab.max_users:
        raise RefusedError(f"{users} users: this host may play 1 to {lab.max_users}.")
    if seconds is None or not 1 <= seconds <= lab.max_seconds:
        raise RefusedError(f"A run of {seconds} s: this host may run 1 to {lab.max_seconds} s.")
