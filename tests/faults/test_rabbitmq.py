"""RabbitMQ under faults: what was confirmed is consumed, and every node is back by itself.

A publisher at every node, and one consumer that goes wherever a node lets it. Messages may come twice: the
promise is "at least once".
"""

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import pika
import pytest
import requests
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, NackError, UnroutableError

import lab
from lab import faults
from tests.faults.play import play, removal_is_refused, stops_at_the_first_host
from tests.faults.recorder import Figures, Recorder, RefusedError, UnknownError

pytestmark = pytest.mark.destructive

GIVE_UP = 180
# It logs every connection that it does not get.
logging.getLogger("pika").setLevel(logging.CRITICAL)
# What pika raises when a connection is or goes away, or is not made in time; the last two are its own slips.
GONE = (AMQPError, AMQPConnectorException, OSError, AssertionError, AttributeError)


def connect(host: str) -> BlockingChannel:
    """A channel of the application's user at one node, that confirms what is published."""
    parameters = pika.ConnectionParameters(
        host=lab.variable("node_address", host),
        port=lab.port("rabbitmq"),
        virtual_host="ballast",
        credentials=pika.PlainCredentials("app", lab.secret("rabbitmq_app")),
        heartbeat=4,
        socket_timeout=2,
        stack_timeout=4,
        connection_attempts=1,
        blocked_connection_timeout=10,
    )
    channel = pika.BlockingConnection(parameters).channel()
    channel.confirm_delivery()
    return channel


@dataclass
class Writer:
    """Publishes numbers at one node and waits for each confirm. Any node may confirm at any time."""

    host: str
    queue: str
    channel: BlockingChannel | None = None

    def __call__(self, number: int) -> int:
        if self.channel is None:
            try:
                self.channel = connect(self.host)
            except GONE as error:
                raise RefusedError from error
        try:
            self.channel.basic_publish(
                "",
                self.queue,
                str(number).encode(),
                pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
                mandatory=True,
            )
        except UnroutableError as error:
            raise RefusedError from error
        except NackError as error:
            raise UnknownError from error
        except GONE as error:
            self.channel = None
            raise UnknownError from error
        return 0


@dataclass
class Consumer:
    """Acknowledges all that comes, at whichever node answers, while its `with` block runs."""

    queue: str
    numbers: list[int] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self._consume, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join(timeout=30)
        assert not self.thread.is_alive(), "the consumer still waits, although all is healed"

    def _consume(self) -> None:
        while not self.ending.is_set():
            for host in lab.hosts("queue"):
                try:
                    channel = connect(host)
                    channel.basic_qos(prefetch_count=100)
                    for method, _, body in channel.consume(self.queue, inactivity_timeout=0.5):
                        if method is not None:
                            self.numbers.append(int(body))
                            channel.basic_ack(method.delivery_tag)
                        if self.ending.is_set():
                            channel.connection.close()
                            return
                except GONE:
                    continue


def api(path: str, host: str) -> Any:
    """What a node's management says to a GET; None if it does not answer."""
    try:
        return lab.rabbitmq(path, host)
    except requests.RequestException:
        return None


def wait_until_whole(queue: str | None = None) -> None:
    """Returns once every node sees all nodes running, and all of a queue's members are online."""
    hosts = lab.hosts("queue")
    until = time.monotonic() + GIVE_UP
    while True:
        seen = {host: api("nodes", host) for host in hosts}
        whole = all(
            nodes
            and len(nodes) == len(hosts)
            and all(node["running"] and node.get("partitions") == [] for node in nodes)
            for nodes in seen.values()
        )
        if whole and queue:
            found = api(f"queues/ballast/{queue}", hosts[0])
            whole = bool(found) and len(found.get("online", [])) == len(hosts)
        if whole:
            return
        assert time.monotonic() < until, f"not whole after {GIVE_UP} s: {seen}"
        time.sleep(0.5)


@pytest.fixture
def queue() -> Iterator[str]:
    """A quorum queue with a member on every node."""
    name = f"ledger-{uuid.uuid4().hex[:12]}"
    wait_until_whole()
    host = lab.hosts("queue")[0]
    connect(host).queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    wait_until_whole(name)
    # A node writes down that it has a member of the queue once nobody has asked for it for half a second.
    time.sleep(2)
    yield name
    connect(host).queue_delete(name)


def leader(queue: str) -> str:
    """The host of the queue's leader."""
    found = lab.rabbitmq(f"queues/ballast/{queue}")
    return str(found["leader"]).removeprefix("rabbit@")


def follower(queue: str) -> str:
    return next(host for host in lab.hosts("queue") if host != leader(queue))


def recorder(queue: str) -> Recorder:
    writers = {host: Writer(host, queue) for host in lab.hosts("queue")}
    return Recorder(writers, partial(wait_until_whole, queue))


