"""Bytes of images out of tar shards, here or in a store: neighbours in one read, several ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from fakescan.data.samples import Part
from fakescan.errors import DatasetError, PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.store import Entry, store_of
from fakescan.places.uri import is_uri, shown

T = TypeVar("T")

SPAN_BYTES = 4 << 20
"""Read at once at most, but for an image that is larger."""
GAP_BYTES = 64 << 10
"""Between two images that are read at once; their labels lie there."""
READERS, AHEAD = 8, 16
"""Reads that go on at once, and that may be done before their images are asked for."""


@dataclass(slots=True)
class _Span(Generic[T]):
    """Items whose images are read at once; one without a part is alone."""

    shard: str = ""
    tag: str = ""
    start: int = 0
    end: int = 0
    items: list[tuple[T, Part | None]] = field(default_factory=list)

    def takes(self, part: Part | None) -> bool:
        if part is None or part.shard != self.shard or part.offset < self.start:
            return False
        end = max(self.end, part.offset + part.size)
        return part.offset <= self.end + GAP_BYTES and end - self.start <= SPAN_BYTES

    def add(self, item: T, part: Part | None) -> None:
        self.items.append((item, part))
        if part is not None:
            self.end = max(self.end, part.offset + part.size)


def read_ahead(
    items: Iterable[T], part_of: Callable[[T], Part | None]
) -> Iterator[tuple[T, bytes | None]]:
    """Yield items in order, each with its image's bytes; None for one that is a file of its own.

    Args:
        items: images in the order of a shard cost the fewest reads.
        part_of: where an item's image lies.

    Raises:
        DatasetError: a shard cannot be read, or has changed since it was indexed.
    """
    waiting: deque[tuple[_Span[T], Future[bytes] | None]] = deque()
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="shards")
    try:
        for span in _spans(items, part_of):
            is_part = span.items[0][1] is not None
            waiting.append((span, pool.submit(_read, span) if is_part else None))
            if len(waiting) > AHEAD:
                yield from _given(*waiting.popleft())
        while waiting:
            yield from _given(*waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _spans(items: Iterable[T], part_of: Callable[[T], Part | None]) -> Iterator[_Span[T]]:
    span: _Span[T] = _Span()
    for item in items:
        part = part_of(item)
        if not span.takes(part):
            if span.items:
                yield span
            begin = (part.shard, part.tag, part.offset, part.offset) if part else ("", "", 0, 0)
            span = _Span(*begin)
        span.add(item, part)
    if span.items:
        yield span


def _given(span: _Span[T], coming: Future[bytes] | None) -> Iterator[tuple[T, bytes | None]]:
    data = coming.result() if coming is not None else b""
    for item, part in span.items:
        start = part.offset - span.start if part else 0
        yield item, data[start : start + part.size] if part else None


def local_tag(path: Path) -> str:
    """What changes when a shard on this machine does.

    Raises:
        OSError: it cannot be looked at.
    """
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def _read(span: _Span[T]) -> bytes:
    try:
        if is_uri(span.shard):
            entry = Entry(span.shard, tag=span.tag or None)
            return store_of(span.shard, Access()).read_range(entry, span.start, span.end)
        path = Path(span.shard)
        if local_tag(path) != span.tag:
            raise DatasetError(f"{path}: changed since its images were listed; start again")
        with path.open("rb") as stream:
            stream.seek(span.start)
            return stream.read(span.end - span.start)
    except OSError as e:
        raise DatasetError(f"{span.shard}: cannot be read ({e.strerror or e})") from e
    except (PlaceProblem, PlaceError) as e:
        raise DatasetError(f"{shown(span.shard)}: {e}") from e
