"""Celery's result backend: the rows of load queries, read as results.

A worker commits the outcome of a query into its row. That is the result, kept by PostgreSQL: never evicted, never
lost in a failover, and in no second place that could say something else.
"""

import uuid
from typing import Any

from celery import states
from celery.backends.base import BaseBackend

from ballast.models import LoadQuery


class CalculationFailed(Exception):
    """What `AsyncResult.get()` raises for a load query that ended `failed`; says why."""


class ResultBackend(BaseBackend):
    """`AsyncResult(id)` of a load query: state and result of its row. An unknown id is PENDING, as Celery has it."""

    _STATES = {
        LoadQuery.State.QUEUED: states.PENDING,
        LoadQuery.State.RUNNING: states.STARTED,
        LoadQuery.State.DONE: states.SUCCESS,
        LoadQuery.State.FAILED: states.FAILURE,
    }

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Celery's copy of what the task has committed: nothing is left to keep."""
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        query = LoadQuery.objects.using("default").filter(pk=uuid.UUID(task_id)).first()
        if query is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        failed = query.state == LoadQuery.State.FAILED
        return {
            "task_id": task_id,
            "status": self._STATES[LoadQuery.State(query.state)],
            "result": CalculationFailed(query.error) if failed else query.result,
            "date_done": query.finished_at,
        }
