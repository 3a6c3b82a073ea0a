"""A timeout that is set for every image, and costs no thread each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Alarm:
    """Calls a function, in a thread of its own, when what it was set for takes too long."""

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self._seconds = seconds
        self._ring = ring
        self._changed = threading.Condition()
        self._due: float | None = None
        self._is_asleep = False
        self._is_over = False
        threading.Thread(target=self._wait, name="alarm", daemon=True).start()

    def set(self) -> None:
        """Ring when the time is up, unless it is set again or called off before."""
        with self._changed:
            self._due = time.monotonic() + self._seconds
            if self._is_asleep:  # else it wakes when an earlier time is up, and looks again
                self._changed.notify()

    def call_off(self) -> None:
        """Do not ring."""
        with self._changed:
            self._due = None

    def end(self) -> None:
        """Never ring again, and end the thread."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _wait(self) -> None:
        with self._changed:
            while not self._is_over:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._due = None
                    self._ring()
                    continue
                self._is_asleep = left is None
                self._changed.wait(left)
                self._is_asleep = False
