"""A PostgreSQL primary and a streaming replica of the tests' own, whose replay can be paused."""

import glob
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connections

from tests.patience import eventually, free_port


class Pair:
    """Two servers in a folder. Users are trusted: they listen on the loopback interface only, for a minute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"default": free_port(), "replica": free_port()}
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"))
        assert found, "PostgreSQL's server programs are not installed"
        self._bin = Path(found[-1]).parent

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._bin / program, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def begin(self, alias: str) -> None:
        log = str(self.folder / f"{alias}.log")
        self._run("pg_ctl", "--wait", "--pgdata", str(self.folder / alias), "--log", log, "start")

    def start(self) -> None:
        primary = self.folder / "default"
        self._run("initdb", "--pgdata", str(primary), "--username", "tests", "--auth", "trust", "--no-sync")
        with (primary / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\nfsync = off\n")
        self._set_port("default")
        self.begin("default")
        source = ("--host", "127.0.0.1", "--port", str(self.ports["default"]), "--username", "tests")
        self._run("pg_basebackup", *source, "--pgdata", str(self.folder / "replica"), "--write-recovery-conf")
        self._set_port("replica")
        self.begin("replica")

    def _set_port(self, alias: str) -> None:
        with (self.folder / alias / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"port = {self.ports[alias]}\n")

    def kill(self, alias: str) -> None:
        """As if by a power cut, for those who are connected."""
        self._run("pg_ctl", "--pgdata", str(self.folder / alias), "--mode", "immediate", "stop")

    def stop(self) -> None:
        for alias in ("replica", "default"):
            if (self.folder / alias / "postmaster.pid").exists():
                self.kill(alias)

    def ask(self, alias: str, question: str) -> str:
        with psycopg.connect(host="127.0.0.1", port=self.ports[alias], user="tests", dbname="postgres") as connection:
            row = connection.execute(question).fetchone()
            return str(row[0]) if row else ""

    def pause(self) -> None:
        """Commits arrive at the replica, but nobody sees them there."""
        self.ask("replica", "SELECT pg_wal_replay_pause()")
        eventually(lambda: self.ask("replica", "SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self) -> None:
        self.ask("replica", "SELECT pg_wal_replay_resume()")

    def commit_synchronously(self) -> None:
        """From here on a commit waits until the replica has it, as Patroni's strict mode wants."""
        with (self.folder / "default" / "postgresql.auto.conf").open("a") as settings:
            settings.write("synchronous_standby_names = '*'\n")
        self._run("pg_ctl", "--pgdata", str(self.folder / "default"), "reload")
        eventually(lambda: self.ask("replica", "SELECT count(*) FROM pg_stat_wal_receiver") == "1")
        eventually(lambda: "sync" in self.ask("default", "SELECT string_agg(sync_state, ',') FROM pg_stat_replication"))

    def waiting_commits(self) -> int:
        """Backends that hold a commit back until a replica has it."""
        return int(self.ask("default", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))

    def catch_up(self) -> None:
        """Until the replica shows everything that is committed now."""
        self.resume()
        position = self.ask("default", "SELECT pg_current_wal_flush_lsn()")
        eventually(lambda: self.ask("replica", f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "True")


def _forget_connections() -> None:
    for alias in connections:
        connections[alias].close()
        connections[alias].close_pool()  # type: ignore[attr-defined]


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Django's two databases are these servers for a while."""
    servers = Pair(folder)
    before = {alias: dict(connections[alias].settings_dict) for alias in connections}
    try:
        servers.start()
        _forget_connections()
        for alias, port in servers.ports.items():
            connections[alias].settings_dict.update(HOST="127.0.0.1", PORT=port, NAME="postgres", USER="tests")
        call_command("migrate", verbosity=0)
        servers.catch_up()
        yield servers
    finally:
        _forget_connections()
        for alias, values in before.items():
            connections[alias].settings_dict.update(values)
        servers.stop()


def user_may_run_servers() -> bool:
    """PostgreSQL refuses to run as root."""
    return os.geteuid() != 0
