"""The daemons that the guests run accept what the roles write, for one, two and three hosts in each tier."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.render.play import render

TREE = Path(__file__).parents[2]
CHECKERS = Path(__file__).with_name("checkers.sh")
# The kernel's, in if.h.
IFF_MULTICAST = 0x1000

TIERS = ["lb", "web", "api", "db", "cache", "queue"]

MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=edge -days 2"
    " -keyout edge.key -out edge.crt"
)

# Checkers look up what the configurations name, so every address is one of the loopback's.
NETWORK, VIP_EDGE, VIP_DATA = "127.0.0.0/8", "127.0.0.10", "127.0.0.50"


@dataclass(frozen=True)
class Rendered:
    """The files of one topology; `root` is the checkers' root, below which they lie."""

    size: int
    root: Path
    folder: Path

    def text(self, host: str, name: str) -> str:
        return (self.folder / f"{host}.{name}").read_text()

    def check(self, *command: str) -> None:
        done = subprocess.run([CHECKERS, *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    def inside(self, host: str, name: str) -> str:
        return "/" + str((self.folder / f"{host}.{name}").relative_to(self.root))


def inventory(size: int) -> dict[str, object]:
    tiers = {
        tier: {"hosts": {f"{tier}{i}": {"node_address": f"127.0.{number}.{i}"} for i in range(1, size + 1)}}
        for number, tier in enumerate(TIERS, start=1)
    }
    # keepalived wants an interface that is there and could do multicast; it is only looked at.
    flags = {path.parent.name: int(path.read_text(), 16) for path in Path("/sys/class/net").glob("*/flags")}
    interface = next(name for name in sorted(flags) if name != "lo" and flags[name] & IFF_MULTICAST)
    names = {"network_cidr": NETWORK, "vip_edge": VIP_EDGE, "vip_data": VIP_DATA, "node_interface": interface}
    local = {"ansible_python_interpreter": sys.executable}
    return {"ballast": {"vars": names | local, "children": tiers}}


@pytest.fixture(scope="module")
def root() -> Path:
    made = subprocess.run([CHECKERS], stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    subprocess.run(
        ["sh", "-ec", MAKE_CERTIFICATE],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module", params=[1, 2, 3])
def rendered(request: pytest.FixtureRequest, root: Path, certificate: Path) -> Iterator[Rendered]:
    size: int = request.param
    with tempfile.TemporaryDirectory(dir=root / "tmp", prefix="render-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        own = folder / "inventory"
        (own / "secrets").mkdir(parents=True)
        for name in ("redis_check", "redis_web"):
            (own / "secrets" / name).write_text("a-secret")
        shutil.copytree(certificate, own / "secrets/pki/edge")
        (own / "group_vars").symlink_to(TREE / "playbooks/group_vars")
        (own / "hosts.yml").write_text(yaml.safe_dump(inventory(size)))
        values = {
            "render_to": str(folder),
            "render_roles": str(TREE / "roles"),
            # As on virtual machines, but for one size.
            "render_in_container": size == 1,
        }
        render(str(own / "hosts.yml"), str(Path(__file__).with_name("render.yml")), values)
        # The two files that the configurations name and the checkers open.
        pem = folder / "edge.pem"
        pem.write_text((certificate / "edge.crt").read_text() + (certificate / "edge.key").read_text())
        script = folder / "check_http"
        shutil.copy(TREE / "roles/keepalived/files/check_http", script)
        script.chmod(0o755)
        for i in range(1, size + 1):
            for file, there, here in [
                ("haproxy.cfg", "/etc/haproxy/edge.pem", pem),
                ("keepalived.conf", "/etc/keepalived/check_http", script),
            ]:
                path = folder / f"lb{i}.{file}"
                text = path.read_text()
                assert there in text
                path.write_text(text.replace(there, f"/{here.relative_to(root)}"))
        yield Rendered(size, root, folder)


def hosts(tier: str, size: int) -> list[str]:
    return [f"{tier}{i}" for i in range(1, size + 1)]


def test_haproxy_accepts_its_configuration(rendered: Rendered) -> None:
    for host in hosts("lb", rendered.size):
        rendered.check("haproxy", "-c", "-f", rendered.inside(host, "haproxy.cfg"))


def test_nginx_accepts_its_configuration(rendered: Rendered) -> None:
    for host in hosts("web", rendered.size):
        rendered.check("nginx", "-t", "-c", rendered.inside(host, "nginx.conf"))


def test_keepalived_accepts_its_configuration(rendered: Rendered) -> None:
    for host in hosts("lb", rendered.size):
        rendered.check("keepalived", "--config-test", "--use-file", rendered.inside(host, "keepalived.conf"))


def test_a_broken_configuration_is_refused(rendered: Rendered) -> None:
    """The checkers do judge: one wrong word each, and they say no."""
    for host, name, right, command in [
        ("lb1", "haproxy.cfg", "balance leastconn", ["haproxy", "-c", "-f"]),
        ("web1", "nginx.conf", "least_conn;", ["nginx", "-t", "-c"]),
        ("lb1", "keepalived.conf", "virtual_ipaddress {", ["keepalived", "--config-test", "--use-file"]),
    ]:
        text = rendered.text(host, name)
        assert right in text
        (rendered.folder / f"broken.{name}").write_text(text.replace(right, f"no_{right}"))
        with pytest.raises(AssertionError):
            rendered.check(*command, rendered.inside("broken", name))


def test_every_backend_has_every_host_of_its_tier(rendered: Rendered) -> None:
    sections = re.split(r"\n(?=frontend |backend |defaults )", rendered.text("lb1", "haproxy.cfg"))
    servers = {
        section.split()[1]: re.findall(r"^    server (\S+)", section, re.MULTILINE)
        for section in sections
        # A limit's only counts.
        if section.startswith("backend ") and not section.startswith("backend limit_")
    }
    assert servers == {
        "web": hosts("web", rendered.size),
        "postgresql_write": hosts("db", rendered.size),
        "postgresql_read": hosts("db", rendered.size),
        "postgresql_stale": hosts("db", rendered.size),
        "redis_primary": hosts("cache", rendered.size),
        "rabbitmq_any": hosts("queue", rendered.size),
    }
    api = [f"127.0.3.{i}" for i in range(1, rendered.size + 1)]
    for upstream, port in [("api_web", 8000), ("api_wait", 8001)]:
        found = re.search(
            rf"upstream {upstream} {{(.*?)\n    }}", rendered.text("web1", "nginx.conf"), re.DOTALL
        )
        assert found
        assert re.findall(r"server (\S+) ", found[1]) == [f"{address}:{port}" for address in api]


def test_haproxy_binds_only_the_vips_and_its_own_address(rendered: Rendered) -> None:
    for i, host in enumerate(hosts("lb", rendered.size), start=1):
        bound = re.findall(r"^    bind (\S+):(\d+)", rendered.text(host, "haproxy.cfg"), re.MULTILINE)
        assert sorted(bound) == sorted(
            [(VIP_EDGE, "80"), (VIP_EDGE, "443"), (f"127.0.1.{i}", "8404")]
            + [(VIP_DATA, port) for port in ("5432", "5433", "6379", "5672")]
        )


def test_each_vip_has_one_home_and_the_two_differ(rendered: Rendered) -> None:
    priorities: dict[str, dict[str, int]] = {"edge": {}, "data": {}}
    for host in hosts("lb", rendered.size):
        for name, body in re.findall(
            r"vrrp_instance (\w+) {(.*?)\n}", rendered.text(host, "keepalived.conf"), re.DOTALL
        ):
            found = re.search(r"priority (\d+)", body)
            assert found
            priorities[name][host] = int(found[1])
    for of_hosts in priorities.values():
        assert len(set(of_hosts.values())) == rendered.size
        assert all(1 <= priority <= 254 for priority in of_hosts.values())
    homes = {name: max(of_hosts, key=lambda host: of_hosts[host]) for name, of_hosts in priorities.items()}
    assert homes == {"edge": "lb1", "data": f"lb{rendered.size}"}


def test_a_vip_is_never_a_host_s_first_address(rendered: Rendered) -> None:
    for host in hosts("lb", rendered.size):
        blocks = re.findall(r"virtual_ipaddress {(.*?)}", rendered.text(host, "keepalived.conf"), re.DOTALL)
        assert [block.strip() for block in blocks] == [f"{VIP_EDGE}/32", f"{VIP_DATA}/32"]


def test_no_frontend_takes_the_others_connections(rendered: Rendered) -> None:
    text = rendered.text("lb1", "haproxy.cfg")
    shares = re.findall(r"^frontend (\w+)\n    maxconn (\d+)$", text, re.MULTILINE)
    assert [name for name, _ in shares] == re.findall(r"^frontend (\w+)$", text, re.MULTILINE)
    found = re.search(r"^global\n.*?^    maxconn (\d+)$", text, re.MULTILINE | re.DOTALL)
    assert found
    assert sum(int(share) for _, share in shares) <= int(found[1])


def test_peers_are_all_the_other_hosts(rendered: Rendered) -> None:
    for i, host in enumerate(hosts("lb", rendered.size), start=1):
        text = rendered.text(host, "keepalived.conf")
        peers = [f"127.0.1.{other}" for other in range(1, rendered.size + 1) if other != i]
        blocks = re.findall(r"unicast_peer {(.*?)}", text, re.DOTALL)
        assert [block.split() for block in blocks] == ([peers, peers] if peers else [])


def test_a_container_tracks_no_process(rendered: Rendered) -> None:
    assert ("track_process" in rendered.text("lb1", "keepalived.conf")) == (rendered.size > 1)
