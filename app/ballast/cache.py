"""Users in Redis, finished to be sent; versioned, so that an old value can never replace a newer one.

The entry of a user is one plain string, `user:<id>`, which any program may read (README.md says how):

    <version>\\n<JSON body>     the user as GET /api/v1/users/<id> answers, with ETag "<version>"
    <version>\\n               a tombstone: the user changed; what is older than this version is out of date

Four rules keep what is read here true, whatever the order of readers, writers, replica lag and loss of data:

- A writer leaves a tombstone after its commit, and takes the lease away.
- Only the holder of a user's lease may store what it read. A lease is granted to one reader at a time, on a miss;
  it does not survive a write, a flush, or a failover of Redis. So nobody stores what was read before any of these.
- Entries count only while somebody vouches (changes.py) that Redis has heard of every change that was committed
  before a certain position in the WAL.
- A row from a replica counts only if the replica is at that position, and the row as new as the tombstone.
"""

import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from django.conf import settings
from django_redis import get_redis_connection
from redis import Redis
from redis.exceptions import RedisError

from ballast import metrics
from ballast.breaker import Breaker

logger = logging.getLogger(__name__)

# Seconds. Less than Sentinel takes to promote a replica (its down-after-milliseconds): neither a lease nor a vouch of
# the old primary is still good on the new one.
LEASE = 0.9
VOUCHED_FOR = 0.9
# How long the other readers of a missing entry wait for the one that fills it, before they read themselves.
FILL_PATIENCE = 0.25
FILL_POLL = 0.01
# The position, in bytes of WAL. Without this key nothing in Redis is to be relied on.
VOUCHED = "users:vouched"
# How long a replica may take to acknowledge (milliseconds). Redis looks at its clock ten times a second, and the
# client waits for 300 ms.
REPLICA_PATIENCE = 100
# What a worker writes to see whether this Redis still has its replicas.
PULSE = "users:pulse"

# What both scripts below do to a user: puts a tombstone in the place of anything older, and ends its lease.
_BURY = """
local function bury(user, lease, version, ttl)
  redis.call('DEL', lease)
  local value = redis.call('GET', user)
  if value and tonumber(version) <= tonumber(string.match(value, '^%d+')) then return end
  redis.call('SET', user, version .. '\\n', 'EX', ttl)
end
"""

# KEYS: mark [, user, lease]   ARGV: ttl, position [, version]
_CHANGED = f"""{_BURY}
local known = redis.call('GET', KEYS[1])
if not known or tonumber(known) < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[1]) end
if KEYS[2] then bury(KEYS[2], KEYS[3], ARGV[3], ARGV[1]) end
"""

# KEYS: pulse, {user, lease}...   ARGV: ttl, position, {version}...
_DELIVER = f"""{_BURY}
for i = 2, #KEYS, 2 do bury(KEYS[i], KEYS[i + 1], ARGV[i / 2 + 2], ARGV[1]) end
redis.call('SET', KEYS[1], ARGV[2])
"""

# KEYS: vouched   ARGV: position, when the vouch ends
_VOUCH = """
local time = redis.call('TIME')
if tonumber(ARGV[2]) > time[1] * 1000 + time[2] / 1000 then redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2]) end
"""

# KEYS: user, lease   ARGV: token, version, body, ttl
_FILL = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local value = redis.call('GET', KEYS[1])
if value and tonumber(ARGV[2]) < tonumber(string.match(value, '^%d+')) then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. '\\n' .. ARGV[3], 'EX', ARGV[4])
return 1
"""

breaker = Breaker(pause=1.0)
_scripts: dict[str, Any] = {}


class CacheDown(Exception):
    """Redis did not answer, or did a moment ago, or what it holds cannot be relied on."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache knows of a user. 'bypass' means that Redis could not be asked, or not be relied on."""

    outcome: Literal["hit", "miss", "bypass"]
    version: int = 0  # of the body, or of the tombstone: rows below are out of date
    body: bytes = b""
    lease: str = ""  # what fill_user wants; empty if another reader has it
    position: int = 0  # where in the WAL a replica has to be at least


def lua(source: str) -> Any:
    if source not in _scripts:
        _scripts[source] = cast("Redis", get_redis_connection("default")).register_script(source)
    return _scripts[source]


def ask[T](question: Callable[["Redis"], T]) -> T:
    """Ask Redis through the breaker."""
    if not breaker.allows():
        raise CacheDown
    try:
        answer = question(cast("Redis", get_redis_connection("default")))
    except RedisError as error:
        breaker.failed()
        logger.warning("Redis is unavailable: %s", error)
        raise CacheDown from error
    breaker.succeeded()
    return answer


