"""ballast seed: the same users with the same messages, every time, at the ids below users that sign up."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

# Sign-ups and new messages start above (migration 0001), so that seeded ids are free.
MAX_USERS = 100_000
MAX_MESSAGES = 100

# '!' is no hash: nobody can have a token by a password that is known from this file.
_USERS = """
INSERT INTO users (id, username, name, password, created_at)
SELECT k, 'user' || lpad(k::text, 5, '0'), 'User ' || k, '!',
       timestamptz '2026-01-01 00:00:00+00' + k * interval '1 second'
FROM generate_series(1, %(users)s) AS k
ON CONFLICT DO NOTHING
"""
_MESSAGES = """
INSERT INTO messages (id, user_id, text, created_at)
SELECT (u.id - 1) * %(most)s + m, u.id, 'Message ' || m || ' of ' || u.username,
       timestamptz '2026-01-02 00:00:00+00' + u.id * interval '1 second' + m * interval '1 minute'
FROM users AS u CROSS JOIN generate_series(1, %(messages)s) AS m
WHERE u.id <= %(users)s
ON CONFLICT DO NOTHING
"""


class Command(BaseCommand):
    help = "Make sure that users user00001... exist, each with some messages. Their passwords are unusable."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--users", type=int, default=10_000, help=f"How many, up to {MAX_USERS:,}.")
        parser.add_argument("--messages", type=int, default=3, help=f"For each, up to {MAX_MESSAGES}.")

    def handle(self, *args: Any, **options: Any) -> None:
        users, messages = options["users"], options["messages"]
        if not 0 <= users <= MAX_USERS:
            raise CommandError(f"--users must be from 0 to {MAX_USERS}, not {users}.")
        if not 0 <= messages <= MAX_MESSAGES:
            raise CommandError(f"--messages must be from 0 to {MAX_MESSAGES}, not {messages}.")
        values = {"users": users, "messages": messages, "most": MAX_MESSAGES}
        with connections["default"].cursor() as cursor:
            cursor.execute(_USERS, values)
            new_users = cursor.rowcount
            cursor.execute(_MESSAGES, values)
            new_messages = cursor.rowcount
        self.stdout.write(f"{new_users} users and {new_messages} messages added")
