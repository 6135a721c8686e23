"""Values that stand in several files and must keep an order, read from those files.

docs/architecture.md says who gives up when, and why.
"""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).parents[2]
APP = "app/ballast"


def default(role: str, name: str) -> float:
    """Seconds, bytes or a number out of a role's defaults."""
    values: dict[str, Any] = yaml.safe_load((TREE / "roles" / role / "defaults/main.yml").read_text())
    return number(values[name])


UNITS = {"": 1, "ms": 0.001, "s": 1, "k": 1024, "m": 1024**2}


def number(value: object) -> float:
    """500ms is 0.5, 90s is 90, and so is 90; 1m, as nginx writes sizes, is 1048576."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", str(value))
    assert found, f"{value!r} is no number"
    assert found[2] in UNITS, f"{value!r} has a unit that this test does not know"
    return float(found[1]) * UNITS[found[2]]


def said(file: str, pattern: str) -> float:
    """The one number that a file gives for a pattern with a group."""
    found = set(re.findall(pattern, (TREE / file).read_text(), re.MULTILINE))
    assert len(found) == 1, f"{file}: {pattern} is there {len(found)} times"
    return number(found.pop())


def service(file: str, name: str, key: str) -> float:
    """A value of a service that the plays wire."""
    values = yaml.safe_load((TREE / "playbooks/group_vars/all" / file).read_text())
    return number(values[f"{Path(file).stem}_services"][name][key])


def setting(name: str) -> float:
    """The default of a setting of the application."""
    return said(f"{APP}/settings.py", rf'"{name}", ([\d.]+),')


WAIT = f"{APP}/asgi.py"
HAPROXY = "roles/haproxy/templates/haproxy.cfg.j2"
NGINX = "roles/nginx/templates/nginx.conf.j2"
# Bytes of a line of a request's head that nginx (large_client_header_buffers) and gunicorn
# (limit_request_field_size) take if they are not told otherwise. A test sees to it that they are not.
NGINX_LINE = 8192
GUNICORN_FIELD = 8190
# What PostgreSQL keeps for superusers (superuser_reserved_connections), if it is not told otherwise.
SUPERUSERS = 3
# Seconds that a request of the web service has for what it waits for.
REQUEST = setting("DATABASE_PATIENCE") + said(f"{APP}/middleware.py", r"^    AROUND_A_WRITE = (.+)$")
RISING: dict[str, dict[str, float]] = {
    "a vouch ends before Sentinel calls a primary down": {
        "vouch": said(f"{APP}/cache.py", r"^VOUCHED_FOR = (.+)$"),
        "Sentinel": default("redis", "redis_down_after") / 1000,
    },
    "a lease ends before Sentinel calls a primary down": {
        "lease": said(f"{APP}/cache.py", r"^LEASE = (.+)$"),
        "Sentinel": default("redis", "redis_down_after") / 1000,
    },
    "a long query ends before anybody in front of it gives up": {
        "long query": setting("LONG_QUERY_MAX"),
        "nginx": default("nginx", "nginx_wait_timeout"),
        "HAProxy": default("haproxy", "haproxy_edge_server_timeout"),
        "a replaced HAProxy": default("haproxy", "haproxy_hard_stop_after"),
    },
    "the wait service stops after its longest request, and its unit after that": {
        "long query": setting("LONG_QUERY_MAX"),
        "uvicorn": said(WAIT, r"timeout_graceful_shutdown=(\d+)"),
        "unit": service("api.yml", "wait", "stop_timeout"),
    },
    "the web service stops after its longest request, and its unit after that": {
        "nginx": default("nginx", "nginx_web_timeout"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^graceful_timeout = (.+)$"),
        "unit": service("api.yml", "web", "stop_timeout"),
    },
    "nginx tries another server after the first was silent, and answers before HAProxy gives up": {
        "a try": default("nginx", "nginx_web_timeout"),
        "all tries begin": default("nginx", "nginx_tries_timeout"),
        "all tries end": default("nginx", "nginx_tries_timeout") + default("nginx", "nginx_web_timeout"),
        "HAProxy": default("haproxy", "haproxy_edge_server_timeout"),
    },
    "a connection that cannot be made still leaves a read its second try": {
        "connection": said(f"{APP}/settings.py", r'"connect_timeout": (\d+)'),
        "second try": said(f"{APP}/middleware.py", r"^    RETRY_PATIENCE = (.+)$"),
    },
    "a replica of Redis has acknowledged before the client gives Redis up": {
        "replica": said(f"{APP}/cache.py", r"^REPLICA_PATIENCE = (.+)$") / 1000,
        "client": said(f"{APP}/settings.py", r'"SOCKET_TIMEOUT": ([\d.]+)'),
    },
    "a vouch outlives a round that the database does not answer": {
        "round": said(f"{APP}/changes.py", r"^PAUSE = (.+)$")
        + said(f"{APP}/changes.py", r"^PATIENCE = (.+)$"),
        "vouch": said(f"{APP}/cache.py", r"^VOUCHED_FOR = (.+)$"),
    },
    "a tombstone outlives the vouches and leases before it, by far": {
        "ten vouches": 10 * said(f"{APP}/cache.py", r"^VOUCHED_FOR = (.+)$"),
        "tombstone": setting("CACHE_TOMBSTONE_TTL"),
    },
    "a load query's answer comes before nginx gives up": {
        "load query": setting("LOAD_QUERY_WAIT"),
        "nginx": default("nginx", "nginx_wait_timeout"),
    },
    "a write gives up after TCP would have noticed a dead host, and before nginx does": {
        "TCP": said(f"{APP}/settings.py", r'"tcp_user_timeout": (\d+)') / 1000,
        "write": setting("DATABASE_PATIENCE"),
        "nginx": default("nginx", "nginx_web_timeout"),
    },
    "a request waits for its turn and its write, then for what follows a commit, and nginx for all of that": {
        "write": setting("DATABASE_PATIENCE") + said(f"{APP}/db.py", r"^QUEUE_PATIENCE = (.+)$"),
        "request": REQUEST,
        # What has no limit of its own, each begun at the last moment; they exclude each other.
        "a connection to PostgreSQL or RabbitMQ": REQUEST
        + max(
            said(f"{APP}/settings.py", r'"connect_timeout": (\d+)'),
            said(f"{APP}/celery.py", r"broker_connection_timeout=(\d+)"),
        ),
        "nginx": default("nginx", "nginx_web_timeout"),
    },
    "a client that pauses is told so by HAProxy": {
        "HAProxy": default("haproxy", "haproxy_edge_client_timeout"),
        "nginx": said(NGINX, r"client_body_timeout (\d+s)"),
    },
    "HAProxy closes an idle connection before nginx does": {
        "HAProxy": said(HAPROXY, r"timeout http-keep-alive (\d+s)"),
        "nginx": said(NGINX, r"^    keepalive_timeout (\d+s)"),
    },
    "nginx closes an idle connection before gunicorn does": {
        "nginx": said(NGINX, r"^        keepalive_timeout (\d+s)"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^keepalive = (.+)$"),
    },
    "nginx closes an idle connection before uvicorn does": {
        "nginx": said(NGINX, r"^        keepalive_timeout (\d+s)"),
        "uvicorn": said(WAIT, r"timeout_keep_alive=(\d+)"),
    },
    "a task gives up before it is killed, and its worker's unit after that": {
        "softly": said(f"{APP}/celery.py", r"task_soft_time_limit=(\d+)"),
        "hard": said(f"{APP}/celery.py", r"task_time_limit=(\d+)"),
        "abandoned": said(f"{APP}/load_queries.py", r"^ABANDONED = (.+)$"),
    },
    "a task outlasts a failover, and gives the database up before its own time is": {
        "failover": default("patroni", "patroni_ttl"),
        "database": said(f"{APP}/tasks.py", r"^PATIENCE = (.+)$"),
        "softly": said(f"{APP}/celery.py", r"task_soft_time_limit=(\d+)"),
    },
    "a load query is failed by its task before RabbitMQ gives its message up": {
        "task": said(f"{APP}/tasks.py", r"^MAX_ATTEMPTS = (.+)$"),
        "RabbitMQ": said(f"{APP}/celery.py", r"^DELIVERY_LIMIT = (.+)$"),
    },
    "etcd has a new leader before Patroni gives etcd up, and that before the lock ends": {
        "heartbeat": default("etcd", "etcd_heartbeat_interval") / 1000,
        "election": default("etcd", "etcd_election_timeout") / 1000,
        "Patroni": default("patroni", "patroni_retry_timeout"),
        "lock": default("patroni", "patroni_ttl"),
    },
    "a worker's unit is stopped after a task is": {
        "hard": said(f"{APP}/celery.py", r"task_time_limit=(\d+)"),
        "unit": service("worker.yml", "worker", "stop_timeout"),
    },
    "an address is too long for HAProxy before it is for gunicorn and nginx": {
        "HAProxy": default("haproxy", "haproxy_edge_url_bytes"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^limit_request_line = (.+)$"),
        "nginx": NGINX_LINE,
    },
    "a header is too large for HAProxy before it is for gunicorn and nginx": {
        "HAProxy": default("haproxy", "haproxy_edge_header_bytes"),
        "gunicorn": GUNICORN_FIELD,
        "nginx": NGINX_LINE,
    },
    "a body is too large for HAProxy before it is for nginx": {
        "HAProxy": default("haproxy", "haproxy_edge_body_bytes"),
        "nginx": default("nginx", "nginx_body_max"),
    },
    "a request has too many headers for HAProxy before it has for gunicorn": {
        "HAProxy": default("haproxy", "haproxy_edge_header_count"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^limit_request_fields = (.+)$"),
    },
}


@pytest.mark.parametrize("rule", RISING)
def test_each_waits_longer_than_the_one_before(rule: str) -> None:
    values = list(RISING[rule].values())
    assert all(a < b for a, b in itertools.pairwise(values)), f"{rule}: {RISING[rule]}"


def test_a_request_fits_into_haproxy_s_buffer() -> None:
    names = ("haproxy_edge_url_bytes", "haproxy_edge_header_bytes", "haproxy_edge_body_bytes")
    assert sum(default("haproxy", name) for name in names) < default("haproxy", "haproxy_buffer_bytes")


def test_the_edge_and_the_application_take_the_same_body() -> None:
    of_application = said(f"{APP}/settings.py", r"^MAX_BODY = (\d+) \* 1024$") * 1024
    assert of_application == default("haproxy", "haproxy_edge_body_bytes")


def test_patroni_s_lock_outlives_its_patience() -> None:
    loop, retry, ttl = (
        default("patroni", f"patroni_{name}") for name in ("loop_wait", "retry_timeout", "ttl")
    )
    assert loop + 2 * retry <= ttl


@pytest.mark.parametrize(
    ("file", "name"),
    [(NGINX, "large_client_header_buffers"), (f"{APP}/gunicorn_conf.py", "limit_request_field_size")],
)
def test_a_limit_that_is_taken_for_granted_is_not_set(file: str, name: str) -> None:
    assert name not in (TREE / file).read_text(), f"{file} sets {name}: read it there, and not from this test"


def test_the_application_s_connections_fit_into_postgresql() -> None:
    """Without replicas all of it meets on the primary: HAProxy sends reads there, too.

    A thread keeps one connection for each database. The readiness of a process keeps one for each as well.
    Writes that gave their thread back keep theirs besides, as many as may write: half of the threads.
    """
    full = yaml.safe_load((TREE / "inventory/full/hosts.yml").read_text())["ballast"]["children"]
    patroni = yaml.safe_load((TREE / "roles/patroni/defaults/main.yml").read_text())["patroni_parameters"]
    assert "superuser_reserved_connections" not in patroni, "read it there, and not from this test"
    databases = 2
    web = said(f"{APP}/gunicorn_conf.py", r'"WEB_PROCESSES", (\d+),') * (
        databases * (setting("THREADS") + 1) + setting("THREADS") // 2
    )
    # Its views ask the primary alone.
    wait = setting("WAIT_THREADS") + setting("WAIT_THREADS") // 2 + databases
    # One for each task, one for the sweeper, one for the changes.
    worker = said("playbooks/group_vars/all/worker.yml", r"worker_concurrency \| default\((\d+)\)") + 2
    most = (web + wait) * len(full["api"]["hosts"]) + worker * len(full["worker"]["hosts"])
    room = patroni["max_connections"] - SUPERUSERS
    assert most <= room, f"{most:g} connections at worst, and PostgreSQL takes {room}"
