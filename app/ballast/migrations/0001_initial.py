import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="LoadQuery",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("n", models.SmallIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=7,
                    ),
                ),
                ("result", models.IntegerField(null=True)),
                ("error", models.CharField(blank=True, max_length=200)),
                ("attempts", models.SmallIntegerField(default=0)),
                ("caller", models.CharField(max_length=60)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("published_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "load_queries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ("queued", "running"))),
                        fields=["published_at"],
                        name="load_queries_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("caller", "idempotency_key"),
                        name="load_queries_once_per_key",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("username", models.CharField(max_length=30)),
                ("name", models.CharField(blank=True, max_length=100)),
                ("password", models.CharField(max_length=200)),
                ("is_staff", models.BooleanField(db_default=False, default=False)),
                ("version", models.BigIntegerField(db_default=1, default=1)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "db_table": "users",
                "constraints": [models.UniqueConstraint(fields=("username",), name="users_username")],
            },
        ),
        migrations.CreateModel(
            name="Token",
            fields=[
                ("digest", models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        related_name="tokens",
                        to="ballast.user",
                    ),
                ),
            ],
            options={
                "db_table": "tokens",
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("text", models.CharField(max_length=2000)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        related_name="messages",
                        to="ballast.user",
                    ),
                ),
            ],
            options={
                "db_table": "messages",
                "indexes": [models.Index(fields=["user", "id"], name="messages_of_user")],
            },
        ),
        # Ids below are the seed's: user00001 is user 1 wherever it is seeded.
        migrations.RunSQL(
            "ALTER TABLE users ALTER COLUMN id RESTART WITH 100001;"
            "ALTER TABLE messages ALTER COLUMN id RESTART WITH 10000001;",
            migrations.RunSQL.noop,
        ),
    ]
