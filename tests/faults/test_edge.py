"""The load balancers under attack and in trouble: each VIP has one holder, and each tier its share."""

import shlex
import socket
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import lab
from lab import faults
from tests.faults.prober import Prober
from tests.patience import eventually

pytestmark = pytest.mark.destructive

# Seconds.
GIVE_UP = 60
SLOW_CLIENTS = Path(__file__).with_name("slow_clients.py")
# Of one host; what the lab lets one client address have is less.
CONNECTIONS = 4000
FORGED_ADVERTS = Path(__file__).with_name("forged_adverts.py")


def wait_until_at_home() -> dict[str, str]:
    """Returns the holder of each VIP, once each is where its priority wants it."""
    hosts = lab.hosts("lb")
    wanted = {"vip_edge": [hosts[0]], "vip_data": [hosts[-1]]}
    found = eventually(lab.vip_holders, lambda found: found == wanted, seconds=GIVE_UP)
    return {vip: each[0] for vip, each in found.items()}


def changes_of_state() -> dict[str, int]:
    """How often keepalived has entered a state, on each load balancer."""
    counted = lab.on(
        "lb", "journalctl --unit=keepalived --output=cat --boot | grep --count 'Entering' || true"
    )
    return {host: int(text) for host, text in counted.items()}


def ping(timeout: float = 5) -> float:
    """Seconds that a ping through the edge takes."""
    began = time.monotonic()
    url = f"http://{lab.variable('vip_edge')}/api/v1/ping"
    assert requests.get(url, timeout=timeout).status_code == 200
    return time.monotonic() - began


def ask_redis() -> None:
    """Through the data VIP: any answer will do."""
    with socket.create_connection(
        (lab.variable("vip_data"), lab.port("redis_primary")), timeout=2
    ) as connection:
        connection.sendall(b"PING\r\n")
        connection.settimeout(2)
        assert connection.recv(64).startswith(b"-NOAUTH")


def flood(host: str, seconds: int) -> int:
    """Slow clients on a host, for some seconds; how many connections they had at once."""
    arguments = f"{lab.variable('vip_edge')} {lab.port('edge_http')} {CONNECTIONS} {seconds}"
    command = f"timeout {seconds + 30} python3 -c {shlex.quote(SLOW_CLIENTS.read_text())} {arguments}"
    return int(lab.on(host, command)[host].splitlines()[-1])


def test_slow_clients_of_one_address_cost_the_others_nothing() -> None:
    wait_until_at_home()
    before = changes_of_state()
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, lab.hosts("load")[0], 10)
        pings = []
        while not flooding.done():
            pings.append(ping())
            ask_redis()
            time.sleep(0.2)
        held = flooding.result()
    allowed = lab.variable("haproxy_edge_client_maxconn")
    # There was a flood, and not all of it was let in. (Who was turned away counts for a moment more.)
    assert allowed / 2 < held < 1.2 * allowed < CONNECTIONS, held
    assert statistics.median(pings) < 1, pings
    assert changes_of_state() == before


def test_slow_clients_that_fill_the_edge_leave_the_data_vip_and_the_health_page_theirs() -> None:
    wait_until_at_home()
    before = changes_of_state()
    # Together they may have more connections than the edge.
    hosts = [*lab.hosts("load"), *lab.hosts("web"), *lab.hosts("api")][:4]
    with ThreadPoolExecutor(len(hosts)) as pool:
        floods = [pool.submit(flood, host, 10) for host in hosts]
        while not all(each.done() for each in floods):
            ask_redis()
            time.sleep(0.2)
        assert sum(each.result() for each in floods) > CONNECTIONS / 4
    assert changes_of_state() == before
    eventually(lambda: ping(timeout=GIVE_UP), lambda took: took <= 1, seconds=GIVE_UP)


