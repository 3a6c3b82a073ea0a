"""A folder of LoRA files -> an index, or one that is brought up to date.

What has not changed is not read again; what was read is kept even when a run is interrupted, since
sketches are written one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fakescan.errors import ConfigError, LoraIndexError
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
from fakescan.loras.reading import Result, is_whole, read_all
from fakescan.loras.sketch import SIZE, SIZES

WORTH_PROCESSES = 64_000_000
"""Bytes to read from which on other processes are started; each takes as long to start."""

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
        workers: processes that read, where there is enough to read that they pay.
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
    plan = (_planned(c, known, known_bad, index) for c in found)
    new = [c.stamp.size for c in found if _is_new(c, known, known_bad)]
    processes = min(workers, len(new)) if sum(new) >= WORTH_PROCESSES else 1
    for result in read_all(plan, index, before.sketch_size, workers=processes):
        file, read = result.file, read + result.is_new
        entries.append(file) if isinstance(file, Entry) else skipped.append(file)
        progress(len(entries) + len(skipped), len(found))
    after = Contents(before.root, before.sketch_size, tuple(entries), tuple(skipped))
    _finish(index, after)
    gone = known.keys() - {c.path for c in found}
    return Outcome(after, read, len(gone))


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


def _planned(
    candidate: Candidate,
    known: dict[str, Entry],
    known_bad: dict[str, Skipped],
    index: Path,
) -> Candidate | Result:
    """A file that must be read, or what becomes of it as its stamp says."""
    stamp = candidate.stamp
    if candidate.reason is not None:
        return Result(Skipped(candidate.path, stamp.size, stamp.mtime_ns, candidate.reason))
    entry = known.get(candidate.path)
    is_same = entry is not None and Stamp(entry.size, entry.mtime_ns) == stamp
    if entry is not None and is_same and is_whole(sketch_path(index, entry.sha256)):
        return Result(entry)
    old = known_bad.get(candidate.path)
    if old and Stamp(old.size, old.mtime_ns) == stamp:
        return Result(old)
    return candidate


def _is_new(candidate: Candidate, known: dict[str, Entry], known_bad: dict[str, Skipped]) -> bool:
    """Whether nobody knows the file's stamp, so that it will be read."""
    file = known.get(candidate.path) or known_bad.get(candidate.path)
    is_same = file is not None and Stamp(file.size, file.mtime_ns) == candidate.stamp
    return candidate.reason is None and not is_same


def _finish(index: Path, contents: Contents) -> None:
    wanted = {entry.sha256 for entry in contents.entries}
    write_means(index, [sketch_path(index, sha256) for sha256 in sorted(wanted)])
    write_contents(index, contents)
    for path in (index / SKETCHES).iterdir():
        if path.suffix == ".safetensors" and path.stem not in wanted:
            with suppress(OSError):
                path.unlink()
