"""All settings, from the environment. README.md lists every variable with its meaning."""

from typing import Any
from urllib.parse import quote

from redis.backoff import NoBackoff
from redis.retry import Retry

from ballast import env

# Which of the processes this is; the entry points (wsgi, asgi, celery, manage) say so.
SERVICE = env.text("SERVICE", "command", choices=("web", "wait", "worker", "command"))

SECRET_KEY = env.secret("SECRET_KEY", min_length=32)
ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", "localhost,127.0.0.1")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES", "127.0.0.1")
DRAIN_FILE = env.text("DRAIN_FILE", "/run/ballast/drain")
DEBUG = False

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "ballast",
]
MIDDLEWARE = ["ballast.middleware.RequestMiddleware"]
if SERVICE != "wait":
    MIDDLEWARE += [
        "django.middleware.security.SecurityMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "ballast.middleware.RetryMiddleware",
    ]
ROOT_URLCONF = "ballast.urls_wait" if SERVICE == "wait" else "ballast.urls"
WSGI_APPLICATION = "ballast.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
# Bytes of a request body; the largest valid one is a message of 2,000 characters, escaped. The edge has the same limit.
MAX_BODY = 32 * 1024
SILENCED_SYSTEM_CHECKS = [
    "security.W003",  # no CSRF: there are no cookies and no sessions, a token is sent on purpose
    "security.W004",  # HSTS and the redirect to https are HAProxy's, where TLS ends
    "security.W008",
]

# --- Static files: the docs page's scripts, served by the process itself out of the installed packages.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 3600

# --- PostgreSQL: two addresses that never change; the balancer behind them knows who leads.
THREADS = env.integer("THREADS", 8, low=1, high=256)  # of one web process
WAIT_THREADS = env.integer("WAIT_THREADS", 4, low=1, high=64)  # of one wait process, for its writes
_THREADS_HERE = {"web": THREADS, "wait": WAIT_THREADS}.get(SERVICE, 0)
# Write transactions at a time in one such process. The rest of its threads is for what does not wait for a commit.
MAX_WRITES = max(1, _THREADS_HERE // 2)
# Seconds to wait for the answer to a statement, and for a whole write transaction: its commit waits for a replica, for
# ever if there is none. TCP notices a primary that vanished in 3 s, so a switchover or a failover breaks the connection
# before.
DATABASE_PATIENCE = env.number("DATABASE_PATIENCE", 5, low=0.1, high=60)


def _database(port: int, **options: Any) -> dict[str, Any]:
    return {
        "ENGINE": "ballast.postgresql",
        "HOST": env.text("DATABASE_HOST", "127.0.0.1"),
        "PORT": port,
        "NAME": env.text("DATABASE_NAME", "ballast"),
        "USER": env.text("DATABASE_USER", "ballast"),
        "PASSWORD": env.secret("DATABASE_PASSWORD"),
        # Without a pool (worker, commands) a connection is kept as long as it answers.
        "CONN_MAX_AGE": 0 if _THREADS_HERE else None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 2,
            "application_name": f"ballast-{SERVICE}",
            "sslmode": env.text(
                "DATABASE_SSLMODE",
                "prefer",
                choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
            ),
            # A host that vanished is noticed in seconds, idle or in the middle of a query.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 3000,
            "pool": bool(_THREADS_HERE),
            # Values travel beside the statement, so that no log of PostgreSQL's shows a password's hash with it.
            "server_side_binding": True,
            **options,
        },
    }


DATABASES = {
    "default": _database(
        env.integer("DATABASE_WRITE_PORT", 5432, low=1, high=65535), target_session_attrs="read-write"
    ),
    "replica": {
        **_database(env.integer("DATABASE_READ_PORT", 5433, low=1, high=65535)),
        "TEST": {"MIRROR": "default"},
    },
}
DATABASE_ROUTERS = ["ballast.routers.ReplicaRouter"]

