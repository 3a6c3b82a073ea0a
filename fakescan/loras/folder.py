"""The files below a folder that may be LoRA files, in order of their paths.

Links to folders are not followed, nor links that lead out of the folder; nothing is opened here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fakescan.loras.read import MAX_FILE_BYTES, PICKLES, SUFFIX, Stamp


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file that is met."""

    path: str
    """Below the folder, with forward slashes."""
    place: Path
    stamp: Stamp
    reason: str | None = None
    """Why it is not to be opened."""


def candidates(root: Path, *, leave_out: Path) -> Iterator[Candidate]:
    """Yield safetensors files, and pickles with the reason why they are left out.

    Args:
        root: the folder.
        leave_out: a folder below it that is not entered: the index.
    """
    hidden = leave_out.resolve()
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(n for n in folders if n[0] != "." and (here / n).resolve() != hidden)
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if name[0] != "." and (suffix == SUFFIX or suffix in PICKLES):
                yield _candidate(root, here / name)


def _candidate(root: Path, place: Path) -> Candidate:
    path = place.relative_to(root).as_posix()
    try:
        status = place.stat()
        is_inside = place.resolve().is_relative_to(root)
    except OSError as e:
        return Candidate(path, place, Stamp(0, 0), f"cannot be read ({e.strerror})")
    stamp = Stamp(status.st_size, status.st_mtime_ns)
    reason = None
    if place.suffix.lower() in PICKLES:
        reason = f"may be a pickle, which can run code; convert it to {SUFFIX}"
    elif not is_inside:
        reason = "link out of the folder"
    elif not stat.S_ISREG(status.st_mode):
        reason = "not a regular file"
    elif status.st_size > MAX_FILE_BYTES:
        reason = f"{status.st_size} bytes; at most {MAX_FILE_BYTES} are read"
    return Candidate(path, place, stamp, reason)
