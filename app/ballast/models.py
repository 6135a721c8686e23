"""The tables."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class User(models.Model):
    """Somebody who signed up. `version` grows with every change: it orders cache entries and is the ETag."""

    username = models.CharField(max_length=30)
    name = models.CharField(max_length=100, blank=True)
    password = models.CharField(max_length=200)
    is_staff = models.BooleanField(default=False, db_default=False)
    version = models.BigIntegerField(default=1, db_default=1)
    created_at = models.DateTimeField(db_default=Now())

    is_authenticated = True  # what DRF asks of a request's user

    class Meta:
        db_table = "users"
        # Not unique=True: that would add a second index, for LIKE, which nothing uses.
        constraints = [models.UniqueConstraint(fields=["username"], name="users_username")]

    def __str__(self) -> str:
        return self.username


class UserChange(models.Model):
    """A user that was changed or deleted, for as long as Redis may not have heard of it."""

    user_id = models.BigIntegerField()  # no foreign key: the user may be gone
    version = models.BigIntegerField()

    class Meta:
        db_table = "user_changes"

    def __str__(self) -> str:
        return f"user {self.user_id} changed to version {self.version}"


class Token(models.Model):
    """A bearer token. Only its SHA-256 is kept: the token itself is 256 random bits, nothing to guess."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.DB_CASCADE, related_name="tokens")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "tokens"

    def __str__(self) -> str:
        return f"token of user {self.user_id}"


class Message(models.Model):
    user = models.ForeignKey(User, on_delete=models.DB_CASCADE, related_name="messages", db_index=False)
    text = models.CharField(max_length=2000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "messages"
        indexes = [models.Index(fields=["user", "id"], name="messages_of_user")]

    def __str__(self) -> str:
        return f"message {self.pk} of user {self.user_id}"


class LoadQuery(models.Model):
    """A calculation that was accepted. The row is the truth; the message in RabbitMQ only says 'look here'."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    OPEN = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)  # the task's id, too
    n = models.SmallIntegerField()
    state = models.CharField(max_length=7, choices=State, default=State.QUEUED)
    result = models.IntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)
    attempts = models.SmallIntegerField(default=0)
    caller = models.CharField(max_length=60)
    idempotency_key = models.CharField(max_length=255, null=True)  # null: outside the unique index
    created_at = models.DateTimeField(db_default=Now())
    published_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "load_queries"
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "idempotency_key"],
                name="load_queries_once_per_key",
                condition=Q(idempotency_key__isnull=False),
            ),
        ]
        indexes = [
            # The backlog and the sweeper look at open rows only, of which there are few.
            models.Index(
                fields=["published_at"],
                name="load_queries_open",
                condition=Q(state__in=("queued", "running")),
            ),
        ]

    def __str__(self) -> str:
        return f"load query {self.pk}: fib({self.n}), {self.state}"

    @property
    def finished(self) -> bool:
        return self.state not in self.OPEN
