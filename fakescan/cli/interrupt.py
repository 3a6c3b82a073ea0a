"""Ctrl-C, or SIGTERM, that ends a scan, not its reports."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Makes a signal the early end of an iterator, so that what reads it finishes its work.

    The signal interrupts the iterator wherever it waits; while a reader works, it is only noted.
    A second one interrupts anything.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The number of the first one that came."""
        self._is_waiting = False

    def __enter__(self) -> Interrupt:
        self._before = [signal.signal(number, self._note) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, before)

    def until(self, items: Iterator[T]) -> Iterator[T]:
        """Yield items until the end or the signal, whichever comes first."""
        while self.signal is None:
            try:
                self._is_waiting = True
                item = next(items)
                self._is_waiting = False
            except (StopIteration, KeyboardInterrupt):
                self._is_waiting = False
                return
            yield item

    def _note(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.signal is not None
        self.signal = self.signal or number
        if self._is_waiting or is_second:
            raise KeyboardInterrupt