def judge(record: Recorder, queue: str, consumer: Consumer) -> Figures:
    """Waits until the queue is empty; then all that was confirmed must have come out of it."""
    confirmed = {write.number for write in record.acknowledged}
    until = time.monotonic() + GIVE_UP
    while confirmed - set(consumer.numbers) and time.monotonic() < until:
        time.sleep(0.5)
        # There are no statistics for the first seconds after a start.
        if lab.rabbitmq(f"queues/ballast/{queue}").get("messages") == 0:
            time.sleep(6)  # the statistics are up to five seconds old
            break
    figures = record.compare({"consumer": consumer.numbers})
    assert figures.lost == 0, (figures, record.lost[:10])
    return figures


FAULTS = {
    "queue's leader: RabbitMQ killed": (leader, faults.killed("rabbitmq-server")),
    "queue's leader: host powered off": (leader, faults.POWERED_OFF),
    "queue's leader: host isolated": (leader, faults.ISOLATED),
    "queue's leader: paused": (leader, faults.paused("rabbitmq-server")),
    "follower: host powered off": (follower, faults.POWERED_OFF),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_confirmed_is_consumed(
    name: str, run: int, queue: str, report: Callable[[str, Figures], None]
) -> None:
    choose, fault = FAULTS[name]
    host = choose(queue)
    with Consumer(queue) as consumer:
        with recorder(queue) as record, record.fault(partial(fault.heal, host)):
            fault.begin(host)
            begun = time.monotonic()
            record.wait_for_writes()
            time.sleep(5)
        figures = judge(record, queue, consumer)
    if fault is faults.ISOLATED:
        alone = [
            write
            for write in record.acknowledged
            if write.member == host and write.sent > begun and write.answered < record.healed
        ]
        assert not alone, f"confirmed by a node without a majority: {alone}"
    report(name, figures)


def test_a_cold_start_needs_no_hand(run: int, queue: str, report: Callable[[str, Figures], None]) -> None:
    with Consumer(queue) as consumer:
        with recorder(queue) as record, record.fault():
            faults.power_cycle(lab.hosts("queue"))
            wait_until_whole(queue)
        figures = judge(record, queue, consumer)
    report("all hosts powered off and on", figures)


def test_a_node_that_starts_on_a_full_disk_costs_nothing(
    run: int, queue: str, report: Callable[[str, Figures], None]
) -> None:
    disk = faults.SmallDisk(leader(queue), "/var/lib/rabbitmq", "rabbitmq-server")
    with Consumer(queue) as consumer:
        with disk, recorder(queue) as record, record.fault(disk.make_room):
            disk.start_full()
            record.wait_for_writes()
        report("a node starts on a full disk", judge(record, queue, consumer))
    wait_until_whole()


QUORUM = "/var/lib/rabbitmq/mnesia/rabbit@*/quorum/rabbit@*"
# What a power loss may leave at the end of a node's log: zeros, or a part of an entry.
TAILS = (
    f"truncate --size=+8192 {QUORUM}/*.wal",
    f"for log in {QUORUM}/*.wal; do head --bytes=60 $log | tail --bytes=+6 > /tmp/part;"
    " cat /tmp/part >> $log; done",
)


def test_a_log_that_a_power_loss_has_damaged_at_its_end_costs_nothing(queue: str) -> None:
    with Consumer(queue) as consumer:
        with recorder(queue) as record, record.fault():
            lab.on("queue", "systemctl kill --signal=SIGKILL rabbitmq-server; systemctl stop rabbitmq-server")
            for host, tail in zip(lab.hosts("queue"), itertools.cycle(TAILS), strict=False):
                lab.on(host, f"test -s {QUORUM}/*.wal; {tail}")
            lab.on("queue", "systemctl start --no-block rabbitmq-server")
            wait_until_whole(queue)
        judge(record, queue, consumer)


def test_a_node_is_itself_whatever_its_host_is_called() -> None:
    host = lab.hosts("queue")[0]
    said = lab.on(host, "unshare --uts sh -c 'hostname other && rabbitmqctl --quiet eval \"node().\"'")
    assert said[host] == f"rabbit@{host}"


def test_a_setting_with_which_a_node_does_not_start_stops_at_the_first(queue: str) -> None:
    with Consumer(queue) as consumer:
        with recorder(queue) as record, record.fault():
            stops_at_the_first_host(
                "rabbitmq", "queue", "rabbitmq-server", rabbitmq_memory_watermark="plenty"
            )
            wait_until_whole(queue)
        judge(record, queue, consumer)


def test_an_upgrade_goes_node_by_node(queue: str, report: Callable[[str, Figures], None]) -> None:
    with Consumer(queue) as consumer:
        with recorder(queue) as record, record.fault():
            code, said = play("upgrade_rabbitmq")
            assert code == 0, said
        report("every node restarted by the upgrade", judge(record, queue, consumer))


def test_an_upgrade_to_a_version_that_there_is_not_is_refused() -> None:
    code, said = play("upgrade_rabbitmq", version="9.9.9")
    assert code != 0
    assert "packages have no rabbitmq-server 9.9.9" in said
    wait_until_whole()


def test_a_removal_that_would_cost_the_quorum_is_refused() -> None:
    wait_until_whole()
    stays, down, other = lab.hosts("queue")
    removal_is_refused(other, tier="queue", down=down, stays=stays)
    wait_until_whole()
