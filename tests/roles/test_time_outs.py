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


def number(value: object) -> float:
    """500ms is 0.5, 90s is 90, and so is 90."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|)", str(value))
    assert found, f"{value!r} is no number of seconds"
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


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


WAIT = "playbooks/group_vars/all/api.yml"
RISING: dict[str, dict[str, float]] = {
    "a vouch and a lease end before Sentinel calls a primary down": {
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
        "uvicorn": said(WAIT, r"--timeout-graceful-shutdown (\d+)"),
        "unit": service("api.yml", "wait", "stop_timeout"),
    },
    "the web service stops before its unit is killed": {
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^graceful_timeout = (.+)$"),
        "unit": service("api.yml", "web", "stop_timeout"),
    },
    "a load query's answer comes before nginx gives up": {
        "load query": setting("LOAD_QUERY_WAIT"),
        "nginx": default("nginx", "nginx_wait_timeout"),
    },
    "a write gives up after TCP would have noticed a dead host, and before nginx does": {
        "TCP": said(f"{APP}/settings.py", r'"tcp_user_timeout": (\d+)') / 1000,
        "write": said(f"{APP}/db.py", r"^WRITE_PATIENCE = (.+)$"),
        "nginx": default("nginx", "nginx_web_timeout"),
    },
    "a client that pauses is told so by HAProxy": {
        "HAProxy": default("haproxy", "haproxy_edge_client_timeout"),
        "nginx": said("roles/nginx/templates/nginx.conf.j2", r"client_body_timeout (\d+s)"),
    },
    "nginx closes an idle connection before gunicorn does": {
        "nginx": said("roles/nginx/templates/nginx.conf.j2", r"^        keepalive_timeout (\d+s)"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^keepalive = (.+)$"),
    },
    "nginx closes an idle connection before uvicorn does": {
        "nginx": said("roles/nginx/templates/nginx.conf.j2", r"^        keepalive_timeout (\d+s)"),
        "uvicorn": said(WAIT, r"--timeout-keep-alive (\d+)"),
    },
    "a task gives up before it is killed, and its worker's unit after that": {
        "softly": said(f"{APP}/celery.py", r"task_soft_time_limit=(\d+)"),
        "hard": said(f"{APP}/celery.py", r"task_time_limit=(\d+)"),
        "abandoned": said(f"{APP}/load_queries.py", r"^ABANDONED = (.+)$"),
    },
    "a worker's unit is stopped after a task is": {
        "hard": said(f"{APP}/celery.py", r"task_time_limit=(\d+)"),
        "unit": service("worker.yml", "worker", "stop_timeout"),
    },
    "a request's head is too large for HAProxy before it is for nginx and gunicorn": {
        "HAProxy": default("haproxy", "haproxy_edge_url_bytes"),
        "gunicorn": said(f"{APP}/gunicorn_conf.py", r"^limit_request_line = (.+)$"),
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


def test_the_application_s_connections_fit_into_postgresql() -> None:
    full = yaml.safe_load((TREE / "inventory/full/hosts.yml").read_text())["ballast"]["children"]
    patroni = yaml.safe_load((TREE / "roles/patroni/defaults/main.yml").read_text())
    of_one_api_host = setting("WAIT_THREADS") + setting("THREADS")
    # A worker's processes and its two threads keep one each.
    of_one_worker = 2 + 2
    most = of_one_api_host * len(full["api"]["hosts"]) + of_one_worker * len(full["worker"]["hosts"])
    assert most < patroni["patroni_parameters"]["max_connections"] - 10, most
