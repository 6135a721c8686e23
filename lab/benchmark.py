"""Requests/s, latency and CPU per request of one api host, asked directly: python -m lab.benchmark

The client is load/benchmark.py on the load host; this program runs it, reads the services' CPU before and
after, prints medians and writes everything to reports/. On a topology of one host the client takes CPU from
what it asks, so requests/s are less than they could be; CPU per request does not mind.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import lab

# Requests of one round: some seconds each on a slow core.
REQUESTS = {
    "ping": 2000,
    "cached-read": 2000,
    "uncached-read": 1000,
    "sign-up": 100,
    "load-query": 200,
    "load-query-rpc": 200,
}
WAITING = "waiting"
WAITING_TARGET_MS = 100
UNITS = {"api": ("ballast-web", "ballast-wait"), "worker": ("ballast-worker",)}

# CPU seconds of all processes of some units. From /proc: not every container can account by cgroup.
CPU_SECONDS = """
import json, os, pathlib, sys
seconds = dict.fromkeys(sys.argv[1:], 0.0)
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        groups = (process / "cgroup").read_text()
        times = (process / "stat").read_text().rpartition(")")[2].split()[11:15]
    except OSError:
        continue
    for unit in seconds:
        if f"/{unit}.service" in groups:
            seconds[unit] += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
print(json.dumps(seconds))
"""

# CPU seconds of one password hash as the application makes them: {0} at a time, as they disturb each other.
HASH = """
import time
from concurrent.futures import ThreadPoolExecutor
from django.contrib.auth.hashers import make_password
with ThreadPoolExecutor({0}) as threads:
    start = time.process_time()
    list(threads.map(make_password, ["correct horse"] * 200))
    print("hash", (time.process_time() - start) / 200)
"""


class Host:
    """A host of the inventory behind one ssh connection that is kept."""

    def __init__(self, name: str, sockets: str) -> None:
        self.name = name
        kept = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={sockets}/%C"]
        program, *rest = lab.ssh(name)
        self.command = [program, *kept, *rest]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self.command, shlex.join(["sudo", *arguments])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            sys.exit(f"{self.name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.run(*arguments))
        return said


class Service:
    """The api host that is asked, the workers, and the host that asks."""

    def __init__(self, sockets: str) -> None:
        @cache
        def host(name: str) -> Host:
            return Host(name, sockets)

        self.api = host(lab.hosts("api")[0])
        self.load = host(lab.hosts("load")[0])
        self.workers = [host(name) for name in lab.hosts("worker")]
        address = lab.variable("node_address", self.api.name)
        self.urls = [f"--{name}=http://{address}:{lab.port(f'api_{name}')}" for name in ("web", "wait")]

    def cpu(self) -> dict[str, float]:
        """CPU seconds by unit: of the api host that is asked, and of all workers together."""
        seconds: dict[str, float] = self.api.json("python3", "-c", CPU_SECONDS, *UNITS["api"])
        for unit in UNITS["worker"]:
            seconds[unit] = sum(
                worker.json("python3", "-c", CPU_SECONDS, unit)[unit] for worker in self.workers
            )
        return seconds

    def client(self, *arguments: str) -> dict[str, Any]:
        """load/benchmark.py on the load host, in a unit of its own that ends whatever happens here."""
        return self.load.json(
            *("systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--uid=locust"),
            *("--property=WorkingDirectory=/opt/locust/load", "--property=MemoryMax=512M"),
            *("--property=LimitNOFILE=4096", "--property=RuntimeMaxSec=150"),
            *("/opt/locust/current/bin/python", "benchmark.py", *arguments, *self.urls),
        )


def empty_cache() -> None:
    """Takes every seeded user out of Redis, on the primary, as the application could."""
    redis = f"redis-cli -h {lab.variable('vip_data')} -p {lab.port('redis_primary')} --user app"
    password = lab.secret("redis_app")
    lab.on(lab.hosts("cache")[0], f"seq -f user:%.0f 10000 | REDISCLI_AUTH={password} xargs {redis} del")


def settled(service: Service, idle: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds, once no unit does more than when idle: queues may have to empty, connections to close."""
    before = service.cpu()
    while True:
        time.sleep(1)
        now = service.cpu()
        if all(now[unit] - before[unit] < idle[unit] + 0.05 for unit in now):
            return now
        before = now


