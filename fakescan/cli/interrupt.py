"""Ctrl-C that ends a scan, not its reports."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Interrupt:
    """Makes Ctrl-C the early end of an iterator, so that what reads it finishes its work.

    The signal interrupts the iterator wherever it waits; while a reader works, it is only noted.
    A second Ctrl-C interrupts anything.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._is_waiting = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def until(self, items: Iterator[T]) -> Iterator[T]:
        """Yield items until the end or the signal, whichever comes first."""
        while not self.is_set:
            try:
                self._is_waiting = True
                item = next(items)
                self._is_waiting = False
            except (StopIteration, KeyboardInterrupt):
                self._is_waiting = False
                return
            yield item

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        is_second, self.is_set = self.is_set, True
        if self._is_waiting or is_second:
            raise KeyboardInterrupt
