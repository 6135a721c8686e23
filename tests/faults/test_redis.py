"""Redis under faults: one primary acknowledges, nothing acknowledged is lost, every member is back by itself.

Replication does not wait: Redis answers before a replica has the write. So a write counts as acknowledged
here, as in the application, when WAIT says that a replica has it. What was only answered may be lost: one
that was cut off answers until it has missed its replicas for `min-replicas-max-lag`, then it refuses.
LOSS_WINDOW bounds that.
"""

import itertools
import math
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from redis.retry import Retry

import lab
from lab import faults
from tests.faults.play import removal_is_refused
from tests.faults.recorder import Figures, Recorder, RefusedError, UnknownError
from tests.patience import eventually

pytestmark = pytest.mark.destructive

GIVE_UP = 120
# Seconds: min-replicas-max-lag (2), a replica's acknowledgement that is counted in whole seconds (1), and the
# primary's look at them once a second (1).
LOSS_WINDOW = 4
# Seconds that a write may wait for the disk (appendfsync everysec): what the loss of all hosts may cost.
FSYNC_WINDOW = 2
# Milliseconds that a writer waits for a replica.
REPLICA_WAIT = 1000


def client(host: str, user: str, service: str = "redis") -> redis.Redis:
    return redis.Redis(
        host=lab.variable("node_address", host),
        port=lab.port(service),
        username=user,
        password=lab.secret(f"redis_{user}"),
        decode_responses=True,
        socket_connect_timeout=1,
        socket_timeout=3,
        retry=Retry(NoBackoff(), 0),
    )


@dataclass
class Writer:
    """Appends numbers to a list at one member, whatever its role. Redis tells no epoch."""

    host: str
    ledger: str
    connected: redis.Redis | None = None
    answered: list[float] = field(default_factory=list)  # when it sent what Redis took, replica or not

    def __call__(self, number: int) -> int:
        if self.connected is None:
            try:
                self.connected = client(self.host, "app")
                self.connected.ping()
            except redis.RedisError as error:
                self.connected = None
                raise RefusedError from error
        sent = time.monotonic()
        try:
            with self.connected.pipeline(transaction=False) as pipeline:
                pipeline.rpush(self.ledger, number)
                pipeline.wait(1, REPLICA_WAIT)
                _, replicas = pipeline.execute()
        except (ReadOnlyError, BusyLoadingError) as error:
            raise RefusedError from error
        except ResponseError as error:
            if "NOREPLICAS" in str(error):
                raise RefusedError from error
            # A primary that becomes a replica sends away who waits.
            if "UNBLOCKED" in str(error):
                raise UnknownError from error
            raise
        except redis.RedisError as error:
            self.connected.close()
            self.connected = None
            raise UnknownError from error
        self.answered.append(sent)
        if not replicas:
            raise UnknownError
        return 0


def replication(host: str) -> dict[str, Any]:
    """INFO replication of a member; empty if it does not answer."""
    try:
        with client(host, "check") as member:
            return dict(member.info("replication"))
    except redis.RedisError:
        return {}


def named_by_sentinel(host: str) -> str:
    """The address of the primary that a member's sentinel names."""
    try:
        with client(host, "admin", "sentinel") as sentinel:
            return str(sentinel.execute_command("SENTINEL", "get-master-addr-by-name", "main")[0])
    except redis.RedisError:
        return ""


def wait_until_whole() -> str:
    """Returns the primary once there is one, which every sentinel names, and the others replicate it."""
    hosts = lab.hosts("cache")
    until = time.monotonic() + GIVE_UP
    while True:
        views = {host: replication(host) for host in hosts}
        primaries = [host for host, view in views.items() if view.get("role") == "master"]
        named = {named_by_sentinel(host) for host in hosts}
        if (
            len(primaries) == 1
            and named == {lab.variable("node_address", primaries[0])}
            and views[primaries[0]]["connected_slaves"] == len(hosts) - 1
            and all(views[host].get("master_link_status") == "up" for host in hosts if host != primaries[0])
        ):
            return primaries[0]
        assert time.monotonic() < until, f"not whole after {GIVE_UP} s: {named} {views}"
        time.sleep(0.5)


def a_replica() -> str:
    primary = wait_until_whole()
    return next(host for host in lab.hosts("cache") if host != primary)


