"""What is kept of old images: which ones, in which order, and how they come back.

One line of the index is one exemplar. Each class keeps its first floor(M / C) in herding order, a
share of them from the images that its adapter never saw, so that later fits can be judged fairly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.bundle import COPIED
from fakescan.attribute.herding import herd, quota
from fakescan.config import from_dict, to_dict
from fakescan.errors import AttributorError, ConfigError

SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exemplar:
    """One image of an old class."""

    label: int
    """Its class."""
    path: str
    """Where the file was; with mode `copies`, below the bundle's folder."""
    sha256: str
    """Of the file."""
    is_held_out: bool
    """Adapters never see it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What exemplars are chosen among: old ones in their order, then new images."""

    labels: NDArray[np.int_]
    """(n,)"""
    held_out: NDArray[np.bool_]
    """(n,)"""
    features: NDArray[np.floating]
    """(n, F), what herding compares."""
    old: int
    """How many of them are exemplars already."""


def choose(candidates: Candidates, classes: int, memory: int, held_out: float) -> list[int]:
    """Which candidates stay, class by class, best first.

    Args:
        candidates: of all classes.
        classes: C.
        memory: M.
        held_out: share of a class's places for images that its adapter never saw.
    """
    each = quota(memory, classes)
    chosen: list[int] = []
    for label in range(classes):
        pools = [
            _ordered(candidates, np.flatnonzero((candidates.labels == label) & is_kind))
            for is_kind in (~candidates.held_out, candidates.held_out)
        ]
        unseen = min(len(pools[1]), round(held_out * each), max(0, each - 1))
        seen = min(len(pools[0]), each - unseen)
        unseen = min(len(pools[1]), each - seen)
        chosen += pools[0][:seen] + pools[1][:unseen]
    return chosen


def _ordered(candidates: Candidates, places: NDArray[np.int_]) -> list[int]:
    """Old exemplars keep their order; new images come in herding order."""
    old = [int(i) for i in places if i < candidates.old]
    new = [int(i) for i in places if i >= candidates.old]
    return old + [new[i] for i in herd(candidates.features[new], len(new))]


def index_text(exemplars: Sequence[Exemplar]) -> bytes:
    """A line of JSON each."""
    return "".join(json.dumps(to_dict(e), sort_keys=True) + "\n" for e in exemplars).encode()


def read_index(data: bytes, where: str, classes: int) -> list[Exemplar]:
    """What `index_text` wrote.

    Raises:
        AttributorError: not such lines, or of a class that is not known.
    """
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        try:
            exemplar = from_dict(Exemplar, json.loads(line), f"{where}, line {number}")
        except (ValueError, ConfigError, TypeError, AttributeError) as e:
            raise AttributorError(f"{where}, line {number}: not an exemplar") from e
        if not 0 <= exemplar.label < classes:
            raise AttributorError(f"{where}, line {number}: class {exemplar.label} is not known")
        found.append(exemplar)
    return found


def copy_name(path: Path, sha256: str) -> str:
    """Where the copy of an image lies, below the bundle's folder."""
    suffix = path.suffix if SUFFIX.fullmatch(path.suffix) else ""
    return f"copies/{sha256}{suffix}"


def locate(exemplar: Exemplar, folder: Path, *, is_copied: bool) -> Path:
    """The file of an exemplar.

    Raises:
        AttributorError: a copy that would lie elsewhere than among the copies.
    """
    if not is_copied:
        return Path(exemplar.path)
    if not COPIED.fullmatch(exemplar.path):
        raise AttributorError(f"{folder}: its memory names {exemplar.path!r}, which is no copy")
    return folder / exemplar.path


def is_unchanged(path: Path, sha256: str) -> bool:
    """Whether a file is still the image that was chosen."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False
