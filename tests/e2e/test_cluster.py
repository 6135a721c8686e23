"""Every tier has formed the cluster that its promise rests on; the data VIP leads to the right members."""

import base64
import json
import shlex
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import lab
from tests.patience import eventually
from tests.roles.test_app_settings import SHOW, VALUES, rendered


def members(group: str) -> int:
    return len(lab.hosts(group))


@pytest.mark.tier("lb")
def test_exactly_one_load_balancer_holds_each_vip() -> None:
    held = lab.vip_holders()
    assert all(len(hosts) == 1 for hosts in held.values()), held
    if members("lb") > 1:
        assert held["vip_edge"] != held["vip_data"], "both VIPs are on one host: the other only waits"


@pytest.mark.tier("etcd")
def test_every_etcd_member_answers() -> None:
    said = lab.on("etcd", lab.etcdctl("endpoint status --write-out json"))
    status = [json.loads(text)[0]["Status"] for text in said.values()]
    assert len(status) == members("etcd")
    assert len({member["leader"] for member in status}) == 1, status
    assert status[0]["leader"] in {member["header"]["member_id"] for member in status}


@pytest.mark.tier("db")
def test_postgresql_has_one_primary_and_the_others_stream_from_it() -> None:
    replicas = members("db") - 1
    # A quorum standby may be what acknowledges a commit; a replica becomes one seconds after it streams.
    wanted = sorted([("leader", "running")] + [("quorum_standby", "streaming")] * replicas)

    def found() -> list[tuple[str, str]]:
        return sorted((member["role"], member["state"]) for member in lab.postgresql_members())

    eventually(found, lambda members: members == wanted, seconds=30)


@pytest.mark.tier("db")
def test_health_checks_leave_no_tracebacks_in_patroni_s_journal() -> None:
    """A log that cries all the time hides the one line that matters.

    A check that was too slow may leave one, soon after a start; ten seconds without come soon.
    """
    command = "journalctl --unit=patroni --since=-10s --output=cat | grep --count Traceback || true"
    quiet = dict.fromkeys(lab.hosts("db"), "0")
    eventually(lambda: lab.on("db", command), lambda said: said == quiet, seconds=90)


@pytest.mark.tier("cache")
def test_redis_has_one_primary_and_the_others_replicate_it() -> None:
    said = lab.redis_replication()
    roles = {host: "master" if "role:master" in text else "slave" for host, text in said.items()}
    assert sorted(roles.values()) == ["master"] + ["slave"] * (members("cache") - 1), roles
    for host, role in roles.items():
        if role == "master":
            assert f"connected_slaves:{members('cache') - 1}" in said[host]
        else:
            assert "master_link_status:up" in said[host], said[host]


@pytest.mark.tier("queue", "worker")
def test_rabbitmq_is_one_cluster_with_quorum_queues() -> None:
    nodes = lab.rabbitmq("nodes")
    assert [node["running"] for node in nodes] == [True] * members("queue"), nodes
    queues = lab.rabbitmq("queues/ballast/load_queries")
    assert queues["type"] == "quorum", queues
    assert len(queues["members"]) == members("queue"), queues
    assert sorted(queues["online"]) == sorted(queues["members"])


@pytest.mark.parametrize("user", [None, ("guest", "guest")])
@pytest.mark.tier("queue")
def test_rabbitmq_knows_no_default_user(user: tuple[str, str] | None) -> None:
    url = f"http://{lab.address(lab.hosts('queue')[0], 'rabbitmq_management')}/api/overview"
    assert requests.get(url, auth=user, timeout=10).status_code == 401


@pytest.mark.tier("lb")
def test_the_data_vip_leads_writes_to_the_primary_and_reads_to_a_replica() -> None:
    host = lab.hosts("api")[0]
    code = (
        "from django.db import connections as c\n"
        "for alias in ('default', 'replica'):\n"
        "    with c[alias].cursor() as cursor:\n"
        "        cursor.execute('SELECT pg_is_in_recovery()')\n"
        "        print(alias, cursor.fetchone()[0])"
    )
    said = lab.on(host, f'ballast shell --verbosity 0 -c "{code}"')[host]
    assert said.splitlines()[-2:] == ["default False", f"replica {members('db') > 1}"]


@pytest.mark.tier("lb")
def test_the_data_vip_leads_to_the_redis_primary() -> None:
    host = lab.hosts("cache")[-1]
    assert "role:master" in lab.redis_replication(lab.variable("vip_data"), host)[host]


def test_nothing_but_ssh_listens_outside_the_private_network() -> None:
    vips = {lab.variable("vip_edge"), lab.variable("vip_data")}
    exposed = []
    for host, text in lab.on("ballast", "ss -H --tcp --udp --listening --numeric").items():
        assert ":22" in text
        for line in text.splitlines():
            address, _, port = line.split()[4].rpartition(":")
            address = address.split("%")[0].strip("[]")
            private = address in {lab.variable("node_address", host), *vips, "::1"}
            if not (private or address.startswith("127.") or port == "22"):
                exposed.append(f"{host}: {line}")
    assert not exposed, "\n".join(exposed)


@pytest.mark.tier("web")
def test_the_log_of_requests_is_put_aside_and_goes_on() -> None:
    log = "/var/log/nginx/access.json"
    rotate = "logrotate --force --state /var/lib/nginx/logs.state /etc/nginx/nginx-logs.conf"
    lab.on("web", f"systemctl start nginx-logs && {rotate} && test -e {log}.1.gz")

    def written() -> bool:
        requests.get(f"http://{lab.variable('vip_edge')}/api/v1/ping", timeout=10)
        return all(int(size) > 0 for size in lab.on("web", f"stat --format=%s {log}").values())

    eventually(written, seconds=60)


@pytest.mark.tier("lb")
def test_the_edge_s_certificate_is_for_serving_only() -> None:
    """Its key is on hosts that clients reach: it must not speak for anybody inside."""
    file = lab.INVENTORY.parent / "secrets/pki/edge/edge.crt"
    usages = x509.load_pem_x509_certificate(file.read_bytes()).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(usages.value) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.tier("api")
def test_systemd_reads_a_setting_as_it_was_written(tmp_path: Path) -> None:
    host = lab.hosts("api")[0]
    file = rendered(tmp_path, "app.env.j2", app_environment=VALUES)
    encoded = base64.b64encode(file.read_bytes()).decode()
    show = shlex.join(["/usr/bin/python3", "-c", SHOW])
    unit = f"systemd-run --quiet --collect --wait --pipe --property=EnvironmentFile=$file {show}"
    said = lab.on(host, f"file=$(mktemp); echo {encoded} | base64 --decode >$file; {unit}; rm $file")[host]
    assert json.loads(said) == {name: str(value) for name, value in VALUES.items()}