def numbers(ledger: str) -> dict[str, list[int]]:
    """What every member has, once the replicas have what the primary has."""
    primary = wait_until_whole()
    end = replication(primary)["master_repl_offset"]
    found = {}
    for host in lab.hosts("cache"):
        until = time.monotonic() + GIVE_UP
        while host != primary and replication(host)["slave_repl_offset"] < end:
            assert time.monotonic() < until, f"{host} lags behind"
            time.sleep(0.1)
        with client(host, "app") as member:
            found[host] = [int(number) for number in member.lrange(ledger, 0, -1)]
    return found


@pytest.fixture
def ledger() -> Iterator[str]:
    name = f"ledger:{uuid.uuid4().hex[:12]}"
    wait_until_whole()
    yield name
    with client(wait_until_whole(), "app") as member:
        member.delete(name)


@pytest.fixture
def writers(ledger: str) -> dict[str, Writer]:
    return {host: Writer(host, ledger) for host in lab.hosts("cache")}


@pytest.fixture
def recorder(writers: dict[str, Writer]) -> Recorder:
    return Recorder(writers, wait_until_whole)


def judge(record: Recorder, ledger: str, *, lost_since: float = math.inf) -> Figures:
    """Nothing that was sent before `lost_since` may be lost."""
    in_order = sorted(record.acknowledged, key=lambda write: write.answered)
    figures = record.compare(numbers(ledger))
    primaries = [member for member, _ in itertools.groupby(in_order, key=lambda write: write.member)]
    assert len(primaries) == len(set(primaries)), f"two primaries acknowledged in turn: {primaries}"
    lost = [write for write in record.lost if write.sent < lost_since]
    assert not lost, lost
    assert figures.duplicated == 0, figures
    return figures


