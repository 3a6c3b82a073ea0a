"""How formats, sizes and JPEG qualities spread over the two classes."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fakescan.check.files import Facts

SIDES = (129, 257, 513, 1025)
"""Where ranges of shorter sides begin, in pixels."""
QUALITIES = (70, 80, 90, 95)
"""Where ranges of JPEG qualities begin."""
COMMON = 6
"""Exact sizes that are listed; others are one row."""
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of file: how many of either class are of it."""

    name: str
    reals: int
    fakes: int


@dataclass(frozen=True, slots=True)
class ShareTable:
    """All files by one property."""

    title: str
    rows: tuple[Row, ...]

    @property
    def imbalance(self) -> float:
        """Half the sum of differences between the classes' shares, 0 (alike) to 1 (disjoint).

        Whoever sees only this property, and as many reals as fakes, can call (1 + imbalance) / 2
        of them rightly. Without reals, or without fakes, it says nothing.
        """
        return sum(abs(real - fake) for _, real, fake in self.shares()) / 2

    def shares(self) -> list[tuple[str, float, float]]:
        """Name, share of the reals and share of the fakes of every row."""
        reals, fakes = sum(r.reals for r in self.rows), sum(r.fakes for r in self.rows)
        return [(r.name, r.reals / max(1, reals), r.fakes / max(1, fakes)) for r in self.rows]


def share_tables(labels: Sequence[int], facts: Sequence[Facts]) -> tuple[ShareTable, ...]:
    """A table for each property.

    Args:
        labels: 0 or 1, (N,).
        facts: of the same files.
    """
    formats = [f.format for f in facts]
    sizes = [f"{f.width}x{f.height}" for f in facts]
    common = _by_number(sizes)[:COMMON]
    sides = [_range_of(min(f.width, f.height), SIDES) for f in facts]
    qualities = [_quality(f) for f in facts]
    return (
        _table("format", labels, formats, _by_number(formats)),
        _table("shorter side, px", labels, sides, _ranges(SIDES)),
        _table("size, px", labels, [s if s in common else OTHER for s in sizes], [*common, OTHER]),
        _table("JPEG quality", labels, qualities, [*_ranges(QUALITIES), "no JPEG"]),
    )


def _table(
    title: str, labels: Sequence[int], kinds: Sequence[str], order: Sequence[str]
) -> ShareTable:
    """Count; kinds in this order, those that do not occur left out."""
    counts = Counter(zip(labels, kinds, strict=True))
    present = set(kinds)
    rows = (Row(kind, counts[0, kind], counts[1, kind]) for kind in order if kind in present)
    return ShareTable(title, tuple(rows))


def _by_number(kinds: Sequence[str]) -> list[str]:
    """The commonest first."""
    return [kind for kind, _ in sorted(Counter(kinds).items(), key=lambda n: (-n[1], n[0]))]


def _quality(facts: Facts) -> str:
    quality = facts.jpeg_quality
    return "no JPEG" if quality is None else _range_of(round(quality), QUALITIES)


def _range_of(value: int, starts: Sequence[int]) -> str:
    return _ranges(starts)[bisect(starts, value)]


def _ranges(starts: Sequence[int]) -> list[str]:
    """Names of the ranges that whole numbers fall into."""
    inner = [f"{a} to {b - 1}" for a, b in pairwise(starts)]
    return [f"below {starts[0]}", *inner, f"{starts[-1]} and more"]
