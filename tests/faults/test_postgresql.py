"""PostgreSQL under faults: one primary, no acknowledged write lost, every member back by itself."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
import pytest
import requests
import yaml

import lab
from lab import faults
from lab.faults import Fault
from tests.faults.play import play, play_until, removal_is_refused, stops_at_the_first_host
from tests.faults.recorder import Figures, Recorder, RefusedError, UnknownError
from tests.patience import eventually

pytestmark = pytest.mark.destructive

GIVE_UP = 180
WIRING = yaml.safe_load((lab.ROOT / "playbooks/group_vars/all/db.yml").read_text())
VERSION = WIRING["patroni_postgresql_version"]
DATA = f"/var/lib/postgresql/{VERSION}/main"
CLONE_DATA = f"/var/lib/postgresql/{VERSION}/clone"


def connect(host: str, **options: Any) -> psycopg.Connection[Any]:
    """A connection of the application's user to one member alone."""
    return psycopg.connect(
        host=lab.variable("node_address", host),
        port=lab.port("postgresql"),
        dbname="ballast",
        user="ballast",
        password=lab.secret("app_database"),
        autocommit=True,
        connect_timeout=2,
        keepalives_idle=2,
        keepalives_interval=1,
        keepalives_count=3,
        tcp_user_timeout=3000,
        **options,
    )


@dataclass
class Writer:
    """Inserts numbers at one member, whatever its role. The epoch is PostgreSQL's timeline."""

    host: str
    table: str
    connection: psycopg.Connection[Any] | None = None
    warnings: list[str] = field(default_factory=list)

    def __call__(self, number: int) -> int:
        if self.connection is None:
            try:
                self.connection = connect(self.host)
            except psycopg.Error as error:
                raise RefusedError from error
            # A commit that stopped waiting for its replica succeeds, with a warning.
            self.connection.add_notice_handler(
                lambda notice: self.warnings.append(str(notice.message_primary))
            )
            self.connection.prepare_threshold = None
        try:
            row = self.connection.execute(
                f"INSERT INTO {self.table} VALUES (%s)"
                " RETURNING ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int",
                [number],
            ).fetchone()
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise RefusedError from error
        except psycopg.Error as error:
            self.connection.close()
            self.connection = None
            raise UnknownError from error
        if self.warnings:
            self.warnings.clear()
            raise UnknownError
        assert row
        return int(row[0])


def view(host: str) -> dict[str, tuple[str, str]]:
    """Every member's role and state, as one of them sees it; empty if that one does not answer."""
    url = f"http://{lab.address(host, 'patroni')}/cluster"
    try:
        members = requests.get(url, timeout=2).json()["members"]
    except (requests.RequestException, KeyError):
        return {}
    return {member["name"]: (member["role"], member["state"]) for member in members}


def wait_until_whole() -> str:
    """Returns the primary's name once every member sees one primary, and the others stream from it."""
    hosts = lab.hosts("db")
    wanted = sorted([("leader", "running")] + [("quorum_standby", "streaming")] * (len(hosts) - 1))
    until = time.monotonic() + GIVE_UP
    while True:
        views = {host: view(host) for host in hosts}
        first = views[hosts[0]]
        if sorted(first.values()) == wanted and all(each == first for each in views.values()):
            return next(name for name, (role, _) in first.items() if role == "leader")
        assert time.monotonic() < until, f"not whole after {GIVE_UP} s: {views}"
        time.sleep(0.5)


def a_replica() -> str:
    primary = wait_until_whole()
    return next(host for host in lab.hosts("db") if host != primary)


def rows(table: str) -> dict[str, list[int]]:
    """What every member has, once the replicas have replayed what the primary has written."""
    with connect(wait_until_whole()) as primary:
        end = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    found = {}
    for host in lab.hosts("db"):
        until = time.monotonic() + GIVE_UP
        with connect(host) as member:
            behind = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() < %s::pg_lsn"
            while member.execute(behind, end).fetchone() == (True,):
                assert time.monotonic() < until, f"{host} does not replay"
                time.sleep(0.1)
            found[host] = [number for (number,) in member.execute(f"SELECT number FROM {table}")]
    return found


