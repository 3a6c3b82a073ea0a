"""A folder of LoRA files -> an index, or one that is brought up to date.

What has not changed is not read again; what was read is kept even when a run is interrupted, since
sketches are written one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fakescan.errors import ConfigError, LoraError, LoraIndexError
from fakescan.loras.describe import describe, module_key
from fakescan.loras.folder import Candidate, candidates
from fakescan.loras.index import (
    NAME,
    SKETCHES,
    Contents,
    Entry,
    Skipped,
    read_contents,
    sketch_path,
    write_contents,
)
from fakescan.loras.means import write_means
from fakescan.loras.read import Stamp
from fakescan.loras.sketch import SIZE, SIZES, Projector
from fakescan.loras.store import Sketch, read_sketch, summary_of, write_sketch
from fakescan.loras.update import Update

Progress = Callable[[int, int], None]
"""Files done, files in all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has done."""

    contents: Contents
    read: int
    """Files that were described now."""
    removed: int
    """Files that the index knew and that are gone."""


def build(
    root: Path,
    index: Path,
    *,
    size: int | None = None,
    workers: int = 1,
    progress: Progress = lambda _done, _all: None,
) -> Outcome:
    """Make an index of a folder, or bring it up to date.

    Args:
        root: the folder; it is read, never written.
        index: a folder of its own; made when it is missing.
        size: q of the sketches; None takes that of the index, or the default.
        workers: files that are read at once.
        progress: called after each file.

    Raises:
        ConfigError: the index is of another folder or sketch size, or lies inside the folder.
        LoraIndexError: it cannot be read or written.
    """
    before = _before(root, index, size)
    with suppress(FileExistsError):
        _make(index / SKETCHES)
    found = list(candidates(before.root, leave_out=index))
    known = {entry.path: entry for entry in before.entries}
    known_bad = {bad.path: bad for bad in before.skipped}
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    read = 0
    reader = _Reader(index, Projector(before.sketch_size))
    jobs = (_job(c, known, known_bad, index, reader) for c in found)
    with threadpool_limits(1):
        for done, (result, is_new) in enumerate(_in_order(jobs, workers), 1):
            read += is_new
            entries.append(result) if isinstance(result, Entry) else skipped.append(result)
            progress(done, len(found))
    after = Contents(before.root, before.sketch_size, tuple(entries), tuple(skipped))
    _finish(index, after)
    gone = known.keys() - {c.path for c in found}
    return Outcome(after, read, len(gone))


Result = tuple[Entry | Skipped, bool]
"""What becomes of a file, and whether it was described now."""


def _before(root: Path, index: Path, size: int | None) -> Contents:
    root = root.resolve()
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    if index.resolve() == root:
        raise ConfigError(f"{index}: is the folder of LoRA files itself; give the index its own")
    if not (index / NAME).exists():
        if index.is_dir() and any(index.iterdir()) and not (index / SKETCHES).is_dir():
            raise ConfigError(f"{index}: a folder with other things in it; name a new one")
        if (size or SIZE) not in SIZES:
            raise ConfigError(f"sketch size {size}: one of {', '.join(map(str, SIZES))}")
        return Contents(root, size or SIZE)
    before = read_contents(index)
    if before.root != root:
        raise ConfigError(f"{index}: an index of {before.root}, not of {root}; name another")
    if size not in (None, before.sketch_size):
        raise ConfigError(
            f"{index}: has sketches of size {before.sketch_size}, not {size}; name another"
        )
    return before


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise LoraIndexError(f"{folder}: cannot be made ({e.strerror})") from e


class _Reader:
    """Describes files; threads share one."""

    def __init__(self, index: Path, projector: Projector) -> None:
        self._index = index
        self._projector = projector

    def read(self, candidate: Candidate) -> Result:
        """Hash a file, and describe it when no other has its content."""
        stamp, path = candidate.stamp, candidate.path
        try:
            with candidate.place.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            target = sketch_path(self._index, sha256)
            is_new = not _is_whole(target)
            if is_new:
                write_sketch(target, self._sketch(candidate.place))
        except OSError as e:
            reason = f"cannot be read ({e.strerror})"
            return Skipped(path, stamp.size, stamp.mtime_ns, reason), True
        except LoraError as e:
            reason = str(e).removeprefix(f"{candidate.place}: ")
            return Skipped(path, stamp.size, stamp.mtime_ns, reason), True
        return Entry(path, stamp.size, stamp.mtime_ns, sha256), is_new

    def _sketch(self, place: Path) -> Sketch:
        return sketch_of(place, self._projector)


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


def _is_whole(path: Path) -> bool:
    try:
        read_sketch(path)
    except LoraIndexError:
        return False
    return True


def _job(
    candidate: Candidate,
    known: dict[str, Entry],
    known_bad: dict[str, Skipped],
    index: Path,
    reader: _Reader,
) -> Callable[[], Result]:
    """What has to be done for a file: as little as its stamp allows."""
    stamp = candidate.stamp
    if candidate.reason is not None:
        bad = Skipped(candidate.path, stamp.size, stamp.mtime_ns, candidate.reason)
        return lambda: (bad, False)
    entry = known.get(candidate.path)
    is_same = entry is not None and Stamp(entry.size, entry.mtime_ns) == stamp
    if entry is not None and is_same and _is_whole(sketch_path(index, entry.sha256)):
        return lambda: (entry, False)
    old = known_bad.get(candidate.path)
    if old and Stamp(old.size, old.mtime_ns) == stamp:
        return lambda: (old, False)
    return lambda: reader.read(candidate)


def _in_order(jobs: Iterator[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """Run jobs in threads, a few ahead; yield what they give in their order."""
    waiting: list[Future[Result]] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > 2 * workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _finish(index: Path, contents: Contents) -> None:
    wanted = {entry.sha256 for entry in contents.entries}
    write_means(index, [sketch_path(index, sha256) for sha256 in sorted(wanted)])
    write_contents(index, contents)
    for path in (index / SKETCHES).iterdir():
        if path.suffix == ".safetensors" and path.stem not in wanted:
            with suppress(OSError):
                path.unlink()
