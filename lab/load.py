"""Runs Locust on the load host, and brings its reports here.

    python -m lab.load USERS DURATION [more of Locust's options]

The exit code is Locust's: 0 when every objective of load/slo.toml was met.
"""

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime

import lab

SECONDS = {"s": 1, "m": 60, "h": 3600, "": 1}


def duration_of(text: str) -> int:
    """Seconds of 90s, 5m, 1h or 90. Raises SystemExit with a sentence for anything else."""
    found = re.fullmatch(r"(\d+)([smh]?)", text)
    if not found:
        sys.exit(f"DURATION={text}: say 90s, 5m or 1h.")
    return int(found[1]) * SECONDS[found[2]]


def command_of(
    name: str, users: int, seconds: int, reports: str, options: list[str], *, terminal: bool
) -> str:
    """What the load host runs: a unit of bounded memory, which ends even if this connection is lost."""
    unit = [
        *("sudo", "systemd-run", "--quiet", "--collect", "--wait", "--uid=locust", f"--unit=locust-{name}"),
        *(f"--property=StateDirectory=locust/{name}", "--property=WorkingDirectory=/opt/locust/load"),
        *("--property=MemoryMax=75%", f"--property=RuntimeMaxSec={seconds + 120}"),
        *("--setenv=PYTHONUNBUFFERED=1", "--pty" if terminal else "--pipe"),
    ]
    locust = [
        *("/opt/locust/current/bin/locust", "--config", "locust.conf"),
        *("--users", str(users), "--run-time", f"{seconds}s", "--html", f"{reports}/report.html"),
        *("--json-file", f"{reports}/summary", "--totals-csv", f"{reports}/totals.csv"),
        *("--requests-csv", f"{reports}/requests.csv", *options),
    ]
    return shlex.join([*unit, *locust])


def main(arguments: list[str]) -> int:
    users, duration, *options = [*arguments, *["5", "60s"][len(arguments) :]]
    if not users.isdecimal():
        sys.exit(f"USERS={users} is no number.")
    seconds = duration_of(duration)
    hosts = lab.hosts("load") if "load" in lab.inventory() else []
    if not hosts:
        sys.exit(f"{lab.INVENTORY} has no host in group load: nobody to run Locust on.")
    *ssh, host = lab.ssh(hosts[0])
    ssh += ["-o", "ServerAliveInterval=15"]
    terminal = sys.stdin.isatty() and sys.stdout.isatty()

    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    reports = f"/var/lib/locust/{name}"
    command = command_of(name, int(users), seconds, reports, options, terminal=terminal)
    code = subprocess.run([*ssh, "-t" if terminal else "-n", host, command], check=False).returncode

    kept = lab.ROOT / "reports" / name
    kept.mkdir(parents=True)
    fetch = f"sudo tar -C {reports} -cz . && sudo rm -r {reports}"
    packed = subprocess.run([*ssh, "-n", host, fetch], stdout=subprocess.PIPE, check=False)
    if packed.returncode == 0:
        subprocess.run(["tar", "-C", str(kept), "--no-same-owner", "-xz"], input=packed.stdout, check=True)
        print(f"Reports: {(kept / 'report.html').relative_to(lab.ROOT)}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
