"""Password hashes as RabbitMQ's definitions want them."""

import base64
import hashlib
from collections.abc import Callable


def rabbitmq_password_hash(password: str, user: str) -> str:
    """Return the salted SHA-256 of `password` (rabbit_password_hashing_sha256).

    The salt comes from the user's name and the password, so the same input gives the same file.
    """
    salt = hashlib.sha256(f"{user}\0{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


class FilterModule:
    """Ansible's way in."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Name the filters."""
        return {"rabbitmq_password_hash": rabbitmq_password_hash}
