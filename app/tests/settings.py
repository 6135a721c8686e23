"""The application's settings, beside what a running service on the same hosts uses."""

import os

# Type checks and the like need settings, but no service.
for _name in ("SECRET_KEY", "DATABASE_PASSWORD", "AMQP_PASSWORD"):
    if f"BALLAST_{_name}_FILE" not in os.environ:
        os.environ.setdefault(f"BALLAST_{_name}", "not-set-for-the-tests-" + "x" * 32)
os.environ["BALLAST_SERVICE"] = "web"
os.environ["BALLAST_QUEUE"] = "ballast_test"
os.environ["BALLAST_REDIS_CACHE_DB"] = "14"
os.environ["BALLAST_DRAIN_FILE"] = "/tmp/ballast-test-drain"
os.environ["BALLAST_SIGNUP_RATE"] = "0"
os.environ["BALLAST_TOKEN_RATE"] = "0"
os.environ["BALLAST_TRUSTED_PROXIES"] = "127.0.0.1,10.0.0.0/8"
os.environ["BALLAST_ALLOWED_HOSTS"] = "localhost,127.0.0.1,testserver"

from ballast.settings import *  # noqa: E402, F403