def _replicated(redis: "Redis", script: str, keys: list[str], args: list[Any]) -> bool:
    """Run a script that writes. True if enough replicas have what it wrote, too."""
    with redis.pipeline(transaction=False) as pipeline:  # WAIT is about its own connection's writes
        lua(script)(keys=keys, args=args, client=pipeline)
        pipeline.wait(settings.REDIS_REPLICAS, REPLICA_PATIENCE)
        return bool(pipeline.execute()[1] >= settings.REDIS_REPLICAS)


def user_key(user_id: int) -> str:
    return f"user:{user_id}"


def lease_key(user_id: int) -> str:
    return f"user:{user_id}:fill"


def read_user(user_id: int) -> Found:
    """The cached user. On a miss one reader is let through at once; the others wait briefly for its fill."""
    try:
        found = _read_user(user_id)
    except CacheDown:
        found = Found("bypass")
    metrics.cache_reads.labels(found.outcome).inc()
    return found


def _read_user(user_id: int) -> Found:
    key, lease = user_key(user_id), lease_key(user_id)
    deadline = 0.0
    while True:
        value, vouched = ask(lambda redis: cast("list[bytes | None]", redis.mget(key, VOUCHED)))
        if vouched is None:
            return Found("bypass")
        version, _, body = (value or b"0\n").partition(b"\n")
        if body:
            return Found("hit", int(version), body)
        token = secrets.token_hex(8)
        won = ask(lambda redis: redis.set(lease, token, nx=True, px=int(LEASE * 1000)))  # noqa: B023 - asked at once
        deadline = deadline or time.monotonic() + FILL_PATIENCE
        if won or time.monotonic() > deadline:
            return Found("miss", int(version), b"", token if won else "", int(vouched))
        time.sleep(FILL_POLL)


def fill_user(user_id: int, version: int, body: bytes, lease: str) -> bool:
    """Store a user that was read from a database under this lease. False if the lease has ended since."""
    lifetime = max(1, round(settings.CACHE_TTL * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads expiries
    keys = [user_key(user_id), lease_key(user_id)]
    try:
        return bool(ask(lambda redis: lua(_FILL)(keys=keys, args=[lease, version, body, lifetime], client=redis)))
    except CacheDown:
        return False


def changed(what: str, position: int, *, user_id: int | None = None, version: int = 0) -> None:
    """After a commit at this position of the WAL: reads of `what`, and of the user, have to see it.

    A change of a user reaches Redis in the end even if this fails (changes.py). Until then others may find what is in
    Redis vouched for, so the writer gets its answer when such a vouch has ended.
    """
    keys, args = [f"written:{what}"], [settings.CACHE_TOMBSTONE_TTL, position]
    if user_id is not None:
        keys += [user_key(user_id), lease_key(user_id)]
        args += [version]

    def tell(redis: "Redis") -> bool:
        try:
            return _replicated(redis, _CHANGED, keys, args)
        except RedisError:  # perhaps only a connection that had gone stale in the pool
            return _replicated(redis, _CHANGED, keys, args)

    try:
        heard = ask(tell)
    except CacheDown:
        heard = False
    if not heard:
        logger.warning("Redis did not surely hear of a change of %s", what)
        time.sleep(VOUCHED_FOR)


def last_write(*what: str) -> int:
    """Where in the WAL a replica has to be to read all this. Raises CacheDown if that is not known."""
    keys = [VOUCHED, *(f"written:{each}" for each in what)]
    vouched, *marks = ask(lambda redis: cast("list[bytes | None]", redis.mget(keys)))
    if vouched is None:
        raise CacheDown
    return max(int(vouched), *(int(mark or 0) for mark in marks))


def vouch_until() -> int:
    """When a vouch has to end that rests on what is asked after this call: milliseconds, by Redis's clock.

    Raises CacheDown.
    """
    seconds, micros = ask(lambda redis: redis.time())
    return seconds * 1000 + micros // 1000 + int(VOUCHED_FOR * 1000)


def deliver(changes: list[tuple[int, int]], position: int, until: int) -> bool:
    """Bury these users (id, version), then vouch for the rest, unless `until` is 0. False if too few replicas have it.

    A primary that was cut off from its replicas gets no vouch: another one may have been promoted, and take the writes.
    Raises CacheDown.
    """
    if not _reaches_replicas(changes, position):
        return False
    if until:
        ask(lambda redis: lua(_VOUCH)(keys=[VOUCHED], args=[position, until], client=redis))
    return True


def _reaches_replicas(changes: list[tuple[int, int]], position: int) -> bool:
    keys, args = [PULSE], [settings.CACHE_TOMBSTONE_TTL, position]
    for user_id, version in changes:
        keys += [user_key(user_id), lease_key(user_id)]
        args += [version]
    return ask(lambda redis: _replicated(redis, _DELIVER, keys, args))


def vouch_again() -> None:
    """Prolong a vouch that still holds. Raises CacheDown."""
    if _reaches_replicas([], 0):
        ask(lambda redis: redis.pexpire(VOUCHED, int(VOUCHED_FOR * 1000)))
