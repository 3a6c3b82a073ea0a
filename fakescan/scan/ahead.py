"""Work ahead of the model: bounded, and in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from fakescan.errors import ImageError

Item = TypeVar("Item")
Pixels = TypeVar("Pixels")


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Item, Pixels]):
    """One item and either its pixels or the reason there are none."""

    item: Item
    pixels: Pixels | None
    error: ImageError | None = None


def decode_ahead(
    items: Iterable[Item],
    decode: Callable[[Item], Pixels],
    *,
    workers: int,
    ahead: int,
    is_ready: Callable[[Item], bool] = lambda _item: False,
    share: Callable[[Item], float] = lambda _item: 0.0,
) -> Generator[Decoded[Item, Pixels], None, None]:
    """Yield every item, in order, decoded; at most `ahead` are held in memory.

    An `ImageError` from `decode` becomes `Decoded.error`. Any other exception is a bug and
    propagates.

    Args:
        items: asked for in the caller's thread.
        decode: called in `workers` threads.
        workers: how many items are decoded at once.
        ahead: how many items are held.
        is_ready: True for an item that passes through as it is, without pixels.
        share: of the room for what is held, that an item will take; one that takes more than
            all of it is held alone.
    """

    def attempt(item: Item) -> Decoded[Item, Pixels]:
        try:
            return Decoded(item, decode(item))
        except ImageError as e:
            return Decoded(item, None, e)

    waiting: deque[Future[Decoded[Item, Pixels]] | Decoded[Item, Pixels]] = deque()
    shares: deque[float] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for item in items:
            taken = share(item)
            while waiting and sum(shares) + taken > 1:
                shares.popleft()
                yield _result(waiting.popleft())
            shares.append(taken)
            waiting.append(Decoded(item, None) if is_ready(item) else pool.submit(attempt, item))
            while waiting and (len(waiting) >= ahead or isinstance(waiting[0], Decoded)):
                shares.popleft()
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:  # not waiting: whoever owns the children ends them, and the threads with them
        pool.shutdown(wait=False, cancel_futures=True)


def _result(
    waiting: Future[Decoded[Item, Pixels]] | Decoded[Item, Pixels],
) -> Decoded[Item, Pixels]:
    return waiting if isinstance(waiting, Decoded) else waiting.result()


class Room:
    """Holds back who brings more bytes than fit, until others have left."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._inside = 0
        self._changed = threading.Condition()

    def enter(self, size: int) -> None:
        """Wait until there is room; an empty room takes any size."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._inside or self._inside + size <= self._capacity
            )
            self._inside += size

    def leave(self, size: int) -> None:
        """Make room."""
        with self._changed:
            self._inside -= size
            self._changed.notify_all()
