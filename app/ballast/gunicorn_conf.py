"""gunicorn's settings for the web service: gunicorn -c python:ballast.gunicorn_conf ballast.wsgi:application"""

from typing import Any

from gunicorn.glogging import Logger

from ballast import env, metrics


class NoAccessLog(Logger):  # type: ignore[misc]
    """nginx logs every request. With a logconfig_dict gunicorn would too, whatever `accesslog` says."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        pass


bind = env.text("WEB_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = env.integer("WEB_PROCESSES", 1, low=1, high=64)
threads = env.integer("THREADS", 8, low=1, high=256)
# nginx keeps its connections to us open for 30 s; we outlive that, so it never meets a closed one.
keepalive = 75
worker_connections = 1000
backlog = 1024
timeout = 30
# Requests in flight may finish after TERM. Drain before: gunicorn drops what waits in its accept queue.
graceful_timeout = 30
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file: a slow disk must not kill workers
# More than the edge lets through, so that it is the edge which says what is too large.
limit_request_line = 8190
limit_request_fields = 100
forwarded_allow_ips = ""
control_socket_disable = True
logger_class = NoAccessLog
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "ballast.logs.JSONFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": True},
    },
}


def child_exit(server: Any, worker: Any) -> None:
    metrics.forget_process(worker.pid)
