"""Which images belong together, and a validation split that never parts them.

Images of one source share cameras, subjects, prompts and encoders; a detector validated on
other images of a source it has seen looks better than it is. So whole groups are held out:
sources, else sub-folders, else clusters of near-duplicates, whose estimate is optimistic.
Whatever shares its content (an aligned pair, an image and what was derived from it) is in the
group of the image that it came from, whatever source it is filed under.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import numpy as np

from fakescan.data.duplicates import hash_files, near_duplicates
from fakescan.data.layouts import below_leaf
from fakescan.data.parts import read_ahead
from fakescan.data.samples import Sample, require_both_classes
from fakescan.errors import DatasetError

SOURCE_CAP = 60
"""Images of one source and label count as this many at most."""
TRIALS = 64
"""Random orders tried; the best fit is taken."""
SPREAD = 2
"""Groups of each label that validation should hold, where there are at least twice as many."""
WORSE = 1000.0
"""Cost of a group that is lacking, or of a label held out whole; any misfit is below."""
LABELS = (0, 1)
LAST = "near-duplicates"
"""The kind of groups for want of a better one."""

OPTIMISTIC = (
    "validation holds out near-duplicates only, since the data names no sources: the estimate is "
    "optimistic; add sub-folders or a manifest with the column source"
)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The group of every sample, by key, and what the groups are."""

    groups: dict[str, str]
    kind: str
    """`source`, `sub-folder` or `near-duplicates`."""


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation samples that share no group."""

    train: list[Sample]
    validation: list[Sample]
    is_optimistic: bool
    """True when nothing better than near-duplicates kept the two apart."""
    note: str
    """One line for the person who reads the figures."""


def content_groups(samples: Sequence[Sample]) -> list[int]:
    """Which samples share their content (a pair, an image and what was derived from it), (N,).

    The number of a group is the place of its first sample; most are alone in theirs.
    """
    return _connect(len(samples), _content_links(samples))


def assign_groups(samples: Sequence[Sample]) -> dict[str, str]:
    """Group of every sample, by key."""
    return group(samples).groups


def group(samples: Sequence[Sample]) -> Grouping:
    """Group by source, else sub-folder, else near-duplicates: the first with two for each label."""
    origins = _origins(samples, content_groups(samples))
    counted = _counted(samples)
    for kind, names in (
        ("source", [s.source for s in samples]),
        ("sub-folder", [_folder(s) for s in samples]),
    ):
        groups = {s.key: names[origin] for s, origin in zip(samples, origins, strict=True)}
        if _least_groups(counted, groups) >= SPREAD:
            return Grouping(groups, kind)
    links = [*_content_links(samples), *_duplicate_links(samples)]
    clusters = _connect(len(samples), links)
    return Grouping({s.key: samples[i].key for s, i in zip(samples, clusters, strict=True)}, LAST)


def hold_out(
    samples: Sequence[Sample],
    *,
    fraction: float,
    seed: int,
    sources: tuple[str, ...] | None = None,
) -> Split:
    """Hold out about `fraction` of each label's images, by group.

    Args:
        samples: with distinct keys.
        fraction: of each label's images, a source counting as `SOURCE_CAP` at most; in (0, 1).
        seed: decides among the groups.
        sources: globs of the sources to hold out instead, with all that shares their content.

    Raises:
        DatasetError: no split leaves both labels on both sides, or a source does not exist.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    require_both_classes(samples, "training data")
    if sources is not None:
        held = _named(samples, sources)
        return _split(samples, held, is_optimistic=False, what="source")
    grouping = group(samples)
    chosen = _choose(samples, grouping.groups, fraction, seed)
    held = {key for key, name in grouping.groups.items() if name in chosen}
    is_optimistic = grouping.kind == LAST
    return _split(samples, held, is_optimistic=is_optimistic, what=grouping.kind)


def _split(samples: Sequence[Sample], held: set[str], *, is_optimistic: bool, what: str) -> Split:
    train = [s for s in samples if s.key not in held]
    validation = [s for s in samples if s.key in held]
    for part, name in ((train, "training"), (validation, "validation")):
        if {s.label for s in part} != set(LABELS):
            raise DatasetError(
                f"validation by {what}: {name} would not hold both real and fake images; "
                "add groups or choose other validation sources"
            )
    names = sorted({s.source for s in validation} - {""})
    note = f"validation by {what}: {', '.join(names)}" if names else f"validation by {what}"
    return Split(train, validation, is_optimistic, OPTIMISTIC if is_optimistic else note)