@pytest.fixture
def table() -> Iterator[str]:
    """A new ledger in the database. No primary key: a write that happened twice shall show."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    with connect(wait_until_whole()) as connection:
        connection.execute(f"CREATE TABLE {name} (number bigint NOT NULL)")
    yield name
    with connect(wait_until_whole()) as connection:
        connection.execute(f"DROP TABLE {name}")


def recorder(table: str) -> Recorder:
    return Recorder({host: Writer(host, table) for host in lab.hosts("db")}, wait_until_whole)


def judge(record: Recorder, table: str) -> Figures:
    record.check_one_primary()
    figures = record.compare(rows(table))
    assert (figures.lost, figures.duplicated) == (0, 0), figures
    return figures


def kill_postgres(host: str) -> None:
    """The postmaster alone; its children notice and end."""
    lab.on(host, f"kill -9 $(head -n 1 {DATA}/postmaster.pid)")


FAULTS = {
    "primary: PostgreSQL killed": (wait_until_whole, Fault("killed", kill_postgres, lambda host: None)),
    "primary: Patroni and PostgreSQL killed": (wait_until_whole, faults.killed("patroni")),
    "primary: host powered off": (wait_until_whole, faults.POWERED_OFF),
    "primary: host isolated": (wait_until_whole, faults.ISOLATED),
    "primary: paused": (wait_until_whole, faults.paused("patroni")),
    "replica: host powered off": (a_replica, faults.POWERED_OFF),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_acknowledged_write_is_lost(
    name: str, run: int, table: str, report: Callable[[str, Figures], None]
) -> None:
    choose, fault = FAULTS[name]
    host = choose()
    with recorder(table) as record, record.fault(partial(fault.heal, host)):
        fault.begin(host)
        record.wait_for_writes()
    report(name, judge(record, table))


def test_an_isolated_replica_leaves_the_read_pool() -> None:
    replica = a_replica()
    offered = partial(is_offered_for_reads, replica)
    eventually(offered, seconds=GIVE_UP)
    try:
        faults.isolate(replica)
        eventually(lambda: not offered(), seconds=GIVE_UP)
        # It was not the question that failed: PostgreSQL itself is well, and a step behind from now on.
        with connect(replica) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    finally:
        faults.rejoin(replica)
    wait_until_whole()
    eventually(offered, seconds=GIVE_UP)


def is_offered_for_reads(host: str) -> bool:
    """Whether a member would pass the check by which HAProxy chooses whom reads go to."""
    balancer = yaml.safe_load((lab.ROOT / "playbooks/group_vars/all/lb.yml").read_text())
    pool = next(each for each in balancer["haproxy_tcp_services"] if each["name"] == "postgresql_read")
    url = f"http://{lab.address(host, 'patroni')}{pool['check_path']}"
    try:
        answer = requests.get(url, timeout=5)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and re.search(pool["check_body"], answer.text) is not None


def test_a_switchover_loses_nothing(run: int, table: str, report: Callable[[str, Figures], None]) -> None:
    candidate = a_replica()
    with recorder(table) as record, record.fault():
        code, said = play("switchover", candidate=candidate)
        assert code == 0, said
        assert "Longest time between two acknowledged writes" in said
        assert wait_until_whole() == candidate
    report("switchover", judge(record, table))


def test_a_primary_hands_over_while_the_repository_does_not_answer(
    run: int, table: str, report: Callable[[str, Figures], None]
) -> None:
    repository = lab.hosts("backup")[0]
    if wait_until_whole() == repository:
        code, said = play("switchover")
        assert code == 0, said
    primary = wait_until_whole()
    candidate = next(host for host in lab.hosts("db") if host not in (primary, repository))
    with recorder(table) as record, record.fault(partial(faults.rejoin, repository)):
        faults.deafen(repository, lab.port("pgbackrest_repository"))
        code, said = play("switchover", candidate=candidate)
        assert code == 0, said
        # Asked to stop, it tries to archive what it has: it follows the new primary all the same.
        assert wait_until_whole() == candidate
        record.wait_for_writes()
    report("switchover, the repository away", judge(record, table))
    archive(candidate)


def archive(primary: str) -> str:
    """Returns once all that the primary has written is in the archive: the last segment's name."""
    # A switch after nothing was written switches nothing.
    write = "SELECT pg_logical_emit_message(false, 'archive', '') > '0/0'"
    switch = "SELECT pg_walfile_name(pg_switch_wal())"
    psql = "runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --command"
    said = lab.on(primary, f'{psql} "{write}" >/dev/null && {psql} "{switch}"')
    done = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
    with connect(primary) as connection:
        eventually(lambda: connection.execute(done, [said[primary]]).fetchone() == (True,), seconds=GIVE_UP)
    return said[primary]


