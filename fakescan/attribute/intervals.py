"""Bootstrap 95 % intervals of AAF, and of differences on the same images. Torch-free.

Judged images are drawn again within each task, the same ones for every method and order, so that a
difference of two methods has the interval of a paired comparison.

Shapes: S resamples, n images of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.intervals import LEVEL, RESAMPLES, Estimate, draw_counts

Right: TypeAlias = dict[str, list[int]]
"""Task -> 1 for each judged image that was called rightly, else 0; images in one fixed order."""


def interval(rows: Sequence[Mapping[str, list[int]]]) -> Estimate:
    """AAF, averaged over orders.

    Args:
        rows: of each order what was called rightly.
    """
    return _bounds(_value(rows), _resampled(rows))


def difference(
    rows: Sequence[Mapping[str, list[int]]], others: Sequence[Mapping[str, list[int]]]
) -> Estimate:
    """AAF of the first less that of the others, each averaged over its orders."""
    return _bounds(_value(rows) - _value(others), _resampled(rows) - _resampled(others))


def _means(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, NDArray[np.float64]]:
    """Task -> share of orders in which each image was called rightly, (n,)."""
    return {task: np.mean([row[task] for row in rows], axis=0) for task in sorted(rows[0])}


def _value(rows: Sequence[Mapping[str, list[int]]]) -> float:
    return float(np.mean([own.mean() for own in _means(rows).values()]))


def _resampled(rows: Sequence[Mapping[str, list[int]]]) -> NDArray[np.float64]:
    """AAF of every resample, (S,)."""
    found = []
    for number, own in enumerate(_means(rows).values()):
        counts = draw_counts(np.zeros(len(own), np.int_), RESAMPLES, number)  # (S, n)
        found.append(counts @ own / len(own))
    return np.asarray(np.mean(found, axis=0), np.float64)


def _bounds(value: float, resampled: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
