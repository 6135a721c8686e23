"""A certificate for the edge that does not fit is refused before anything changes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import lab

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: haproxy, tasks_from: certificate}
"""


def make(*, days: int) -> tuple[str, str]:
    """A certificate that is good for so many days from yesterday on, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(pem).decode(), private.decode()


@pytest.fixture(scope="module")
def pems() -> dict[str, str]:
    good, key = make(days=30)
    old, old_key = make(days=1)
    _, other_key = make(days=30)
    return {
        "that fits": good + key,
        "whose key comes first": key + good,
        "of another key": good + other_key,
        "that has expired": old + old_key,
        "without a key": good,
        "that is none": "not a certificate",
    }


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("that fits", None),
        ("whose key comes first", None),
        ("of another key", "and its private key do not belong together"),
        ("that has expired", "has expired, on "),
        ("without a key", "holds no private key that can be read"),
        ("that is none", "holds no certificate that can be read"),
    ],
)
def test_a_certificate(which: str, sentence: str | None, pems: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "vars.json").write_text(json.dumps({"haproxy_edge_certificate": pems[which]}))
    done = lab.tool(
        "ansible-playbook",
        "--inventory=localhost,",
        f"--extra-vars=@{tmp_path / 'vars.json'}",
        str(tmp_path / "play.yml"),
        environment={"ANSIBLE_ROLES_PATH": str(lab.ROOT / "roles")},
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) == (sentence is None), said
    if sentence:
        assert f"haproxy_edge_certificate {sentence}" in said
        assert "Nothing was changed." in said
    assert "PRIVATE KEY" not in said
