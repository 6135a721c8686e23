"""The Celery worker's consumer."""

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

_Blueprint: Any = CeleryConsumer.Blueprint


class Consumer(CeleryConsumer):
    """Celery's, without delayed delivery: nothing here is sent for later, and it would declare 28 quorum queues.

    Workers do not talk to each other either: what one has to know is in PostgreSQL.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"without_gossip": True, "without_mingle": True})

    class Blueprint(_Blueprint):  # type: ignore[misc]
        default_steps = [step for step in _Blueprint.default_steps if "delayed_delivery" not in step]