def push_another(primary: str, segment: str, name: str) -> int:
    """Archives a segment by another name and with other content; the archive command's exit code."""
    # pgBackRest looks for the queue beside a segment, and takes none from elsewhere.
    command = (
        f"cd {DATA}; d=$(mktemp -d -p {DATA}); mkdir $d/archive_status; cp pg_wal/{segment} $d/{name};"
        f" head -c 16 /dev/urandom | dd of=$d/{name} bs=1 seek=1000000 conv=notrunc status=none;"
        f" chown -R postgres $d; runuser -u postgres -- pgbackrest-archive $d/{name} >&2; echo $?; rm -r $d"
    )
    return int(lab.on(primary, command)[primary])


def test_what_a_timeline_left_behind_does_not_stop_the_archive() -> None:
    primary = wait_until_whole()
    history = lab.on(primary, f"cat $(ls {DATA}/pg_wal/*.history | tail -n 1)")[primary]
    timeline, end = history.split("\n")[-1].split("\t")[:2]
    log, offset = (int(number, 16) for number in end.split("/"))
    left_behind = f"{int(timeline):08X}{log:08X}{offset >> 24:08X}"
    present = archive(primary)
    # The first may be the only one in the archive, the second is not.
    assert [push_another(primary, present, left_behind) for _ in range(2)] == [0, 0]
    # What every member has to have alike is no such thing: two of it are two primaries.
    duplicate = 45
    assert push_another(primary, present, present) == duplicate


def test_a_switchover_to_a_member_that_lags_is_refused() -> None:
    primary, candidate = wait_until_whole(), a_replica()
    # Patroni takes a paused replay back at once; a process that replays nothing more is what lag looks like.
    replay = "$(pgrep --full '^postgres: .*: startup ')"
    lab.on(candidate, f"kill -STOP {replay}")
    try:
        lab.on(
            primary,
            "runuser -u postgres -- psql --quiet --no-psqlrc --output=/dev/null --command"
            """ "SELECT pg_logical_emit_message(true, 'lag', repeat('x', 2000000))" """,
        )
        code, said = play("switchover", candidate=candidate)
    finally:
        lab.on(candidate, f"kill -CONT {replay}")
    assert code != 0, said
    assert f"No switchover to {candidate}: it has to replay" in said
    assert "Nothing was changed" in said
    assert wait_until_whole() == primary


def test_a_switchover_to_nobody_is_refused() -> None:
    primary = wait_until_whole()
    code, said = play("switchover", candidate="postgres9")
    assert code != 0
    assert f"No switchover to postgres9: it does not stream from {primary} (no member)" in said
    assert wait_until_whole() == primary


def test_without_etcd_the_primary_goes_on(
    run: int, table: str, report: Callable[[str, Figures], None]
) -> None:
    primary = wait_until_whole()
    with recorder(table) as record, record.fault(lambda: lab.on("etcd", "systemctl start etcd")):
        lab.on("etcd", "systemctl stop etcd")
        # Longer than the leader's lock lives.
        time.sleep(30)
        record.wait_for_writes()
    assert wait_until_whole() == primary
    report("etcd stopped everywhere", judge(record, table))


def test_a_setting_with_which_etcd_does_not_start_stops_at_the_first(run: int, table: str) -> None:
    primary = wait_until_whole()
    with recorder(table) as record, record.fault():
        stops_at_the_first_host("etcd", "etcd", "etcd", etcd_auto_compaction_retention="soon")
        assert wait_until_whole() == primary
    judge(record, table)


ETCD_DATA = "/var/lib/etcd/default/member"
# An entry that was on its way to the disk: its length is there, and some of it. Zeros follow, as they do from
# the start, or nothing. (A member that has lost an entry which it acknowledged panics, and has to.)
TORN = f"""
import glob, os, struct
log = open(sorted(glob.glob("{ETCD_DATA}/wal/*.wal"))[-1], "rb+")
end = (len(log.read().rstrip(bytes(1))) + 7) // 8 * 8
log.seek(end)
log.write(struct.pack("<q", 4000) + bytes(range(1, 101)))
"""
ETCD_DAMAGES = ("", "log.truncate()")


