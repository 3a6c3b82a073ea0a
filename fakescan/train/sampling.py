"""What one epoch sees, and in which order: a pure function of the samples, the seed and the epoch.

A unit is one image, or one aligned pair: both members, always in the same batch, drawn alike. A
real with fakes of several kinds is in a unit with each of them.
Units are drawn with weights: both classes weigh the same, sources within a class too, except
that a source counts for no more than `source_cap` images; all pairs together weigh `pair_weight`
times the rest. Pairs and classes are spread evenly, so that every batch is alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Unit:
    """Indices of the samples that stay together: one image, or a real and its fake."""

    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strata:
    """The units by kind, with what each weighs within its kind; weights sum to 1."""

    units: tuple[list[Unit], ...]
    """Real images, fake images, aligned pairs."""
    weights: tuple[NDArray[np.float64], ...]
    pair_share: float
    """Share of pairs among the units of an epoch."""

    @property
    def size(self) -> int:
        """Units in all, which is also the length of an epoch."""
        return sum(map(len, self.units))


def stratify(
    samples: Sequence[Sample], chosen: Sequence[int], source_cap: int, pair_weight: float
) -> Strata:
    """Group samples into weighted units.

    Args:
        samples: all.
        chosen: indices of those to train on.
        source_cap: images that one source counts for at most.
        pair_weight: of all pairs together, over that of all other images.

    Raises:
        DatasetError: one of the classes has no image.
    """
    pairs, singles = _split_pairs(samples, chosen)
    reals = [i for i in singles if samples[i].label == 0]
    fakes = [i for i in singles if samples[i].label == 1]
    if not reals or not fakes:
        if not pairs:
            missing = "fake" if reals else "real"
            raise DatasetError(f"training data: no {missing} image; both classes are needed")
        reals, fakes = [], []  # one class alone would tilt the balance; the pairs hold both
    has_both = bool(reals and pairs)
    per_image = pair_weight / 2 if has_both else float(bool(pairs))  # a pair is two images
    share = per_image / (1 + per_image) if has_both else per_image
    return Strata(
        units=([Unit((i,)) for i in reals], [Unit((i,)) for i in fakes], pairs),
        weights=(
            _capped(reals, samples, source_cap),
            _capped(fakes, samples, source_cap),
            np.full(len(pairs), 1 / max(1, len(pairs))),
        ),
        pair_share=share,
    )


def image_weights(samples: Sequence[Sample], strata: Strata) -> NDArray[np.float64]:
    """What each sample weighs in the long run of epochs, (S,), summing to 1."""
    weights = np.zeros(len(samples))
    share = strata.pair_share
    for kind, total in enumerate(((1 - share) / 2, (1 - share) / 2, share)):
        for unit, weight in zip(strata.units[kind], strata.weights[kind], strict=True):
            weights[list(unit.samples)] += total * weight
    weights /= weights.sum()
    return weights


def source_weights(samples: Sequence[Sample], source_cap: int) -> NDArray[np.float64]:
    """Classes and capped sources weighed alike, pairs like other images, (S,), summing to 1."""
    weights = np.zeros(len(samples))
    for label in (0, 1):
        chosen = [i for i, s in enumerate(samples) if s.label == label]
        weights[chosen] = _capped(chosen, samples, source_cap)
    weights /= max(weights.sum(), 1e-12)
    return weights


def epoch_order(strata: Strata, seed: int, epoch: int) -> list[Unit]:
    """All units of one epoch, in order."""
    rng = np.random.default_rng([seed, epoch])
    total = strata.size
    spread = np.floor(np.arange(total + 1) * strata.pair_share)
    is_pair = np.diff(spread) > 0  # (total,)
    kinds = np.where(is_pair, 2, (np.cumsum(~is_pair) - 1) % 2)
    queues = [
        _systematic(weights, int((kinds == kind).sum()), rng)
        for kind, weights in enumerate(strata.weights)
    ]
    positions = [iter(queue) for queue in queues]
    return [strata.units[kind][next(positions[kind])] for kind in kinds]


def batches(order: Sequence[Unit], batch_size: int) -> list[list[Unit]]:
    """Cut an epoch into steps of nearly equal size, none above `batch_size`."""
    steps = -(-len(order) // batch_size)
    edges = [len(order) * i // steps for i in range(steps + 1)]
    return [list(order[a:b]) for a, b in pairwise(edges)]


def turn(views: Sequence[int], epoch: int, unit: Unit) -> int:
    """Whose turn it is: every epoch mixes all views, and over epochs a unit shows each of them."""
    return views[(epoch + unit.samples[0]) % len(views)]


def share_of(units: Sequence[Unit], rank: int, world: int, parts: int) -> list[list[Unit]]:
    """The units of a step that one process computes, in `parts` parts; parts may be empty."""
    own = list(units[rank::world])
    return [own[part::parts] for part in range(parts)]


def _split_pairs(samples: Sequence[Sample], chosen: Sequence[int]) -> tuple[list[Unit], list[int]]:
    """Units of whole pairs, and the indices of all images that are not of a pair.

    A lone member of a pair is in neither: without its twin it would teach what is in the picture.
    """
    members: defaultdict[str, list[int]] = defaultdict(list)
    singles: list[int] = []
    for i in chosen:
        if samples[i].pair:
            members[samples[i].pair].append(i)
        else:
            singles.append(i)
    whole = [
        Unit((real, fake))
        for found in members.values()
        for real in found
        for fake in found
        if samples[real].label == 0 and samples[fake].label == 1
    ]
    return whole, singles


def _capped(
    indices: Sequence[int], samples: Sequence[Sample], source_cap: int
) -> NDArray[np.float64]:
    counts = Counter(samples[i].source for i in indices)
    raw = [min(counts[samples[i].source], source_cap) / counts[samples[i].source] for i in indices]
    weights = np.asarray(raw, np.float64)
    weights /= max(weights.sum(), 1e-12)
    return weights


def _systematic(
    weights: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` indices; index i occurs floor or ceil of count * weights[i] times; shuffled.

    The order before counting is shuffled too, so that which of two alike units is left out of
    an epoch is independent of their neighbours.
    """
    if not count:
        return np.zeros(0, np.int64)
    shuffled = rng.permutation(len(weights))
    edges = np.cumsum(weights[shuffled])
    points = (rng.random() + np.arange(count)) / count * edges[-1]
    chosen = shuffled[np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1)]
    return rng.permutation(chosen)