def _content_links(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Places of samples that share a pair, or an image, present or not, that they come from."""
    places: dict[str, int] = {s.key: i for i, s in enumerate(samples)}
    return [
        (i, places.setdefault(name, i))
        for i, s in enumerate(samples)
        for name in (s.derived_from, s.pair)
        if name
    ]


def _duplicate_links(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Places of near-duplicates; images that cannot be read have none."""
    read = read_ahead(samples, lambda s: s.part)
    hashes = hash_files(s.path if data is None else data for s, data in read)
    places = [i for i, value in enumerate(hashes) if value is not None]
    pairs = near_duplicates([value for value in hashes if value is not None])
    return [(places[a], places[b]) for a, b in pairs]


def _connect(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """The lowest place that each place is linked to, directly or not: union-find."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in links:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(i) for i in range(count)]


def _origins(samples: Sequence[Sample], content: Sequence[int]) -> list[int]:
    """Place of the image that each sample's content came from: the one derived from nothing."""
    best: dict[int, int] = {}
    for i, part in enumerate(content):
        held = best.setdefault(part, i)
        if _is_derived(samples[held]) and not _is_derived(samples[i]):
            best[part] = i
    return [best[part] for part in content]


def _is_derived(sample: Sample) -> bool:
    return bool(sample.derived_from or sample.pair)


def _least_groups(samples: Sequence[Sample], groups: dict[str, str]) -> int:
    return min(len({groups[s.key] for s in samples if s.label == label}) for label in LABELS)


def _folder(sample: Sample) -> str:
    return "/".join(below_leaf(PurePosixPath(sample.key).parent.parts))


def _named(samples: Sequence[Sample], patterns: tuple[str, ...]) -> set[str]:
    """Keys of the sources that match, and of all that shares content with them."""
    known = sorted({s.source for s in samples})
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise DatasetError(
                f"validation source {pattern!r}: no such source; known: {', '.join(known)}"
            )
    content = content_groups(samples)
    held = {
        part
        for s, part in zip(samples, content, strict=True)
        if any(fnmatchcase(s.source, pattern) for pattern in patterns)
    }
    return {s.key for s, part in zip(samples, content, strict=True) if part in held}


def _choose(
    samples: Sequence[Sample], groups: dict[str, str], fraction: float, seed: int
) -> set[str]:
    """The groups to hold out: of several random choices, the one nearest to the fraction."""
    weights = _weights(samples, groups)
    names = sorted(weights)
    totals = [sum(w[label] for w in weights.values()) for label in LABELS]
    spread = [_spread(sum(w[label] > 0 for w in weights.values())) for label in LABELS]
    best, least = set[str](), math.inf
    for trial in range(TRIALS):
        order = np.random.default_rng([seed, trial]).permutation(len(names))
        taken: set[str] = set()
        held, count = [0.0, 0.0], [0, 0]
        cost = math.inf
        for name in (names[i] for i in order):
            more = [h + w for h, w in zip(held, weights[name], strict=True)]
            number = [n + (w > 0) for n, w in zip(count, weights[name], strict=True)]
            shares = [m / total for m, total in zip(more, totals, strict=True)]
            lacking = sum(max(s - n, 0) for s, n in zip(spread, number, strict=True))
            new = _misfit(shares, fraction) + WORSE * lacking
            if new < cost:
                taken.add(name)
                held, count, cost = more, number, new
        if cost < least:
            best, least = taken, cost
    return best


def _spread(groups: int) -> int:
    return SPREAD if groups >= 2 * SPREAD else 1


def _misfit(shares: Sequence[float], fraction: float) -> float:
    """How far the held-out shares are from the wanted one; holding out all is worst."""
    whole = sum(share > 1 - 1e-9 for share in shares)
    misfit = sum(abs(share - fraction) for share in shares) / fraction
    return round(misfit, 6) + WORSE * whole  # so that rounding errors do not choose


def _counted(samples: Sequence[Sample]) -> list[Sample]:
    """The images that groups are chosen by, so that those held out tell of unseen generators.

    Aligned pairs follow the images that they were made from, and do not count where there are
    others of their label.
    """
    labels = {s.label for s in samples if not s.pair}
    return [s for s in samples if not (s.pair and s.label in labels)]


def _weights(samples: Sequence[Sample], groups: dict[str, str]) -> dict[str, list[float]]:
    """How many images of each label a group counts as."""
    counted = _counted(samples)
    sizes = Counter((s.source, s.label) for s in counted)
    weights: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for s in counted:
        size = sizes[s.source, s.label]
        weights[groups[s.key]][s.label] += min(size, SOURCE_CAP) / size
    return dict(weights)
