"""Copies and near-copies among labelled images: within a split, across splits, across labels.

A test image that looks like a training image is remembered, not recognised; an image that is there
as real and as fake teaches nothing. What the data itself declares as related (an aligned pair, an
image and what was derived from it) is told apart from what nobody declared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fakescan.data.duplicates import MAX_BITS, near_duplicates
from fakescan.data.groups import content_groups
from fakescan.data.samples import Sample

CANDIDATES = 8
"""Images of one hash and side that are looked at for one that is not related."""


@dataclass(frozen=True, slots=True)
class Item:
    """A sample with what identifies its bytes and its look."""

    sample: Sample
    sha256: str
    look: int | None
    """Perceptual hash, 64 bits; None for an image without structure."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Two images that show the same picture, so far as a hash can tell."""

    one: Sample
    other: Sample
    bits: int
    """In which their hashes differ, 0 to `MAX_BITS`."""
    is_declared: bool
    """True when the data says that they share content: a pair, or `derived_from`."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Files with the very same bytes."""

    samples: tuple[Sample, ...]
    """At least two, by key."""

    @property
    def spare(self) -> int:
        """Files that could go."""
        return len(self.samples) - 1


@dataclass(frozen=True, slots=True)
class Crossing:
    """Near-duplicates, exact copies too, of which one lies on another side than the other."""

    twins: tuple[Twins, ...]
    """Every image with a twin on another side, with its nearest; each two once."""
    counts: dict[tuple[str, str], int]
    """Two sides -> images of both that have a twin on the other."""

    @property
    def images(self) -> int:
        """Images that have a twin on another side."""
        return len({s.key for t in self.twins for s in (t.one, t.other)})

    @property
    def undeclared(self) -> int:
        """The same, without what the data declares as related."""
        return len({s.key for t in self.twins if not t.is_declared for s in (t.one, t.other)})


@dataclass(frozen=True, slots=True)
class Likeness:
    """All copies and near-copies of a set of images."""

    copies: tuple[Copies, ...]
    across_splits: Crossing
    across_labels: Crossing
    anywhere: tuple[Twins, ...]
    """Every image that has a twin, with its nearest; each two once."""

    @property
    def alike(self) -> int:
        """Images that have a twin anywhere."""
        return len({s.key for t in self.anywhere for s in (t.one, t.other)})


def compare(items: Sequence[Item], max_bits: int = MAX_BITS) -> Likeness:
    """Find copies and near-copies.

    Args:
        items: with distinct keys.
        max_bits: in which the hashes of near-duplicates differ at most.
    """
    hashed = [item for item in items if item.look is not None]
    near = _Near.of(hashed, max_bits)
    samples = [item.sample for item in hashed]
    return Likeness(
        copies=_copies(items),
        across_splits=_crossing(near, samples, lambda s: s.split),
        across_labels=_crossing(near, samples, lambda s: ("real", "fake")[s.label]),
        anywhere=_anywhere(near, samples),
    )


@dataclass(frozen=True, slots=True)
class _Near:
    """Which hashes are near which, and who has them."""

    hashes: list[int]
    """Of every sample."""
    neighbours: dict[int, list[tuple[int, int]]]
    """Hash -> (bits, hash) of itself and of those near it, nearest first."""
    members: dict[int, list[int]]
    """Hash -> places of the samples that have it."""
    content: list[int]
    """Of every sample; equal for those that are declared as related."""

    @classmethod
    def of(cls, items: Sequence[Item], max_bits: int) -> _Near:
        hashes = [item.look for item in items if item.look is not None]
        members: defaultdict[int, list[int]] = defaultdict(list)
        for i, look in enumerate(hashes):
            members[look].append(i)
        distinct = list(members)  # a thousand blank frames are one hash, not a million pairs
        neighbours = {look: [(0, look)] for look in distinct}
        for a, b in near_duplicates(distinct, max_bits=max_bits):
            bits = (distinct[a] ^ distinct[b]).bit_count()
            neighbours[distinct[a]].append((bits, distinct[b]))
            neighbours[distinct[b]].append((bits, distinct[a]))
        for near in neighbours.values():
            near.sort()
        return cls(hashes, neighbours, members, content_groups([item.sample for item in items]))


def _copies(items: Sequence[Item]) -> tuple[Copies, ...]:
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for item in items:
        groups[item.sha256].append(item.sample)
    found = (sorted(group, key=lambda s: s.key) for group in groups.values() if len(group) > 1)
    return tuple(Copies(tuple(group)) for group in sorted(found, key=lambda g: g[0].key))


def _anywhere(near: _Near, samples: Sequence[Sample]) -> tuple[Twins, ...]:
    twins: dict[tuple[int, int], Twins] = {}
    for i, look in enumerate(near.hashes):
        others = (
            (bits, j)
            for bits, other in near.neighbours[look]
            for j in near.members[other][:CANDIDATES]
            if j != i
        )
        if first := next(others, None):
            bits, j = first
            _add(twins, near, samples, (i, j, bits))
    return _ranked(twins)


def _crossing(near: _Near, samples: Sequence[Sample], side_of: Callable[[Sample], str]) -> Crossing:
    sides = [side_of(s) for s in samples]
    known = sorted(set(sides))
    by_side: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for look, places in near.members.items():
        for i in places:
            by_side[look, sides[i]].append(i)
    twins: dict[tuple[int, int], Twins] = {}
    crossed: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i in range(len(samples)):
        others = [side for side in known if side != sides[i]]
        for j, bits in _nearest(i, near, by_side, others):
            _add(twins, near, samples, (i, j, bits))
            one, other = sorted((sides[i], sides[j]))
            crossed[one, other] |= {i, j}
    return Crossing(_ranked(twins), {two: len(crossed[two]) for two in sorted(crossed)})


def _add(
    twins: dict[tuple[int, int], Twins],
    near: _Near,
    samples: Sequence[Sample],
    found: tuple[int, int, int],
) -> None:
    """Keep two places and their bits, whichever of the two was asked about."""
    i, j, bits = found
    low, high = sorted((i, j), key=lambda place: samples[place].key)
    is_declared = near.content[i] == near.content[j]
    twins[low, high] = Twins(samples[low], samples[high], bits, is_declared)


def _ranked(twins: dict[tuple[int, int], Twins]) -> tuple[Twins, ...]:
    """Undeclared ones first, then the nearest."""
    order = sorted(twins.values(), key=lambda t: (t.is_declared, t.bits, t.one.key, t.other.key))
    return tuple(order)


def _nearest(
    i: int,
    near: _Near,
    by_side: dict[tuple[int, str], list[int]],
    others: Sequence[str],
) -> Iterator[tuple[int, int]]:
    """Place and bits of the nearest image of each other side, an undeclared one if there is."""
    for side in others:
        candidates = [
            (near.content[j] == near.content[i], bits, j)
            for bits, look in near.neighbours[near.hashes[i]]
            for j in by_side.get((look, side), ())[:CANDIDATES]
        ]
        if candidates:
            _, bits, j = min(candidates)
            yield j, bits