def test_etcd_reads_a_log_that_a_power_loss_has_torn(run: int, table: str) -> None:
    health = lab.etcdctl("endpoint health")
    primary = wait_until_whole()
    with recorder(table) as record, record.fault():
        for host, damage in zip(lab.hosts("etcd"), ETCD_DAMAGES, strict=False):
            lab.on(host, "systemctl kill --signal=KILL etcd; systemctl stop etcd")
            lab.on(host, f"python3 -c '{TORN}{damage}'; systemctl start etcd; {health}")
        # What cannot be read at all is made anew by the play.
        lost = lab.hosts("etcd")[-1]
        lab.on(lost, f"systemctl kill --signal=KILL etcd; systemctl stop etcd; rm -r {ETCD_DATA}")
        code, said = play("etcd")
        assert code == 0, said
        lab.on("etcd", health)
        assert wait_until_whole() == primary
    judge(record, table)


def test_a_certificate_for_another_purpose_does_not_open_etcd() -> None:
    host = lab.hosts("db")[0]
    ask = "get --prefix --keys-only /service/"
    assert "/service/" in lab.on(host, lab.etcdctl(ask))[host]
    other = "--cert=/etc/pgbackrest/host.crt --key=/etc/pgbackrest/host.key"
    said = lab.on(host, f"{lab.etcdctl(ask, other)} 2>&1 || echo refused")[host]
    assert "/service/" not in said
    assert said.endswith("refused")


def test_without_replicas_writes_wait(run: int, table: str) -> None:
    primary = wait_until_whole()
    replicas = ",".join(host for host in lab.hosts("db") if host != primary)
    with recorder(table) as record, record.fault(lambda: lab.on(replicas, "systemctl start patroni")):
        lab.on(replicas, "systemctl stop patroni")
        stopped = time.monotonic()
        time.sleep(10)
        alone = [write for write in record.acknowledged if write.sent > stopped]
    assert not alone, f"{len(alone)} writes were acknowledged by a primary without replicas"
    judge(record, table)


def test_a_cold_start_needs_no_hand(run: int, table: str, report: Callable[[str, Figures], None]) -> None:
    with recorder(table) as record, record.fault():
        faults.power_cycle(lab.hosts("db"))
        wait_until_whole()
    report("all hosts powered off and on", judge(record, table))


PSQL = "runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --command"
MISSED = 400  # MB
MARK = f"{DATA}/marked-by-a-test"
SEGMENTS = "/var/lib/pgbackrest/archive/ballast"


def configure(**parameters: str) -> None:
    """Changes PostgreSQL's settings on all members."""
    for host in lab.hosts("db"):
        answer = requests.patch(
            f"http://{lab.address(host, 'patroni')}/config",
            json={"postgresql": {"parameters": parameters}},
            auth=("patroni", lab.secret("patroni_restapi")),
            timeout=10,
        )
        if answer.status_code == 200:
            return
    raise RuntimeError(f"no member takes {parameters}")


@pytest.fixture
def behind(table: str) -> Iterator[str]:
    """A replica that is off, and has missed more than the primary keeps."""
    replica = a_replica()
    primary = wait_until_whole()
    (before,) = lab.on(replica, f"touch {MARK}; {PSQL} 'SELECT pg_last_wal_replay_lsn()'").values()
    configure(wal_keep_size="128MB", max_wal_size="128MB", min_wal_size="64MB")
    try:
        lab.on(replica, "systemctl stop patroni")
        message = f"pg_logical_emit_message(false, 'missed', repeat('x', {MISSED // 100}000000))"
        write = f"SELECT {message} FROM generate_series(1, 100)"
        lab.on(primary, f'{PSQL} "{write}" >/dev/null')
        archive(primary)
        first = f"SELECT pg_walfile_name('{before}')"
        lab.on(primary, f'{PSQL} CHECKPOINT; ! test -e {DATA}/pg_wal/$({PSQL} "{first}")')
        yield replica
    finally:
        lab.on(replica, f"systemctl start patroni; rm -f {MARK}")
        defaults = yaml.safe_load((lab.ROOT / "roles/patroni/defaults/main.yml").read_text())[
            "patroni_parameters"
        ]
        configure(**{name: defaults[name] for name in ("wal_keep_size", "max_wal_size", "min_wal_size")})
    wait_until_whole()


