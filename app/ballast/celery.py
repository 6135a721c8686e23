"""Celery over RabbitMQ: one quorum queue for load queries, and one for what could not be processed."""

import logging.config
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ballast.settings")
os.environ.setdefault("BALLAST_SERVICE", "worker")

from amqp.exceptions import MessageNacked
from celery import Celery
from celery.signals import setup_logging
from django.conf import settings
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from ballast import env

TASK = "ballast.run_load_query"
# Redeliveries of one message before RabbitMQ gives it up to the dead letters: more than tasks.MAX_ATTEMPTS,
# so that the task itself can say 'failed' first.
DELIVERY_LIMIT = 10
# Seconds that a publisher waits for RabbitMQ's confirm; py-amqp would wait for ever.
CONFIRM_TIMEOUT = 2.0

dead_letters = Queue(
    f"{settings.QUEUE}.dead",
    Exchange(f"{settings.QUEUE}.dead", type="fanout"),
    queue_arguments={"x-queue-type": "quorum"},
)
load_queries = Queue(
    settings.QUEUE,
    Exchange(settings.QUEUE, type="direct"),
    routing_key=settings.QUEUE,
    queue_arguments={
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead_letters.exchange.name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length": 10 * settings.LOAD_QUERY_BACKLOG,
    },
)

app = Celery("ballast", include=["ballast.tasks"])
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_transport="ballast.amqp:Transport",
    broker_connection_timeout=2,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_heartbeat=10,
    broker_pool_limit=settings.THREADS,
    # A publisher tries once to connect (a worker tries for ever).
    broker_transport_options={"confirm_publish": True, "max_retries": 0},
    task_queues=[load_queries],
    task_default_queue=settings.QUEUE,
    task_default_queue_type="quorum",
    task_create_missing_queues=False,
    task_publish_retry=False,  # publish() below and the sweeper know better
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure_or_timeout=True,
    task_soft_time_limit=60,
    task_time_limit=90,
    # As many tasks as cores: they only compute.
    worker_concurrency=env.integer("WORKER_PROCESSES", 2, low=1, high=256),
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_consumer="ballast.worker:Consumer",
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    result_backend="ballast.results:ResultBackend",
    # A worker keeps its database connection from task to task; a broken one is replaced by the task itself.
    CELERY_DB_REUSE_MAX=10_000,
)


def publish(query_id: str, request_id: str) -> None:
    """Tell the workers about a load query. Raises what kombu raises if RabbitMQ did not confirm.

    A connection that broke while it lay in the pool fails at once: then there is a second try, on a new one. A
    RabbitMQ that does not answer is not asked twice.
    """
    for last in (False, True):
        try:
            app.send_task(
                TASK,
                args=[query_id],
                task_id=query_id,
                queue=settings.QUEUE,
                headers={"request_id": request_id},
                confirm_timeout=CONFIRM_TIMEOUT,
            )
        except OperationalError as error:
            if last or isinstance(error.__cause__, TimeoutError | MessageNacked):
                raise
        else:
            return


def messages_waiting() -> int:
    """Messages in the queue that no worker has taken yet. Raises what kombu raises if RabbitMQ is away."""
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)
        load_queries(connection.default_channel).declare()
        channel: Any = connection.default_channel
        return int(channel.queue_declare(settings.QUEUE, passive=True).message_count)


@setup_logging.connect
def _log_as_configured(**_: Any) -> None:
    """With a receiver Celery leaves the logging to us."""
    logging.config.dictConfig(settings.LOGGING)