# --- Redis: finished users and counters; nothing that cannot be made again.
_REDIS = "redis://{user}:{password}@{host}:{port}".format(
    host=env.text("REDIS_HOST", "127.0.0.1"),
    port=env.integer("REDIS_PORT", 6379, low=1, high=65535),
    user=quote(env.text("REDIS_USERNAME", "default"), safe=""),
    password=quote(env.secret("REDIS_PASSWORD", ""), safe=""),
)
CACHE_TTL = env.integer("CACHE_TTL", 300, low=1, high=86400)
# A tombstone has to outlive the vouches and leases that were given before it, by far: see cache.py.
CACHE_TOMBSTONE_TTL = env.integer("CACHE_TOMBSTONE_TTL", 60, low=1, high=86400)
# Replicas of Redis that must have heard of a change before its record is forgotten.
REDIS_REPLICAS = env.integer("REDIS_REPLICAS", 0, low=0, high=10)
CACHE_URL = f"{_REDIS}/{env.integer('REDIS_CACHE_DB', 0, low=0, high=15)}"
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 0.2,
            "SOCKET_TIMEOUT": 0.3,
            "CONNECTION_POOL_KWARGS": {
                "max_connections": THREADS + 8,
                # The breaker decides; retries in the client would only multiply the waiting.
                "retry": Retry(NoBackoff(), 0),
            },
        },
    }
}

# --- RabbitMQ and Celery.
QUEUE = env.text("QUEUE", "load_queries")
AMQP_HOST = env.text("AMQP_HOST", "127.0.0.1")
AMQP_PORT = env.integer("AMQP_PORT", 5672, low=1, high=65535)
CELERY_BROKER_URL = "amqp://{user}:{password}@{host}:{port}/{vhost}".format(
    host=AMQP_HOST,
    port=AMQP_PORT,
    user=quote(env.text("AMQP_USERNAME", "ballast"), safe=""),
    password=quote(env.secret("AMQP_PASSWORD"), safe=""),
    vhost=quote(env.text("AMQP_VHOST", "/"), safe=""),
)

# Where a worker serves its metrics; unset: nowhere.
WORKER_METRICS = env.address("WORKER_METRICS")

# --- Load queries.
LOAD_QUERY_MAX_N = env.integer("LOAD_QUERY_MAX_N", 42, low=0, high=45)
# Queued rows past which new ones are refused.
LOAD_QUERY_BACKLOG = env.integer("LOAD_QUERY_BACKLOG", 1000, low=1, high=1_000_000)
# Seconds that GET /load-query/{n} waits before it answers 202.
LOAD_QUERY_WAIT = env.number("LOAD_QUERY_WAIT", 10, low=0, high=60)
# How old a row is at least before it counts as lost, and how often a worker looks for lost ones.
SWEEP_AFTER = env.number("SWEEP_AFTER", 3, low=0, high=3600)
SWEEP_EVERY = env.number("SWEEP_EVERY", 2, low=0.5, high=3600)
LONG_QUERY_MAX = env.number("LONG_QUERY_MAX", 60, low=0, high=60)
# Requests that one wait process holds at a time.
WAIT_LIMIT = env.integer("WAIT_LIMIT", 5000, low=1, high=100_000)

# --- Users.
PASSWORD_HASHERS = ["ballast.auth.Argon2idHasher"]
TOKEN_DAYS = env.integer("TOKEN_DAYS", 30, low=1, high=3650)
# Requests a minute from one client address; 0 does not limit.
SIGNUP_RATE = env.integer("SIGNUP_RATE", 30, low=0, high=1_000_000)
TOKEN_RATE = env.integer("TOKEN_RATE", 30, low=0, high=1_000_000)

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["ballast.problems.Parser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "ballast.problems.JSONOnly",
    "DEFAULT_AUTHENTICATION_CLASSES": ["ballast.auth.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_PAGINATION_CLASS": "ballast.pagination.Cursor",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ballast.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Ballast",
    "DESCRIPTION": "A web service that keeps standing when its machines do not.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {"LoadQueryState": "ballast.models.LoadQuery.State"},
    "PREPROCESSING_HOOKS": ["ballast.schema.only_the_api"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ballast.schema.bodies_are_needed",
        "ballast.schema.add_wait_service",
    ],
}

# --- Logs: one JSON object a line, on stdout.
_LEVEL = env.text("LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "ballast.logs.JSONFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["stdout"], "level": _LEVEL},
    "loggers": {
        # Django's own loggers have handlers of their own until told otherwise.
        "django": {"handlers": [], "level": _LEVEL, "propagate": True},
        "django.request": {"level": "ERROR"},
        "uvicorn": {"handlers": [], "level": "INFO", "propagate": True},
        # nginx logs every request.
        "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
        "psycopg.pool": {"level": "ERROR"},
    },
}
