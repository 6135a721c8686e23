"""Celery's result backend. Results are a convenience: a load query's truth is its row in PostgreSQL."""

import logging
from typing import Any

from celery.backends.redis import RedisBackend
from redis.exceptions import RedisError

from ballast.breaker import Breaker

logger = logging.getLogger(__name__)


class ResultBackend(RedisBackend):
    """Redis, but its absence stops neither a submission nor a worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.breaker = Breaker(pause=2.0)

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Celery would subscribe to the result here, before it publishes. Nobody waits that way."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        if not self.breaker.allows():
            return result
        try:
            stored = super().store_result(task_id, result, state, *args, **kwargs)
        except (RedisError, OSError) as error:
            self.breaker.failed()
            logger.warning("A result was not kept in Redis: %s", error)
            return result
        self.breaker.succeeded()
        return stored