TROUBLES = {
    "powered off": faults.POWERED_OFF,
    "HAProxy killed": faults.killed("haproxy"),
    "HAProxy paused": faults.paused("haproxy"),
    "keepalived killed": faults.killed("keepalived"),
    "adverts cut both ways": faults.without_adverts("input", "output"),
    "adverts cut one way": faults.without_adverts("output"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_the_edge_vip_answers_again_within_a_moment(
    name: str, run: int, report_gap: Callable[[str, float], None]
) -> None:
    host = wait_until_at_home()["vip_edge"]
    with Prober(f"http://{lab.variable('vip_edge')}/api/v1/ping") as prober:
        prober.wait_for_answers()
        begun = time.monotonic()
        try:
            TROUBLES[name].begin(host)
            prober.wait_for_answers(100)
        finally:
            TROUBLES[name].heal(host)
        wait_until_at_home()
        prober.wait_for_answers()
    report_gap(f"edge: {name}", prober.gap(since=begun))


def test_no_read_fails_while_redis_is_paused(run: int, report_gap: Callable[[str, float], None]) -> None:
    """Where nginx would answer from Redis, the API does, from PostgreSQL."""
    primary = next(host for host, said in lab.redis_replication().items() if "role:master" in said)
    fault = faults.paused("redis-server")
    with Prober(f"http://{lab.variable('vip_edge')}/api/v1/users/81") as prober:
        prober.wait_for_answers()
        begun = time.monotonic()
        try:
            fault.begin(primary)
            prober.wait_for_answers(200)
        finally:
            fault.heal(primary)
    assert not prober.failed
    report_gap("cached read: Redis paused", prober.gap(since=begun))


def test_adverts_of_no_peer_move_no_vip() -> None:
    """VRRPv3 has no authentication: any host of the network can say that it holds a VIP."""
    wait_until_at_home()
    before = changes_of_state()
    host = lab.hosts("load")[0]
    targets = ",".join(lab.variable("node_address", each) for each in lab.hosts("lb"))
    instances = lab.on(
        lab.hosts("lb")[0],
        "awk '/virtual_router_id/ { id = $2 } /virtual_ipaddress/ { getline; print id \":\" $1 }'"
        " /etc/keepalived/keepalived.conf",
    )[lab.hosts("lb")[0]]
    claimed = ",".join(line.split("/")[0] for line in instances.split())
    assert claimed.count(":") == len(lab.vip_holders()), instances
    command = shlex.quote(FORGED_ADVERTS.read_text())
    arguments = f"{lab.variable('node_address', host)} 5 {targets} {claimed}"
    sent = int(lab.on(host, f"timeout 30 python3 -c {command} {arguments}")[host])
    assert sent > 100
    assert changes_of_state() == before
    wait_until_at_home()


@pytest.fixture
def draining() -> Iterator[None]:
    """Every api host says 503 to the question whether it is ready."""
    file = "/var/lib/ballast/drain"
    try:
        lab.on("api", f"touch {file}")
        yield
    finally:
        lab.on("api", f"rm -f {file}")


def test_an_answer_of_503_is_not_asked_for_again(draining: None) -> None:
    """Whoever says that there is too much to do must not get it four times."""
    name = uuid.uuid4().hex
    url = f"http://{lab.variable('vip_edge')}/health/ready"
    answer = requests.get(url, headers={"X-Request-ID": name}, timeout=10)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (503, name)
    # nginx writes its log once a second.
    count = f"grep --count {name} /var/log/nginx/access.json || true"
    asked = eventually(lambda: sum(int(text) for text in lab.on("web", count).values()), seconds=GIVE_UP)
    assert asked == 1


def own_address(host: str) -> str:
    """With the network's prefix, as its interface has it."""
    return f"{lab.variable('node_address', host)}/{lab.variable('network_cidr').split('/')[1]}"


@pytest.fixture
def away() -> Iterator[str]:
    """The holder of the edge VIP; its own address is back in the end."""
    host = wait_until_at_home()["vip_edge"]
    yield host
    lab.on(host, f"ip addr replace {own_address(host)} dev {lab.variable('node_interface', host)}")


def assert_served_from_its_own_address(host: str) -> None:
    """What a load balancer sends to nginx comes from the address that nginx trusts."""
    target = lab.variable("node_address", lab.hosts("web")[0])
    route = lab.on(host, f"ip route get {target}")[host]
    assert f" src {lab.variable('node_address', host)} " in route, route


def test_a_holder_whose_own_address_was_away_asks_from_it_again(away: str) -> None:
    address, interface = own_address(away), lab.variable("node_interface", away)
    before = changes_of_state()[away]
    # The command has to put the address back by itself: it is the way in.
    lab.on(
        away,
        f"nohup sh -c 'ip addr del {address} dev {interface}; sleep 3;"
        f" ip addr add {address} dev {interface}' >/dev/null 2>&1 &",
    )
    eventually(lambda: changes_of_state()[away], lambda now: now != before, seconds=GIVE_UP)
    wait_until_at_home()
    assert_served_from_its_own_address(away)
    ping()


def test_a_reconfigured_network_gives_the_vip_back(away: str) -> None:
    """systemd-networkd takes away what it does not know; where it does not run, it runs for this test."""
    interface = lab.variable("node_interface", away)
    unit, files = "ballast-test-networkd", "/run/systemd/network"
    other = "[Match]\\nName=eth0\\n[Link]\\nUnmanaged=yes\\n"
    own = f"[Match]\\nName={interface}\\n[Network]\\nAddress={own_address(away)}\\n"
    try:
        lab.on(
            away,
            f"mkdir -p {files} && printf '{other}' >{files}/05-other.network"
            f" && printf '{own}' >{files}/10-own.network"
            f" && systemd-run --quiet --unit={unit} /usr/lib/systemd/systemd-networkd",
        )
        shown = f"networkctl list {interface} || true"
        eventually(lambda: lab.on(away, shown)[away], lambda said: "configured" in said, seconds=GIVE_UP)
        lab.on(away, f"networkctl reconfigure {interface}")
        wait_until_at_home()
        assert_served_from_its_own_address(away)
        ping()
    finally:
        lab.on(away, f"systemctl stop {unit}; rm {files}/05-other.network {files}/10-own.network")
