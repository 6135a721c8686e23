"""Breaks one host or service of the lab, and heals it: what tests and drills share.

A fault begins at once and stays until it is healed; healing what is well already does no harm.
"""

import functools
import ipaddress
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import lab


@dataclass(frozen=True)
class Fault:
    """What happens to a host, and how it ends; both take the host's name."""

    name: str
    begin: Callable[[str], object]
    heal: Callable[[str], object]


@functools.cache
def provider() -> str:
    """Vagrant's provider of the lab's machines."""
    return subprocess.run(
        [lab.ROOT / "bin/provider"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=lab.ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def _as_root(*command: str) -> str:
    return _run(*([] if os.geteuid() == 0 else ["sudo"]), *command)


def power_off(host: str) -> None:
    """No goodbye: as if the plug were pulled."""
    if provider() == "lxc":
        container = f"--name=ballast-{host}"
        # A container that is killed closes its connections; a machine without power says nothing.
        for line in _as_root("lxc-info", container).splitlines():
            if line.startswith("Link:"):
                _as_root("ip", "link", "set", line.split()[1], "down")
        _as_root("lxc-stop", container, "--kill")
    else:
        _run("vagrant", "halt", "--force", host)


def power_on(host: str) -> None:
    """Boots a machine that is off. Returns before its services are up."""
    if provider() == "lxc":
        _as_root("lxc-start", f"--name=ballast-{host}")
    else:
        _run("vagrant", "up", "--no-provision", host)


def power_cycle(hosts: list[str]) -> None:
    """Powers all off, then on again, in another order and not at once."""
    for host in hosts:
        power_off(host)
    for host in reversed(hosts):
        power_on(host)
        time.sleep(2)


def controller() -> str:
    """This machine's address on the private network: the first, as Vagrant's providers give it."""
    return str(next(ipaddress.ip_network(lab.variable("network_cidr")).hosts()))


def _lose(host: str, **packets: str) -> None:
    """Drops packets at a host: what matches comes ("input") or goes ("output") no more, until `rejoin`."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -300; {match} drop; }};"
        for hook, match in packets.items()
    )
    lab.on(host, f"nft 'table inet ballast_fault {{ {chains} }}'")


def isolate(host: str) -> None:
    """Cuts a host off from all others, but not from the controller.

    That is the way in, and the clients which are left on the wrong side.
    """
    interface = lab.variable("node_interface", host)
    _lose(
        host,
        input=f"iifname {interface} ip saddr != {controller()}",
        output=f"oifname {interface} ip daddr != {controller()}",
    )


def deafen(host: str, port: int) -> None:
    """Nobody hears anything from a TCP port of a host any more, neither an answer nor a refusal."""
    _lose(host, input=f"tcp dport {port}")


def without_adverts(*hooks: str) -> Fault:
    """Adverts of VRRP get lost, those that come ("input") or go ("output"), and nothing else does."""
    lost = dict.fromkeys(hooks, "meta l4proto vrrp")
    return Fault(f"no adverts ({', '.join(hooks)})", lambda host: _lose(host, **lost), rejoin)


def rejoin(host: str) -> None:
    """Takes away what `isolate`, `deafen` and `without_adverts` put in the way."""
    lab.on(host, "nft 'table inet ballast_fault {}; delete table inet ballast_fault'")


def signal(host: str, signal: str, *units: str) -> None:
    """Sends a signal to every process of systemd units."""
    lab.on(host, f"systemctl kill --kill-whom=all --signal={signal} {' '.join(units)}")


def killed(*units: str) -> Fault:
    """kill -9; systemd starts them again."""
    return Fault("killed", lambda host: signal(host, "SIGKILL", *units), lambda host: None)


def paused(*units: str) -> Fault:
    """SIGSTOP: the sockets stay open and nobody answers, as on a machine that hangs."""
    return Fault(
        "paused", lambda host: signal(host, "SIGSTOP", *units), lambda host: signal(host, "SIGCONT", *units)
    )


@dataclass(frozen=True)
class SmallDisk:
    """A disk for a folder of a host's daemons, while its `with` block runs: one that can be filled.

    What the daemons have written there is in the folder afterwards.
    """

    host: str
    folder: str
    units: str
    mounted: str = "/run/ballast-small-disk"

    def start_full(self) -> None:
        """Kills the daemons, and starts them again where no byte is left."""
        lab.on(
            self.host,
            f"""set -e
            systemctl kill --signal=SIGKILL {self.units} || true; systemctl stop {self.units}
            cp --archive {self.folder}/. {self.mounted}
            mount -o remount,size=$(($(du -sk {self.mounted} | cut -f1) + 1024))k {self.mounted}
            cat /dev/zero >{self.mounted}/filler 2>/dev/null || true
            mount --bind {self.mounted} {self.folder}
            systemctl start --no-block {self.units}""",
        )

    def make_room(self) -> None:
        lab.on(self.host, f"rm -f {self.mounted}/filler; mount -o remount,size=1G {self.mounted}")

    def __enter__(self) -> Self:
        lab.on(self.host, f"mkdir -p {self.mounted}; mount -t tmpfs -o size=1G none {self.mounted}")
        return self

    def __exit__(self, *_: object) -> None:
        lab.on(
            self.host,
            f"""set -e
            if mountpoint --quiet {self.folder}; then
              systemctl stop {self.units}; umount {self.folder}
              find {self.folder} -mindepth 1 -delete; cp --archive {self.mounted}/. {self.folder}
              systemctl start --no-block {self.units}
            fi
            umount {self.mounted}""",
        )


POWERED_OFF = Fault("powered off", power_off, power_on)
ISOLATED = Fault("isolated", isolate, rejoin)
