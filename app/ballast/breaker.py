"""A circuit breaker: a dependency that just failed is left alone for a moment instead of waited for again."""

import threading
import time


class Breaker:
    """Closed until a failure; then refuses for `pause` seconds, after which one caller at a time may try."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self._lock = threading.Lock()
        self._retry_at = 0.0  # the monotonic time at which the next try is due; 0 when all is well

    @property
    def has_failed(self) -> bool:
        """True from a failure until the next success."""
        return bool(self._retry_at)

    def allows(self) -> bool:
        if not self._retry_at:
            return True
        with self._lock:
            now = time.monotonic()
            if self._retry_at and now < self._retry_at:
                return False
            if self._retry_at:
                self._retry_at = now + self.pause
            return True

    def succeeded(self) -> None:
        if self._retry_at:
            with self._lock:
                self._retry_at = 0.0

    def failed(self) -> None:
        with self._lock:
            self._retry_at = time.monotonic() + self.pause
