"""Rows on disk: flat files that only grow, and one line of text for every whole row.

    layout.json    what a row is made of, and what made it
    tokens.f16     (rows, N, D), absent where nothing is adapted
    normed.f16     (rows, N, D), only for a split trunk
    features.f32   (rows, F)
    rows.txt       line i names row i; it is written after the row's data has reached the disk

A build that is killed leaves data without lines; the next one cuts it off and goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError

RESERVE_BYTES = 1 << 30
"""Left free on the disk."""
FLUSH_ROWS = 32
"""Rows that a kill may cost."""


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


class RowStore:
    """The files of one trunk. Read by many, extended by one at a time."""

    def __init__(self, folder: Path, layout: Layout, origin: dict[str, Any]) -> None:
        self.folder, self.layout = folder, layout
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._declare(origin)
        except OSError as e:
            raise ConfigError(f"trunk cache {folder}: cannot be written ({e.strerror})") from e
        self.rows: dict[str, int] = {}
        self._maps: dict[str, NDArray[Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what has been written since."""
        lines = self._lines()
        whole = min(self._size(n) // self.layout.row_bytes(n) for n in self.layout.arrays)
        self.rows = {name: i for i, name in enumerate(lines[:whole])}
        self._maps = {
            name: np.memmap(self.folder / name, kind, "r", shape=(len(self.rows), *shape))
            for name, (kind, shape) in self.layout.arrays.items()
            if self.rows
        }

    def read(self, name: str, rows: Sequence[int]) -> NDArray[Any]:
        """Rows of one file, copied."""
        return np.stack([self._maps[name][row] for row in rows])

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
    def extending(self) -> Iterator[RowWriter]:
        """Append rows; waits while another process does."""
        with (self.folder / "lock").open("a") as lock:
            _lock(lock)
            self.refresh()
            writer = RowWriter(self)
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

    def _declare(self, origin: dict[str, Any]) -> None:
        path = self.folder / "layout.json"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(origin, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(path)

    def _lines(self) -> list[str]:
        path = self.folder / "rows.txt"
        text = path.read_text(encoding="ascii") if path.exists() else ""
        return text[: text.rfind("\n") + 1].split()

    def _size(self, name: str) -> int:
        path = self.folder / name
        return path.stat().st_size if path.exists() else 0


class RowWriter:
    """Appends rows to a store; data first, names once the data is on disk."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        done = len(store.rows)
        self._files: dict[str, IO[bytes]] = {}
        for name in store.layout.arrays:
            self._files[name] = (store.folder / name).open("ab")
            self._files[name].truncate(done * store.layout.row_bytes(name))
        self._names = (store.folder / "rows.txt").open("ab")
        self._names.truncate(sum(len(name) + 1 for name in store.rows))
        self._waiting: list[str] = []

    def append(self, names: Sequence[str], arrays: dict[str, NDArray[Any]]) -> None:
        """Add rows; `arrays` holds one array for every file, a row each first."""
        for file, (kind, shape) in self._store.layout.arrays.items():
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


def _lock(stream: IO[str]) -> None:
    """Held until the file is closed, or the process ends in whatever way."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX)
