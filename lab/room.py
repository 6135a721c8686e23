"""Refuses a topology that this machine has no room for, before anything is made.

Virtual machines take the memory that the inventory gives them; containers share this machine's, and
take about 0.3 GiB a tier on a host, page cache included.  python -m lab.room
"""

import os
import shutil
import sys
from pathlib import Path

import lab

TIERS = ("lb", "web", "api", "worker", "db", "cache", "queue", "backup", "mon", "load")
MEMORY_OF_A_TIER = 300  # MiB
DISK_OF_A_HOST = 1500  # MiB


def main() -> None:
    provider = os.environ["VAGRANT_DEFAULT_PROVIDER"]
    hosts_file = lab.INVENTORY.relative_to(lab.ROOT)
    hosts = lab.inventory()["_meta"]["hostvars"]
    made = {path.parent.parent.name for path in Path(".vagrant/machines").glob(f"*/{provider}/id")} & set(
        hosts
    )
    if provider == "lxc":
        needed = MEMORY_OF_A_TIER * sum(len(lab.hosts(tier)) for tier in TIERS if tier in lab.inventory())
        fix = "free some, or choose a smaller TOPOLOGY"
    else:
        needed = sum(host.get("vm_memory", 1024) for host in hosts.values())
        fix = f"free some, choose a smaller TOPOLOGY, or lower vm_memory in {hosts_file}"
    disk_needed = DISK_OF_A_HOST * len(hosts)
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    memory = int(meminfo["MemAvailable"].split()[0]) // 1024
    disk = shutil.disk_usage("/var/lib" if provider == "lxc" else Path.home()).free // 2**20
    print(f"    {len(hosts)} hosts: {needed} of {memory} MiB memory, {disk_needed} of {disk} MiB disk")
    if made:
        return  # they are running, or have been: their room is taken already
    if memory < needed:
        sys.exit(
            f"room: {lab.TOPOLOGY} needs about {needed} MiB of memory, and {memory} MiB are available: {fix}."
        )
    if disk < disk_needed:
        sys.exit(
            f"room: {lab.TOPOLOGY} needs about {disk_needed} MiB of disk, and {disk} MiB are free: {fix}."
        )


main()
