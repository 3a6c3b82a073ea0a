"""Rows on disk: flat files that only grow, and one line of text for every whole row.

    layout.json    what a row is made of, and what made it
    lock           held by the run that adds rows
    tokens.f16     (rows, N, D), absent where nothing is adapted
    normed.f16     (rows, N, D), only for a split trunk
    features.f32   (rows, F)
    rows.txt       line i names row i; it is written after the row's data has reached the disk
    part-0001/     the same files but for the first, written by another process of a run

Every process of a run writes a part of its own, the first one that above, and all read all parts.
A build that is killed leaves data without lines; the next one cuts it off and goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError

RESERVE_BYTES = 1 << 30
"""Left free on the disk."""
FLUSH_ROWS = 32
"""Rows that a kill may cost each process."""
PART_BIT = 40
"""Rows are numbered below it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Shapes of a row."""

    tokens: tuple[int, int] | None
    """(N, D)"""
    is_split: bool
    features: int

    @property
    def arrays(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """File name -> element type and shape of a row."""
        found: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}
        if self.tokens is not None:
            found["tokens.f16"] = (np.float16, self.tokens)
            if self.is_split:
                found["normed.f16"] = (np.float16, self.tokens)
        found["features.f32"] = (np.float32, (self.features,))
        return found

    def row_bytes(self, name: str) -> int:
        """Size of one row in one file."""
        kind, shape = self.arrays[name]
        return int(np.dtype(kind).itemsize * np.prod(shape))

    @property
    def bytes(self) -> int:
        """Size of one row in all files."""
        return sum(map(self.row_bytes, self.arrays))


class _Part:
    """The files that one process writes."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        lines = _lines(folder / "rows.txt")
        whole = min(_size(folder / n) // layout.row_bytes(n) for n in layout.arrays)
        self.names = lines[:whole]
        self.maps: dict[str, NDArray[Any]] = {
            name: np.memmap(folder / name, kind, "r", shape=(len(self.names), *shape))
            for name, (kind, shape) in layout.arrays.items()
            if self.names
        }


class RowStore:
    """The files of one trunk. Read by many, extended by one run at a time."""

    def __init__(self, folder: Path, layout: Layout, origin: dict[str, Any]) -> None:
        self.folder, self.layout = folder, layout
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._declare(origin)
        except OSError as e:
            raise ConfigError(f"trunk cache {folder}: cannot be written ({e.strerror})") from e
        self.rows: dict[str, int] = {}
        """Name of a row -> its number in its part, and above `PART_BIT` that of the part."""
        self._parts: list[_Part] = []
        self.refresh()

    def refresh(self) -> None:
        """Take in what has been written since."""
        folders = [self.folder, *sorted(self.folder.glob("part-*"))]
        self._parts = [_Part(folder, self.layout) for folder in folders]
        self.rows = {
            name: (number << PART_BIT) | row
            for number, part in enumerate(self._parts)
            for row, name in enumerate(part.names)
        }

    def read(self, name: str, rows: Sequence[int]) -> NDArray[Any]:
        """Rows of one file, copied."""
        parts, below = self._parts, (1 << PART_BIT) - 1
        return np.stack([parts[row >> PART_BIT].maps[name][row & below] for row in rows])

    def has(self, name: str) -> bool:
        """Whether the rows of this store have such a part."""
        return name in self.layout.arrays

    def check_space(self, more: int, max_gb: float) -> None:
        """Refuse what would not fit.

        Args:
            more: rows still to be written.
            max_gb: limit of the whole store.

        Raises:
            ConfigError: above the limit, or more than the disk holds.
        """
        new, total = more * self.layout.bytes, (more + len(self.rows)) * self.layout.bytes
        remedy = "allow more, choose fewer --draws, or train with --no-cache"
        if total > max_gb * 1e9:
            raise ConfigError(
                f"trunk cache: {total / 1e9:.2f} GB needed, the limit is {max_gb:g} GB "
                f"(--cache-max-gb); {remedy}"
            )
        free = shutil.disk_usage(self.folder).free
        if new and new + RESERVE_BYTES > free:
            raise ConfigError(
                f"trunk cache: {new / 1e9:.2f} GB more needed at {self.folder}, "
                f"{free / 1e9:.2f} GB are free; choose another --cache-folder, {remedy}"
            )

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep other runs from adding rows; waits while one does.

        Raises:
            ConfigError: the file system cannot lock files.
        """
        with self._open(self.folder / "lock") as lock:
            _lock(lock, wait=True)
            self.refresh()
            yield

    @contextmanager
    def extending(self, number: int = 0, step: int = 1) -> Iterator[RowWriter]:
        """Append rows to a part that no other process writes.

        Args:
            number: of the part; 0 only for the process that has reserved the store. Another part
                that is taken is passed over: a process of a run that was stopped may hold it yet.
            step: how far, so that the processes of one run never want the same.

        Raises:
            ConfigError: it cannot be written.
        """
        with ExitStack() as stack:
            folder = self.folder if not number else self._free_part(number, step, stack)
            writer = RowWriter(_Part(folder, self.layout), self.layout)
            try:
                yield writer
                writer.flush()
            except OSError as e:
                raise ConfigError(f"trunk cache {self.folder}: {e.strerror or e}") from e
            except KeyboardInterrupt:
                writer.flush()
                raise
            finally:
                writer.close()
                self.refresh()

    def _free_part(self, number: int, step: int, stack: ExitStack) -> Path:
        while True:
            folder = self.folder / f"part-{number:04}"
            lock = stack.enter_context(self._open(folder / "lock"))
            if _lock(lock, wait=False):
                return folder
            number += step

    def _open(self, path: Path) -> IO[str]:
        try:
            path.parent.mkdir(exist_ok=True)
            return path.open("a")
        except OSError as e:
            raise ConfigError(f"trunk cache {self.folder}: {e.strerror}") from e

    def _declare(self, origin: dict[str, Any]) -> None:
        path = self.folder / "layout.json"
        if not path.exists():
            partial = path.with_suffix(f".{uuid.uuid4().hex}")  # machines may share a number
            partial.write_text(json.dumps(origin, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(path)


class RowWriter:
    """Appends rows to a part; data first, names once the data is on disk."""

    def __init__(self, part: _Part, layout: Layout) -> None:
        self._layout = layout
        self._files: dict[str, IO[bytes]] = {}
        for name in layout.arrays:
            self._files[name] = (part.folder / name).open("ab")
            self._files[name].truncate(len(part.names) * layout.row_bytes(name))
        self._names = (part.folder / "rows.txt").open("ab")
        self._names.truncate(sum(len(name) + 1 for name in part.names))
        self._waiting: list[str] = []

    def append(self, names: Sequence[str], arrays: dict[str, NDArray[Any]]) -> None:
        """Add rows; `arrays` holds one array for every file, a row each first."""
        for file, (kind, shape) in self._layout.arrays.items():
            data = np.ascontiguousarray(arrays[file], kind)
            if data.shape != (len(names), *shape):
                raise ValueError(f"{file}: rows of {shape} expected, got {data.shape}")
            self._files[file].write(data.tobytes())
        self._waiting += names
        if len(self._waiting) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Bring all rows so far to the disk, then name them."""
        if not self._waiting:
            return
        for stream in self._files.values():
            _sync(stream)
        self._names.write("".join(f"{name}\n" for name in self._waiting).encode("ascii"))
        _sync(self._names)
        self._waiting = []

    def close(self) -> None:
        """Close the files; unnamed rows are lost."""
        for stream in (*self._files.values(), self._names):
            stream.close()


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _lines(path: Path) -> list[str]:
    """Whole lines of a file; none of one that is not there."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].split()


def _size(path: Path) -> int:
    """Bytes of a file; it is opened, so that a network's file system asks for the present size."""
    try:
        with path.open("rb") as stream:
            return os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        return 0


def _lock(stream: IO[str], *, wait: bool) -> bool:
    """Held until the file is closed, or the process ends in whatever way.

    Returns:
        False when another process holds it, and this one was not to wait.

    Raises:
        ConfigError: the file system cannot lock files.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as e:
        if not wait and e.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise ConfigError(
            f"{stream.name}: cannot be locked ({e.strerror}); choose another --cache-folder"
        ) from e
    return True
