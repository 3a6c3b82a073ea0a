"""How well file properties alone tell real from fake: each alone, and all together.

Together: the share of fakes among the nearest other files, nearness measured on the ranks of all
properties. An AUC far above 0.5 says that a network can learn size, format or compression instead
of what generators leave in pixels. A forest fitted on one collection and tried on another is
the stricter check.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.data.properties import NAMES, properties
from fakescan.data.samples import Sample, require_both_classes
from fakescan.errors import ImageError
from fakescan.evaluate.intervals import Estimate, estimate
from fakescan.evaluate.metrics import Labels, Scores, weighted_auc

NEIGHBOURS = 15
"""Of fewer than twice as many files, half are asked: all of them would say nothing."""
PER_LABEL = 2000
"""Reals and fakes that are enough for the AUC; its time grows with their square."""


@dataclass(frozen=True, slots=True)
class PropertyRow:
    """One property: its mean in either class, and the AUC of its values."""

    name: str
    real_mean: float
    fake_mean: float
    auc: float
    """Of the better direction, so from 0.5 up."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What file properties give away."""

    reals: int
    fakes: int
    rows: tuple[PropertyRow, ...]
    """Strongest first; properties that never differ are left out."""
    together: Estimate
    unreadable: tuple[tuple[str, str], ...]
    """Key and reason."""


def audit(samples: Iterable[Sample]) -> Audit:
    """Read the properties of every file and say how far they separate the classes.

    Raises:
        DatasetError: no real or no fake can be read.
    """
    kept: list[Sample] = []
    vectors: list[NDArray[np.float64]] = []
    unreadable: list[tuple[str, str]] = []
    for sample in samples:
        try:
            vectors.append(properties(sample.path))
            kept.append(sample)
        except ImageError as e:
            unreadable.append((sample.key, str(e)))
    return audit_properties(kept, vectors, tuple(unreadable))


def audit_properties(
    samples: Sequence[Sample],
    vectors: Sequence[NDArray[np.float64]],
    unreadable: tuple[tuple[str, str], ...] = (),
) -> Audit:
    """Say how far properties that have been read separate the classes.

    Args:
        samples: N of them.
        vectors: the properties of each, (P,).
        unreadable: key and reason of others, passed on.

    Raises:
        DatasetError: no real or no fake.
    """
    require_both_classes(samples, "readable images")
    labels = np.array([s.label for s in samples], dtype=np.int64)  # (N,)
    values = np.stack(vectors)  # (N, P)
    together = estimate(labels, nearest_fakes(labels, values), weighted_auc)
    fakes = int(labels.sum())
    return Audit(len(samples) - fakes, fakes, _rows(labels, values), together, unreadable)


def nearest_fakes(labels: Labels, values: NDArray[np.float64]) -> Scores:
    """Share of fakes among the nearest other files of each, classes counting alike.

    Files at the distance of the last neighbour all count, so that order decides nothing.

    Args:
        labels: 0 or 1, (N,).
        values: (N, P).
    """
    places = np.stack([ranks(column) for column in values.T], axis=1)  # (N, P)
    counts = np.bincount(labels, minlength=2)
    nth = min(NEIGHBOURS, max(1, len(labels) // 2)) - 1
    scores = np.zeros(len(labels))
    for i, place in enumerate(places):
        distance = np.abs(places - place).sum(axis=1)  # (N,)
        distance[i] = np.inf
        is_near = distance <= np.partition(distance, nth)[nth] + 1e-9
        others = counts - np.bincount(labels[[i]], minlength=2)
        share = np.bincount(labels[is_near], minlength=2) / np.maximum(others, 1)
        scores[i] = share[1] / share.sum()
    return np.round(scores, 9)


def ranks(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks in [0, 1], equal values in the middle of their places, (N,)."""
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = ((ends - counts / 2) / len(column))[place]
    return ranks


def _rows(labels: Labels, values: NDArray[np.float64]) -> tuple[PropertyRow, ...]:
    rows = []
    for name, column in zip(NAMES, values.T, strict=True):
        if np.ptp(column) == 0:
            continue
        auc = float(weighted_auc(labels, column, np.ones((1, len(labels))))[0])
        real_mean, fake_mean = (float(column[labels == label].mean()) for label in (0, 1))
        rows.append(PropertyRow(name, real_mean, fake_mean, max(auc, 1 - auc)))
    return tuple(sorted(rows, key=lambda row: (-row.auc, row.name)))