def measure(
    service: Service, scenario: str, concurrency: int, number: int, idle: Mapping[str, float]
) -> dict[str, Any]:
    """One run of the client, and CPU per request (ms) by unit, less what the units take when idle."""
    if scenario == "uncached-read":
        empty_cache()
    elif scenario == "cached-read":
        service.client(scenario, "--requests=400")  # all of them once: now they are cached
    before, started = settled(service, idle), time.monotonic()
    arguments = [scenario, f"--concurrency={concurrency}", f"--seed={number}"]
    if scenario in REQUESTS:
        arguments.append(f"--requests={REQUESTS[scenario]}")
    result = service.client(*arguments)
    check_cache(scenario, result)
    after = settled(service, idle) if scenario == "load-query" else service.cpu()
    elapsed = time.monotonic() - started
    # While long queries wait, the wait service does those and the web service the pings.
    requests = dict.fromkeys(after, result["requests"]) | {
        "ballast-wait": result.get("held", result["requests"])
    }
    result["cpu_ms"] = {
        unit: max(0.0, after[unit] - before[unit] - idle[unit] * elapsed) * 1000 / requests[unit]
        for unit in after
    }
    return result


def median(rounds: list[dict[str, Any]], *path: str) -> float:
    values: list[Any] = rounds
    for name in path:
        values = [value[name] for value in values]
    return float(statistics.median(values))


def check_cache(scenario: str, result: Mapping[str, Any]) -> None:
    """A cached read that misses, or an uncached one that hits, is measured under a wrong name."""
    wanted = {"cached-read": "hit", "uncached-read": "miss"}.get(scenario)
    if wanted and result["x_cache"].get(wanted, 0) < 0.99 * result["requests"]:
        sys.exit(f"{scenario}: X-Cache was {result['x_cache']}. Who else asks for users, or is Redis away?")


def table(results: Mapping[str, list[dict[str, Any]]]) -> str:
    units = [unit for group in UNITS.values() for unit in group]
    rows = [
        ["", "requests/s", "p50 ms", "p99 ms", *(f"CPU ms {unit.removeprefix('ballast-')}" for unit in units)]
    ]
    for scenario, rounds in results.items():
        rate = "" if scenario == WAITING else f"{median(rounds, 'per_second'):.0f}"
        latencies = [f"{median(rounds, name):.1f}" for name in ("p50_ms", "p99_ms")]
        rows.append(
            [scenario, rate, *latencies, *(f"{median(rounds, 'cpu_ms', unit):.2f}" for unit in units)]
        )
    return "\n".join(f"{row[0]:<14}" + "".join(f"{cell:>14}" for cell in row[1:]) for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--concurrency", type=int, default=8, help="connections; as many as the web process has threads"
    )
    parser.add_argument("--only", nargs="+", choices=[*REQUESTS, WAITING], default=[*REQUESTS, WAITING])
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {scenario: [] for scenario in options.only}
    with tempfile.TemporaryDirectory() as sockets:
        service = Service(sockets)
        before = service.cpu()
        time.sleep(5)
        idle = {unit: (seconds - before[unit]) / 5 for unit, seconds in service.cpu().items()}
        for number in range(options.rounds):
            for scenario, rounds in results.items():
                print(f"round {number + 1} of {options.rounds}: {scenario}", file=sys.stderr)
                rounds.append(measure(service, scenario, options.concurrency, number, idle))
        said = service.api.run(
            "ballast", "shell", "--no-imports", "--command", HASH.format(options.concurrency)
        )
        hash_ms = float(said.split("hash")[1]) * 1000
    where = f"{service.api.name} of {lab.TOPOLOGY}"
    print(f"{where}, {options.concurrency} connections, medians of {options.rounds} rounds")
    print(table(results))
    if "sign-up" in results:
        cost = median(results["sign-up"], "cpu_ms", "ballast-web")
        print(f"Sign-up without the password hash ({hash_ms:.1f} ms): {cost - hash_ms:.2f} ms")
    report = Path("reports") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}" / "benchmark.json"
    report.parent.mkdir(parents=True)
    report.write_text(
        json.dumps(
            {
                "topology": lab.TOPOLOGY,
                "host": service.api.name,
                "concurrency": options.concurrency,
                "password_hash_cpu_ms": hash_ms,
                "idle_cpu_seconds_per_second": idle,
                "rounds": results,
            },
            indent=2,
        )
    )
    print(f"Every round: {report}")
    if WAITING in results:
        p99 = median(results[WAITING], "p99_ms")
        held = results[WAITING][0]["held"]
        print(f"ping with {held} long queries in flight: p99 {p99:.1f} ms, {WAITING_TARGET_MS} may be")
        return int(p99 >= WAITING_TARGET_MS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
