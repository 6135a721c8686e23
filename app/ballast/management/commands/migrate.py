"""ballast migrate: Django's, made safe to run against a database that serves.

One at a time, and never waiting long for a lock: a migration that queues behind a long transaction would make
every later query queue behind it.
"""

import time
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import OperationalError, connections

LOCK_TIMEOUT = "2s"
TRIES = 10
_LOCK = 0x6D696772  # pg_advisory_lock's number for 'one migration at a time'
LOCK_NOT_AVAILABLE = "55P03"


class Command(DjangoMigrate):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    super().handle(*args, **options)
                    return
                except OperationalError as error:
                    if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                        raise
                    self.stderr.write(f"A table is in use (attempt {attempt} of {TRIES}); trying again.")
                    time.sleep(attempt)
            raise CommandError("The tables were in use all the time. Look for long transactions.")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