def was_copied(replica: str) -> bool:
    (said,) = lab.on(replica, f"test -e {MARK} && echo kept || echo copied").values()
    return said == "copied"


def test_a_replica_that_missed_too_much_catches_up_from_the_archive(behind: str) -> None:
    lab.on(behind, "systemctl start patroni")
    primary = wait_until_whole()
    assert not was_copied(behind)
    assert lab.on(primary, f"{PSQL} 'SELECT count(*) FROM pg_replication_slots'")[primary] == "0"


@pytest.fixture
def impatient() -> Iterator[None]:
    """What heals a member waits for ten seconds only: etcd still names a dead primary after that."""
    hurry = "/run/systemd/system/patroni-heal.service.d"
    restart = "systemctl daemon-reload; systemctl restart patroni-heal"
    setting = r"[Service]\nEnvironment=PATIENCE=10\n"
    lab.on("db", f"mkdir -p {hurry}; printf '{setting}' >{hurry}/test.conf; {restart}")
    yield
    lab.on("db", f"rm -r {hurry}; {restart}")


@pytest.mark.usefixtures("impatient")
def test_a_replica_is_copied_anew_when_the_archive_cannot_help_it(behind: str) -> None:
    repository = lab.hosts("backup")[0]
    lab.on(repository, f"mv {SEGMENTS} {SEGMENTS}.away")
    try:
        lab.on(behind, "systemctl start patroni")
        wait_until_whole()
        assert was_copied(behind)
    finally:
        lab.on(repository, f"mv {SEGMENTS}.away {SEGMENTS}")


