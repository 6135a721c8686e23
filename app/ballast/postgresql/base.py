"""Django's PostgreSQL backend with our pool, and a circuit breaker: while nobody answers, requests fail at once.

Without it every request that writes would hold its thread until the time-out of a connect, as long as an outage lasts,
and those that need no database, or only a replica, would find no thread left.
"""

import time
from collections import defaultdict
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import OperationalError

from ballast.breaker import Breaker
from ballast.postgresql.pool import Connection, Pool

# Seconds between two tries to reach an address that did not answer.
PAUSE = 0.5
# A try that failed within this time (seconds) cost nothing, so the next request may try, too: it finds a new primary as
# soon as there is one.
QUICK = 0.1

breakers: dict[str, Breaker] = defaultdict(lambda: Breaker(PAUSE))


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> Pool | None:
        if self.alias == NO_DB_ALIAS or not self.settings_dict["OPTIONS"].get("pool"):
            return None
        pools: dict[str, Pool] = self._connection_pools  # type: ignore[attr-defined]
        if self.alias not in pools:
            parameters = {**self.get_connection_params(), "autocommit": True}  # as Django does; it sets what it wants

            def connect() -> Connection:
                connection = Connection.connect(**parameters)
                self._configure_connection(connection)  # type: ignore[attr-defined]
                return connection

            pools.setdefault(self.alias, Pool(connect))
        return pools[self.alias]

    def get_new_connection(self, conn_params: Any) -> Any:
        breaker = breakers[self.alias]
        if not breaker.allows():
            raise OperationalError("the database did not answer a moment ago")
        started = time.monotonic()
        try:
            connection = super().get_new_connection(conn_params)
        except OperationalError:
            if time.monotonic() - started > QUICK:
                breaker.failed()
            else:
                breaker.succeeded()
            raise
        breaker.succeeded()
        return connection
