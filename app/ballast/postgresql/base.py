"""Django's PostgreSQL backend with a circuit breaker: while nobody answers, requests fail at once.

Without it every request that writes would hold its thread until the pool's time-out, as long as an outage lasts, and
those that need no database, or only a replica, would find no thread left.
"""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import OperationalError

from ballast.breaker import Breaker

# Seconds between two tries to reach an address that did not answer.
PAUSE = 0.5

breakers: dict[str, Breaker] = {}


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: Any) -> Any:
        breaker = breakers.setdefault(self.alias, Breaker(PAUSE))
        if not breaker.allows():
            raise OperationalError("the database did not answer a moment ago")
        try:
            connection = super().get_new_connection(conn_params)
        except OperationalError:  # the pool's time-out is one, too
            breaker.failed()
            raise
        breaker.succeeded()
        return connection
