"""Prints who is who in a running topology, and where to look: python -m lab.status"""

from collections.abc import Callable
from typing import Any

import requests

import lab


def following(member: dict[str, Any]) -> str:
    """Whether a replica streams, and how far behind one is that does not."""
    if member["state"] == "streaming":
        return "streaming"
    lag = member.get("lag", "unknown")
    return f"{member['state']}, not streaming, {lag // 2**20 if isinstance(lag, int) else lag} MiB behind"


def postgresql() -> str:
    members = lab.postgresql_members()
    primary = [member["name"] for member in members if member["role"] == "leader"]
    replicas = [f"{member['name']} ({following(member)})" for member in members if member["role"] != "leader"]
    return f"primary {' '.join(primary) or 'none'}; replicas {', '.join(replicas) or 'none'}"


def redis() -> str:
    primary = [host for host, said in lab.redis_replication().items() if "role:master" in said]
    return f"primary {' '.join(primary) or 'none'} of {len(lab.hosts('cache'))}"


def rabbitmq() -> str:
    running = [node["name"].removeprefix("rabbit@") for node in lab.rabbitmq("nodes") if node["running"]]
    return f"{len(running)} of {len(lab.hosts('queue'))} nodes run: {' '.join(running)}"


def answer(question: Callable[[], str]) -> str:
    """What a tier says of itself, or that it does not answer: the others are worth a line all the same."""
    try:
        return question()
    except (RuntimeError, OSError, requests.RequestException) as error:
        return f"no answer ({str(error).strip().splitlines()[-1][:120]})"


def edge() -> str:
    """Where clients go, and what there is to try."""
    edge, data = lab.variable("vip_edge"), lab.variable("vip_data")
    return f"""
    The service        http://{edge}/   https://{edge}/   (API: /api/v1, its description: /docs)
    VIP edge           {edge} on {answer(lambda: " ".join(lab.vip_holders()["vip_edge"]) or "nobody")}
    VIP data           {data} on {answer(lambda: " ".join(lab.vip_holders()["vip_data"]) or "nobody")}
    HAProxy            http://{lab.address(lab.hosts("lb")[0], "haproxy_stats")}/stats
    Try                curl http://{edge}/api/v1/users/42      curl http://{edge}/api/v1/load-query/35
    Load               make load TOPOLOGY={lab.TOPOLOGY} USERS=2 DURATION=60s"""


def main() -> None:
    groups = lab.inventory()
    if "lb" in groups:
        print(edge())
    print()
    if "db" in groups:
        print(f"    PostgreSQL         {answer(postgresql)}")
    if "cache" in groups:
        print(f"    Redis              {answer(redis)}")
    if "queue" in groups:
        print(f"    RabbitMQ           {answer(rabbitmq)}")
        pages = lab.address(lab.hosts("queue")[0], "rabbitmq_management")
        secret = f"inventory/{lab.TOPOLOGY}/secrets/rabbitmq_admin"
        print(f"    RabbitMQ's pages   http://{pages}/   (admin, {secret})")
    print(f"    A shell            make ssh-{lab.hosts('ballast')[0]} TOPOLOGY={lab.TOPOLOGY}\n")


main()
