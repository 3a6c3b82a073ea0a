"""Copy or move the files that a scan flagged into one folder, under the paths that they had.

A file that was met in a folder keeps its path below that folder; one that was named keeps its
name. Nothing is ever overwritten: a name that is taken gets a number, `a-1.png`. A copy that is
there already, byte for byte, is not made again.
"""

from __future__ import annotations

import filecmp
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fakescan.errors import ConfigError
from fakescan.places.uri import is_uri
from fakescan.scan.archive import INSIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathering:
    """Where flagged files go."""

    folder: Path
    """Made when it is not there."""
    is_move: bool = False
    """Whether the files leave their place."""
    is_dry_run: bool = False
    """Whether nothing is written, only said."""

    def __post_init__(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: not a folder")


@dataclass(slots=True)
class Gathered:
    """What became of the flagged files."""

    done: int = 0
    """Copied or moved, or would be."""
    kept: int = 0
    """Copies that were there already."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Paths, and why they could not be copied or moved."""


def gather(
    paths: Sequence[str],
    targets: Sequence[str],
    gathering: Gathering,
    told: Callable[[str, Path], None],
) -> Gathered:
    """Copy or move files; one that fails does not stop the others.

    Args:
        paths: of findings.
        targets: of the scan that found them.
        gathering: what to do.
        told: called with source and destination of each file that is, or would be, written.
    """
    tops = sorted((os.path.join(t, "") for t in targets if os.path.isdir(t)), key=len)  # noqa: PTH112, PTH118
    gathered = Gathered()
    taken: set[Path] = set()
    for path in paths:
        try:
            destination = _bring(path, gathering.folder / _below(path, tops), gathering, taken)
        except OSError as e:
            gathered.failed.append((path, e.strerror or str(e)))
            continue
        if destination is None:
            gathered.kept += 1
        else:
            gathered.done += 1
            told(path, destination)
    return gathered


def _below(path: str, tops: Sequence[str]) -> str:
    """The path below the innermost folder that was named; of a file that was named, its name."""
    top = next((top for top in reversed(tops) if path.startswith(top)), None)
    return Path(path).name if top is None else path[len(top) :].lstrip(os.sep)


def _bring(path: str, destination: Path, gathering: Gathering, taken: set[Path]) -> Path | None:
    """Copy or move one file; gives where it is now, or None for a copy that was there."""
    source = Path(path)
    if reason := _obstacle(path, source, gathering):
        raise OSError(reason)
    if not gathering.is_dry_run:
        destination.parent.mkdir(parents=True, exist_ok=True)
    for candidate in _candidates(destination):
        if candidate in taken:
            continue
        try:
            _write(source, candidate, gathering)
        except FileExistsError:
            if not gathering.is_move and _is_same(source, candidate):
                return None
            continue
        taken.add(candidate)
        return candidate
    raise AssertionError("numbers do not end")


def _obstacle(path: str, source: Path, gathering: Gathering) -> str | None:
    """Why an image cannot be copied or moved."""
    if is_uri(path):
        return "it is in a store"
    if not source.exists() and INSIDE in path:
        return "it is inside an archive"
    return "it is a link" if gathering.is_move and source.is_symlink() else None


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in itertools.count(1):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _write(source: Path, destination: Path, gathering: Gathering) -> None:
    if gathering.is_dry_run:
        if os.path.lexists(destination):
            raise FileExistsError
        source.stat()
    elif gathering.is_move:
        _move(source, destination)
    else:
        _copy(source, destination)


def _move(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)  # unlike a rename, never overwrites
    except FileExistsError:
        raise
    except OSError:  # another device, or a file system without links
        _copy(source, destination)
    source.unlink()


def _copy(source: Path, destination: Path) -> None:
    with source.open("rb") as reader, destination.open("xb") as writer:
        try:
            shutil.copyfileobj(reader, writer)
            writer.flush()
        except OSError:
            destination.unlink(missing_ok=True)
            raise
    shutil.copystat(source, destination)


def _is_same(source: Path, destination: Path) -> bool:
    return destination.is_file() and filecmp.cmp(source, destination, shallow=False)