# What was on its way to the disk is missing, or zeros.
DAMAGES = {
    "control file": f"truncate --size=0 {DATA}/global/pg_control",
    "WAL": f"for f in {DATA}/pg_wal/0*[0-9A-F]; do fallocate --zero-range --length=16MiB $f; done",
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("of", ["primary", "replica"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_member_whose_files_a_power_loss_has_damaged_is_whole_again(
    table: str, damage: str, of: str
) -> None:
    host = wait_until_whole() if of == "primary" else a_replica()
    with recorder(table) as record, record.fault(lambda: lab.on(host, "systemctl start patroni")):
        lab.on(host, f"systemctl kill --signal=KILL patroni; systemctl stop patroni; {damage}")
        record.wait_for_writes()
    judge(record, table)


@pytest.mark.parametrize("choose", [wait_until_whole, a_replica], ids=["primary", "replica"])
@pytest.mark.parametrize(
    ("folder", "unit"),
    [("/var/lib/postgresql", "patroni"), ("/var/lib/etcd", "etcd")],
    ids=["PostgreSQL", "etcd"],
)
def test_a_member_that_starts_on_a_full_disk_costs_nothing(
    folder: str,
    unit: str,
    choose: Callable[[], str],
    run: int,
    table: str,
    report: Callable[[str, Figures], None],
) -> None:
    disk = faults.SmallDisk(choose(), folder, unit)
    with disk, recorder(table) as record, record.fault(disk.make_room):
        disk.start_full()
        record.wait_for_writes()
    report(f"{unit} starts on a full disk", judge(record, table))


CLONE = lab.hosts("db")[-1]


@pytest.fixture
def moment(table: str) -> str:
    """A moment after 1 was written to the ledger and before 2 was, in the archive."""
    code, said = play("backup")
    assert code == 0, said
    primary = wait_until_whole()
    with connect(primary) as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1)")
        time.sleep(1)
        row = connection.execute("SELECT clock_timestamp()::timestamptz(0)::text").fetchone()
        time.sleep(1)
        connection.execute(f"INSERT INTO {table} VALUES (2)")
    archive(primary)
    assert row
    return str(row[0])


def test_a_moment_is_restored_into_a_clone(table: str, moment: str) -> None:
    code, said = play("restore", restore_to="clone", restore_time=moment)
    assert code == 0, said
    try:
        psql = "runuser -u postgres -- psql --no-psqlrc --tuples-only --no-align --port=5434 ballast"
        assert lab.on(CLONE, f"{psql} --command 'TABLE {table}'")[CLONE] == "1"
        assert "has a clone already" in play("restore", restore_to="clone")[1]
    finally:
        lab.on(CLONE, f"systemctl stop postgresql-clone; rm -r {CLONE_DATA}")
    assert rows(table) == {host: [1, 2] for host in lab.hosts("db")}


ASIDE = f"{DATA}.before-restore-*"
CONTROL_DATA = f"/usr/lib/postgresql/{VERSION}/bin/pg_controldata"


@pytest.fixture
def nothing_aside() -> Iterator[None]:
    lab.on("db", f"rm -rf {ASIDE}")
    yield
    lab.on("db", f"rm -rf {ASIDE}")


@pytest.mark.usefixtures("nothing_aside")
def test_a_restore_into_the_cluster_that_is_killed_is_repeated_and_loses_nothing(
    table: str, moment: str
) -> None:
    # The state in etcd is to be deleted; the data is put aside and the clone not yet in its place.
    for step in ("Forget the cluster's state", "Put the clone in its place"):
        play_until(step, "restore", restore_to="cluster", restore_time=moment)
        wait_for_what_it_left_running()
        code, said = play("restore", restore_to="cluster", restore_time=moment)
        assert code != 0
        assert f"No restore: {CLONE} has a clone already" in said
        lab.on(CLONE, f"rm -r {CLONE_DATA}")
    code, said = play("restore", restore_to="cluster", restore_time=moment)
    assert code == 0, said
    assert rows(table) == {host: [1] for host in lab.hosts("db")}
    kept = lab.on("db", f"ls -d {ASIDE}")
    # The data of before, and nothing else: the last run found nothing to put aside.
    assert [len(text.split()) for text in kept.values()] == [1] * len(kept), kept
    for host, folder in kept.items():
        assert f"{host} keeps what was there before, until somebody removes it (rm -r): {folder}" in said
        assert "shut down" in lab.on(host, f"LC_ALL=C {CONTROL_DATA} {folder}")[host]


def wait_for_what_it_left_running() -> None:
    """Ansible's modules on the members go on when the controller's end is killed: Python, whose program came
    through a pipe. The one that asks is such a process, too.
    """
    others = (
        "pgrep --full --exact '/usr/bin/python3[.0-9]*' | grep --invert-match --line-regexp $PPID || true"
    )
    eventually(lambda: not any(lab.on("db", others).values()), seconds=GIVE_UP)


def test_a_cluster_is_not_restored_while_a_member_does_not_answer() -> None:
    primary = wait_until_whole()
    away = next(host for host in lab.hosts("db") if host not in (primary, CLONE))
    faults.power_off(away)
    try:
        code, said = play("restore", restore_to="cluster")
        assert code != 0, said
        assert "Forget the cluster's state" not in said
        assert view(primary), "the cluster was stopped"
    finally:
        faults.power_on(away)
        lab.on(CLONE, f"rm -rf {CLONE_DATA}")
    assert wait_until_whole() == primary


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "say restore_to=clone"),
        ({"restore_to": "cluster", "restore_time": "teatime"}, "restore_time=teatime is no moment"),
        (
            {"restore_to": "cluster", "restore_time": "2020-01-01"},
            "2020-01-01 is before the end of the first",
        ),
        ({"restore_to": "cluster", "restore_time": "2100-01-01"}, "2100-01-01 has not come yet"),
    ],
)
def test_what_cannot_be_restored_is_refused(variables: dict[str, str], sentence: str) -> None:
    primary = wait_until_whole()
    code, said = play("restore", **variables)
    assert code != 0
    assert f"No restore: {sentence}" in said
    assert wait_until_whole() == primary
    lab.on(CLONE, f"test ! -e {CLONE_DATA}")


def test_a_moment_that_is_not_in_the_archive_yet_is_refused() -> None:
    primary = wait_until_whole()
    # Whatever is written from now on, it is archived later.
    archiver = "$(pgrep --full '^postgres: .*: archiver')"
    lab.on(primary, f"kill -STOP {archiver}")
    try:
        code, said = play("restore", restore_to="cluster", restore_time="now")
    finally:
        lab.on(primary, f"kill -CONT {archiver}")
    assert code != 0
    assert "No restore: the archive has no WAL up to now" in said
    assert wait_until_whole() == primary
    lab.on(CLONE, f"test ! -e {CLONE_DATA}")


def test_a_removal_that_would_cost_the_quorum_is_refused() -> None:
    primary = wait_until_whole()
    down, other = (host for host in lab.hosts("db") if host != primary)
    removal_is_refused(other, tier="etcd", down=down, stays=primary)
    assert wait_until_whole() == primary
