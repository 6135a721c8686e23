"""How many requests a minute one address may make, counted in Redis over all hosts. Without Redis nobody counts."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from ballast import cache
from ballast.client import client_address

if TYPE_CHECKING:  # at run time this would be a circle: DRF's views load these classes
    from rest_framework.views import APIView

# KEYS: counter   ARGV: milliseconds of the window
_HIT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


def count_hit(name: str, window: float) -> tuple[int, float]:
    """Count an event; how many there were in this window, and the seconds that are left of it.

    Shared by all processes. Raises cache.CacheDown.
    """
    count, left = cache.ask(
        lambda redis: cache.lua(_HIT)(keys=[f"rate:{name}"], args=[int(window * 1000)], client=redis)
    )
    return int(count), max(0, int(left)) / 1000


class AddressThrottle(BaseThrottle):
    """At most so many requests a minute from one address, over all API hosts. Without Redis: no limit."""

    WINDOW = 60.0
    name: str
    setting: str

    def __init__(self) -> None:
        self._left = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        limit: int = getattr(settings, self.setting)
        if request.method != "POST" or not limit:
            return True
        try:
            count, self._left = count_hit(f"{self.name}:{client_address(request._request)}", self.WINDOW)
        except cache.CacheDown:
            return True
        return count <= limit

    def wait(self) -> float | None:
        return self._left


class SignupThrottle(AddressThrottle):
    name, setting = "signup", "SIGNUP_RATE"


class TokenThrottle(AddressThrottle):
    name, setting = "token", "TOKEN_RATE"
