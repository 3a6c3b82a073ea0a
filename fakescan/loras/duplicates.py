"""Files that hold the same update: copies, and copies in another dialect, rank, scale or basis.

Sketches of the same update are the same but for rounding, so they name the candidates; factors
decide, where the files are still there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fakescan.loras.collection import Collection, Member
from fakescan.loras.exact import layers
from fakescan.loras.kernel import similarities
from fakescan.loras.matrix import compare_all

THRESHOLD = 0.999
MARGIN = 0.02
"""How far below the threshold a sketch's estimate is still looked at exactly."""


class Likeness(StrEnum):
    """In what two files agree."""

    BYTES = "same bytes"
    UPDATE = "same update"


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of a group of copies."""

    group: int
    """From 1."""
    member: Member
    likeness: Likeness | None
    """To the first file of the group; None for that one."""
    raw: float
    """Kernel with it: 1 for the same update."""
    coverage: float
    """Modules shared with it, over all modules of both."""
    strength: float
    """Norm over that of the first: 2 for a copy of twice the strength."""
    is_exact: bool


def duplicates(
    collection: Collection, *, threshold: float = THRESHOLD, is_exact: bool = True
) -> list[Copy]:
    """Find groups of copies, in order of their first paths.

    Args:
        collection: the index.
        threshold: of the kernel; files with a higher one are called the same update.
        is_exact: let factors decide; else sketches do.

    Raises:
        LoraError: a file that looks unchanged cannot be used.
    """
    members = sorted(collection.members(), key=lambda m: m.path)
    if not members:
        return []
    found = compare_all(collection, members, is_exact=False)
    first, second = np.nonzero(np.triu(found.raw > threshold - MARGIN, 1))
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    exact = _exact(collection, members, pairs) if is_exact else {}
    values = {pair: exact.get(pair, float(found.raw[pair])) for pair in pairs}
    same = [pair for pair, value in values.items() if value > threshold]
    copies = []
    for number, group in enumerate(_connected(same, len(members)), 1):
        for place in group:
            pair = (group[0], place)
            raw = 1.0 if place == group[0] else values.get(pair, float(found.raw[pair]))
            coverage = float(found.coverage[pair])
            copies.append(
                _copy(number, members[group[0]], members[place], raw, coverage, pair in exact)
            )
    return copies


def _copy(
    number: int, first: Member, member: Member, raw: float, coverage: float, is_exact: bool
) -> Copy:
    likeness = None
    is_same_content = member.entry.sha256 == first.entry.sha256
    if member is not first:
        likeness = Likeness.BYTES if is_same_content else Likeness.UPDATE
    norm = first.sketch.summary.norm
    strength = member.sketch.summary.norm / norm if norm else float("nan")
    return Copy(number, member, likeness, raw, coverage, strength, is_exact or is_same_content)


def _exact(
    collection: Collection, members: Sequence[Member], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Exact kernels of the pairs whose files are both there; one content is 1 without a look."""
    values: dict[tuple[int, int], float] = {}
    open_pairs = []
    for pair in pairs:
        if members[pair[0]].entry.sha256 == members[pair[1]].entry.sha256:
            values[pair] = 1.0
        elif all(collection.is_there(members[place].entry) for place in pair):
            open_pairs.append(pair)
    for group in _connected(open_pairs, len(members)):
        inside = [pair for pair in open_pairs if pair[0] in group]
        values |= _exact_group(collection, members, group, inside)
    return values


def _exact_group(
    collection: Collection,
    members: Sequence[Member],
    group: Sequence[int],
    pairs: Sequence[tuple[int, int]],
) -> dict[tuple[int, int], float]:
    place_of = {place: number for number, place in enumerate(group)}
    total = np.zeros((len(group), len(group)))
    shared = np.zeros_like(total)
    for layer in layers([collection.place(members[place].entry) for place in group]):
        inside = np.ix_(layer.members, layer.members)
        total[inside] += similarities(layer.spectra)
        shared[inside] += 1
    mean = total / np.maximum(shared, 1)
    return {pair: float(mean[place_of[pair[0]], place_of[pair[1]]]) for pair in pairs}


def _connected(pairs: Sequence[tuple[int, int]], count: int) -> Iterator[list[int]]:
    """Yield groups of places that pairs connect, each in order, by their first."""
    leader = list(range(count))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for place in sorted({place for pair in pairs for place in pair}):
        groups.setdefault(find(place), []).append(place)
    yield from groups.values()
