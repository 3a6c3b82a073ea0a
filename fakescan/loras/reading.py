"""Files -> their sketches in an index, in processes of their own and in order.

Threads would not do: one adapter has hundreds of products too small for BLAS to leave Python for
long, so that two threads keep little more than one core busy.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fakescan.errors import LoraError, LoraIndexError
from fakescan.loras.describe import describe, module_key
from fakescan.loras.folder import Candidate
from fakescan.loras.index import Entry, Skipped, sketch_path
from fakescan.loras.sketch import Projector
from fakescan.loras.store import Sketch, read_sketch, summary_of, write_sketch
from fakescan.loras.update import Update

AHEAD = 2
"""Files asked for in advance, per process."""


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a file."""

    file: Entry | Skipped
    is_new: bool = False
    """Whether it was described, or refused, now."""


def read_all(
    plan: Iterable[Candidate | Result], index: Path, size: int, *, workers: int = 1
) -> Iterator[Result]:
    """Yield what becomes of every file, in order; results pass as they are.

    Args:
        plan: files to read, and results that are known.
        index: where sketches are written, one by one.
        size: q of the sketches.
        workers: processes that read; with 1 this one does.

    Raises:
        LoraIndexError: a sketch cannot be written, or a process died.
    """
    if workers == 1:
        projector = Projector(size)
        with threadpool_limits(1):
            for item in plan:
                yield item if isinstance(item, Result) else read(item, index, projector)
        return
    try:
        yield from _in_processes(plan, index, size, workers)
    except BrokenProcessPool as e:
        raise LoraIndexError(
            f"{index}: a process that read files died, for want of memory perhaps; what was read "
            "is kept: index again, with --workers 1"
        ) from e


def read(candidate: Candidate, index: Path, projector: Projector) -> Result:
    """Hash a file, and describe it when no other has its content.

    Raises:
        LoraIndexError: its sketch cannot be written.
    """
    stamp, path = candidate.stamp, candidate.path
    try:
        with candidate.place.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        target = sketch_path(index, sha256)
        is_new = not is_whole(target)
        if is_new:
            write_sketch(target, sketch_of(candidate.place, projector))
    except OSError as e:
        reason = f"cannot be read ({e.strerror})"
        return Result(Skipped(path, stamp.size, stamp.mtime_ns, reason), is_new=True)
    except LoraError as e:
        reason = str(e).removeprefix(f"{candidate.place}: ")
        return Result(Skipped(path, stamp.size, stamp.mtime_ns, reason), is_new=True)
    return Result(Entry(path, stamp.size, stamp.mtime_ns, sha256), is_new)


def sketch_of(place: Path, projector: Projector) -> Sketch:
    """Describe a file by its sketches.

    Raises:
        LoraError: it cannot be used, or nothing in it can be compared.
    """
    rows: dict[str, tuple[str, NDArray[np.float16]]] = {}

    def take(update: Update) -> None:
        if update.spectrum is not None:
            sketch = projector.sketch(update.name, update.spectrum).astype(np.float16)
            rows[module_key(update.name, update.shape)] = (update.group.value, sketch)

    description = describe(place, take)
    if not rows:
        reason = next((m.reason for m in description.modules if m.reason), "no modules")
        raise LoraError(f"{place}: nothing to compare: {reason}")
    keys = tuple(sorted(rows))
    groups = tuple(rows[key][0] for key in keys)
    return Sketch(keys, groups, np.stack([rows[k][1] for k in keys]), summary_of(description))


def is_whole(path: Path) -> bool:
    """Whether there is a sketch that can be read."""
    try:
        read_sketch(path)
    except LoraIndexError:
        return False
    return True


def _in_processes(
    plan: Iterable[Candidate | Result], index: Path, size: int, workers: int
) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # starting it unblocks Ctrl-C, see `_uninterrupted`
    waiting: deque[Result | Future[Result]] = deque()
    with ProcessPoolExecutor(workers, context, _settle, (index, size)) as pool:
        try:
            for item in plan:
                waiting.append(item if isinstance(item, Result) else _submitted(pool, item))
                while waiting and (
                    isinstance(waiting[0], Result) or len(waiting) > AHEAD * workers
                ):
                    yield _got(waiting.popleft())
            while waiting:
                yield _got(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, candidate: Candidate) -> Future[Result]:
    with _uninterrupted():
        return pool.submit(_read, candidate)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait while a process may be started, which is deaf to it from its first moment.

    The mask is for the process, which inherits it; other threads of this one may still catch the
    signal, and Python would raise it in the middle of what the process is being told.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    before = _blocked()
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)


def _blocked() -> set[int | signal.Signals] | None:
    """Block Ctrl-C in this thread; gives what was blocked before, None where nothing can be."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _got(item: Result | Future[Result]) -> Result:
    return item if isinstance(item, Result) else item.result()


_here: tuple[Path, Projector]
"""In a worker: the index, and what makes its sketches."""


def _settle(index: Path, size: int) -> None:
    """In a worker: an interrupt is its parent's to handle."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    _here = index, Projector(size)


def _read(candidate: Candidate) -> Result:
    """In a worker."""
    return read(candidate, *_here)
