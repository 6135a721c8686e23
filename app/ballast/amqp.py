"""kombu's AMQP transport with an end to its patience.

py-amqp waits for the answer to a method (open a channel, declare a queue, close) without any limit. A RabbitMQ
that hangs, and a balancer in front of it that keeps connections up, would keep a request's thread or the sweeper for
as long; heartbeats would not help, because only a worker's consumer sends them.
"""

from typing import Any

from kombu.transport import pyamqp

from ballast import deadline

# Seconds to wait for any answer of RabbitMQ. A quorum queue that is electing a leader takes some to be declared.
PATIENCE = 5.0


def _patience(timeout: float | None) -> float:
    return max(0.001, deadline.left(timeout or PATIENCE))  # 0 would be no limit


class Channel(pyamqp.Channel):
    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False) -> Any:
        try:
            return super().wait(method, callback, _patience(timeout), returns_tuple)
        except TimeoutError:
            # The answer may still come, and the next one to wait would take it for its own.
            if self.connection:
                self.connection.collect()
            raise


class Connection(pyamqp.Connection):
    Channel = Channel

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False) -> Any:
        return super().wait(method, callback, _patience(timeout), returns_tuple)


class Transport(pyamqp.Transport):
    Connection = Connection