FAULTS = {
    "primary: Redis killed": (wait_until_whole, faults.killed("redis-server")),
    "primary: host powered off": (wait_until_whole, faults.POWERED_OFF),
    "primary: host isolated": (wait_until_whole, faults.ISOLATED),
    "primary: paused": (wait_until_whole, faults.paused("redis-server")),
    "replica: host powered off": (a_replica, faults.POWERED_OFF),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_primary_acknowledges_and_nothing_is_lost(
    name: str,
    run: int,
    ledger: str,
    writers: dict[str, Writer],
    recorder: Recorder,
    report: Callable[[str, Figures], None],
) -> None:
    choose, fault = FAULTS[name]
    host = choose()
    with recorder as record, record.fault(partial(fault.heal, host)):
        fault.begin(host)
        begun = time.monotonic()
        record.wait_for_writes()
        time.sleep(LOSS_WINDOW + 1)
    if fault is faults.ISOLATED:
        # It still had clients: they were refused as soon as it had missed its replicas for long enough.
        stubborn = [sent for sent in writers[host].answered if begun + LOSS_WINDOW < sent < record.healed]
        assert not stubborn, f"{stubborn} of a fault from {begun} to {record.healed}"
    report(name, judge(record, ledger))


def test_a_planned_failover(
    run: int, ledger: str, recorder: Recorder, report: Callable[[str, Figures], None]
) -> None:
    primary = wait_until_whole()
    with recorder as record, record.fault():
        # Sentinel does not wait for the old primary to stop: writes are held until it is told to follow.
        with client(primary, "admin") as member, client(primary, "admin", "sentinel") as sentinel:
            member.client_pause(5000, all=False)
            time.sleep(0.2)
            sentinel.execute_command("SENTINEL", "FAILOVER", "main")
        eventually(wait_until_whole, lambda now: now != primary, seconds=GIVE_UP)
    report("planned failover, writes held", judge(record, ledger))


def test_a_cold_start_needs_no_hand(
    run: int, ledger: str, recorder: Recorder, report: Callable[[str, Figures], None]
) -> None:
    with recorder as record, record.fault():
        faults.power_cycle(lab.hosts("cache"))
        wait_until_whole()
    # A replica has its last writes in memory, and those who come back do not know who was the last to go.
    figures = judge(record, ledger, lost_since=record.begun - FSYNC_WINDOW)
    report("all hosts powered off and on", figures)


UNITS = "redis-server redis-sentinel"


@pytest.mark.parametrize("choose", [wait_until_whole, a_replica], ids=["primary", "replica"])
def test_a_member_that_starts_on_a_full_disk_costs_nothing(
    choose: Callable[[], str],
    run: int,
    ledger: str,
    recorder: Recorder,
    report: Callable[[str, Figures], None],
) -> None:
    disk = faults.SmallDisk(choose(), "/var/lib/redis", UNITS)
    with disk, recorder as record, record.fault(disk.make_room):
        disk.start_full()
        record.wait_for_writes()
    report("a member starts on a full disk", judge(record, ledger))


DATA = "/var/lib/redis/appendonlydir/appendonly.aof"
STATES = "/var/lib/redis/server.state /var/lib/redis/sentinel.state"
# What a power loss may leave of a file: zeros for its last blocks, less than was written, nothing.
ZEROS_AT_END = "truncate --size=+4096"
EMPTY = "truncate --size=0"
ZEROS = "f() { truncate --size=0 $*; truncate --size=200 $*; }; f"
DAMAGES = {
    "zeros at the end of the log": f"{ZEROS_AT_END} {DATA}.*.incr.aof",
    "a torn log": f"truncate --size=-3 {DATA}.*.incr.aof",
    "an empty log": f"{EMPTY} {DATA}.*.incr.aof",
    "an empty base": f"{EMPTY} {DATA}.*.base.rdb",
    "zeros for a base": f"{ZEROS} {DATA}.*.base.rdb",
    "an empty manifest": f"{EMPTY} {DATA}.manifest",
    "empty states": f"{EMPTY} {STATES}",
    "zeros at the end of the states": f"{ZEROS_AT_END} {STATES}",
}


def start_with(host: str, damage: str) -> None:
    """Both daemons stop, and start on what a power loss has left of their files."""
    lab.on(host, f"systemctl stop {UNITS}; {damage} && systemctl start --no-block {UNITS}")


def is_written(member: redis.Redis) -> bool:
    """Whether no rewrite of its append-only file is going on or to come."""
    now = member.info("persistence")
    return not (now["aof_rewrite_in_progress"] or now["aof_rewrite_scheduled"])


@pytest.fixture
def kept(ledger: str) -> Iterator[Callable[[], None]]:
    """Checks, whenever it is called, that every member has all that was written so far; then writes more.

    The half of it is in the base of every member's append-only file, the rest in the log.
    """
    written: list[int] = []

    def check() -> None:
        found = numbers(ledger)
        assert all(has == written for has in found.values()), (written, found)
        with client(wait_until_whole(), "app") as primary:
            for number in range(len(written), len(written) + 10):
                primary.rpush(ledger, number)
                written.append(number)
        numbers(ledger)

    check()
    for host in lab.hosts("cache"):
        with client(host, "admin") as member:
            member.bgrewriteaof()
            eventually(partial(is_written, member), seconds=GIVE_UP, pause=0.1)
    check()
    yield check
    lab.on("cache", "rm -rf /var/lib/redis/put-aside")


def test_a_replica_gets_over_what_a_power_loss_left_of_its_files(kept: Callable[[], None]) -> None:
    primary = wait_until_whole()
    replicas = [host for host in lab.hosts("cache") if host != primary]
    for damages in zip(list(DAMAGES)[::2], list(DAMAGES)[1::2], strict=True):
        for host, damage in zip(replicas, damages, strict=True):
            print(host, damage)
            start_with(host, DAMAGES[damage])
        kept()
        assert wait_until_whole() == primary


@pytest.mark.parametrize("damage", ["zeros at the end of the log", "an empty base", "empty states"])
def test_a_primary_with_damaged_files_costs_no_other_member_its_data(
    damage: str, kept: Callable[[], None]
) -> None:
    start_with(wait_until_whole(), DAMAGES[damage])
    kept()


def test_when_all_have_damaged_files_the_member_that_can_repair_them_leads(kept: Callable[[], None]) -> None:
    primary = wait_until_whole()
    repairs, other = (host for host in lab.hosts("cache") if host != primary)
    lab.on("cache", f"systemctl stop {UNITS}")
    lab.on(f"{primary},{other}", DAMAGES["an empty base"])
    lab.on(repairs, f"{DAMAGES['zeros at the end of the log']}; {DAMAGES['an empty manifest']}")
    lab.on("cache", f"systemctl start --no-block {UNITS}")
    assert wait_until_whole() == repairs
    kept()


def test_a_removal_that_would_leave_no_replica_is_refused() -> None:
    primary = wait_until_whole()
    down, other = (host for host in lab.hosts("cache") if host != primary)
    removal_is_refused(other, tier="cache", down=down, stays=primary)
    assert wait_until_whole() == primary
