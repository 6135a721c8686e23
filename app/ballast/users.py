"""Users as readers see them: finished bodies, from Redis or from the database that is up to date."""

import json
from dataclasses import dataclass

from ballast import cache
from ballast.models import User
from ballast.routers import current, reads_replica


@dataclass(frozen=True, slots=True)
class Shown:
    """A user as the API shows it. The outcome is the cache's: hit, miss or bypass."""

    version: int
    body: bytes
    outcome: str


def body_of(user: User) -> bytes:
    """The user as the API shows it, finished to be sent and cached."""
    return json.dumps(
        {
            "id": user.pk,
            "username": user.username,
            "name": user.name,
            "created_at": user.created_at.isoformat().replace("+00:00", "Z"),
        },
        ensure_ascii=False,
    ).encode()


def read(user_id: int) -> Shown | None:
    """A user as of the last acknowledged write; None if there is none."""
    found = cache.read_user(user_id)
    if found.outcome == "hit":
        return Shown(found.version, found.body, found.outcome)
    user = fetch(user_id, found)
    if user is None:
        return None
    body = body_of(user)
    if found.lease:
        cache.fill_user(user.pk, user.version, body, found.lease)
    return Shown(user.version, body, found.outcome)


def fetch(user_id: int, found: cache.Found) -> User | None:
    """The row of a user that was not in the cache: from a replica if that is up to date, or else from the primary."""
    row = User.objects.filter(pk=user_id)
    if found.outcome == "miss" and reads_replica(found.position):
        user = row.filter(version__gte=found.version).first()
        if user:
            return user
    # Not there, or not yet: a replica that has all that was written to users knows, and the primary does.
    with current("users"):
        user = row.first()
    if user and user.version < found.version:
        user = row.using("default").first()
    return user


def etag(version: int) -> str:
    return f'"{version}"'


def etag_matches(header: str, version: int, *, weak: bool) -> bool:
    """True if an If-None-Match (weak) or If-Match (strong) header names this version or '*'."""
    tags = [tag.strip() for tag in header.split(",")]
    if weak:
        tags = [tag.removeprefix("W/") for tag in tags]
    return "*" in tags or etag(version) in tags
