"""SCRAM verifiers as PostgreSQL stores them."""

import base64
import hashlib
import hmac
from collections.abc import Callable

# PostgreSQL's own default (scram_iterations).
ITERATIONS = 4096


def scram_sha_256(password: str, user: str) -> str:
    """Return what PostgreSQL keeps in pg_authid for `password` (RFC 5803): the password itself never travels.

    The salt comes from the user's name and the password: the same input gives the same verifier, which
    can be compared. Only for passwords that SASLprep leaves alone; generated ones are.
    """
    if not (password and password.isascii() and password.isprintable()):
        raise ValueError(f"the password of {user} must be printable ASCII")
    salt = hashlib.sha256(f"{user}\0{password}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${stored64}:{server64}"


class FilterModule:
    """Ansible's way in."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Name the filters."""
        return {"scram_sha_256": scram_sha_256}
