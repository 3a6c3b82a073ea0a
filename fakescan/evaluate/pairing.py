"""Which fakes are measured together, and against which reals.

A row is a generator, or a source of fakes. It meets the reals that `Pairing` names, or by default
those that lie nearest in the layout, for each source of its fakes:

    the reals of the same source            <generator>/{0_real,1_fake}, aligned pairs
    else those of the nearest folder above  <set>/{real,<generator>,...}
    else all reals
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from fakescan.data.samples import Sample, require_both_classes, shuffled
from fakescan.errors import ConfigError, DatasetError

By = Literal["generator", "source"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Which reals a source of fakes is compared with."""

    pairs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Glob of fake sources -> globs of real sources; the first glob that matches counts."""
    others: tuple[str, ...] = ("*",)
    """Globs of the reals for fakes that none of `pairs` matches."""

    def __post_init__(self) -> None:
        for fakes, reals in self.pairs.items():
            if isinstance(reals, str) or not all(isinstance(glob, str) for glob in reals):
                raise ConfigError(f"pairs: {fakes!r} needs a list of globs of real sources")

    def reals_of(self, source: str) -> Sequence[str]:
        """Globs of the real sources that this source of fakes is compared with."""
        for fakes, reals in self.pairs.items():
            if fnmatchcase(source, fakes):
                return reals
        return self.others


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One row to be: some fakes and the reals that they meet."""

    name: str
    family: str
    """Of the generator; its own name where the data name none."""
    fakes: tuple[Sample, ...]
    reals: tuple[Sample, ...]


def compare(
    samples: Sequence[Sample], *, by: By = "source", pairing: Pairing | None = None
) -> tuple[Comparison, ...]:
    """The comparisons of these samples, by name.

    Args:
        samples: reals and fakes.
        by: what a row is; a fake without a generator counts for its source.
        pairing: which reals a source of fakes meets; None: those nearest in the layout.

    Raises:
        DatasetError: no reals, no fakes, or a pairing that leaves a row without reals.
    """
    require_both_classes(samples, "evaluation data")
    reals: dict[str, list[Sample]] = {}
    rows: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.label:
            rows.setdefault(row_name(sample, by), []).append(sample)
        else:
            reals.setdefault(sample.source, []).append(sample)
    return tuple(_comparison(name, rows[name], reals, pairing) for name in sorted(rows))


def row_name(fake: Sample, by: By) -> str:
    """The row that a fake counts for."""
    named = fake.generator if by == "generator" else ""
    return named or fake.source or "fakes"


def limited(
    comparisons: Iterable[Comparison], samples: Iterable[Sample], limit: int, seed: int
) -> list[Sample]:
    """At most `limit` fakes and as many reals of each comparison, sorted by key.

    Reals that no comparison needs stay up to that number for each source. A hash decides, so that
    a smaller choice lies inside a larger one and rows that share their reals share the chosen.
    """
    kept: dict[str, Sample] = {}
    met: set[str] = set()
    for row in comparisons:
        met.update(s.key for s in row.reals)
        for part in (row.fakes, row.reals):
            kept.update((s.key, s) for s in shuffled(part, seed)[:limit])
    others: dict[str, list[Sample]] = {}
    for sample in samples:
        if not sample.label and sample.key not in met:
            others.setdefault(sample.source, []).append(sample)
    for rest in others.values():
        kept.update((s.key, s) for s in shuffled(rest, seed)[:limit])
    return [kept[key] for key in sorted(kept)]


def _comparison(
    name: str, fakes: list[Sample], reals: Mapping[str, list[Sample]], pairing: Pairing | None
) -> Comparison:
    chosen: set[str] = set()
    for source in sorted({s.source for s in fakes}):
        found = _nearest(source, reals) if pairing is None else _paired(source, reals, pairing)
        chosen.update(found)
    family = Counter(s.family for s in fakes).most_common(1)[0][0]
    met = tuple(s for source in sorted(chosen) for s in reals[source])
    return Comparison(name=name, family=family or name, fakes=tuple(fakes), reals=met)


def _nearest(source: str, reals: Mapping[str, list[Sample]]) -> list[str]:
    parts = source.split("/")
    for count in range(len(parts), 0, -1):
        if (folder := "/".join(parts[:count])) in reals:
            return [folder]
    return list(reals)


def _paired(source: str, reals: Mapping[str, list[Sample]], pairing: Pairing) -> list[str]:
    globs = pairing.reals_of(source)
    found = [name for name in reals if any(fnmatchcase(name, glob) for glob in globs)]
    if not found:
        raise DatasetError(f"{source}: no real image of {', '.join(globs)} to compare with")
    return found
