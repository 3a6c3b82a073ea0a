"""Bootstrap 95 % intervals: how far a figure may move with other images of the same kind.

Images are drawn again within each stratum, by default within each label, so that every resample
has as many reals and fakes as the data. Percentiles of the resampled figures bound the interval.
A figure at its limit (AUC 1, none called fake) gets an interval of no width: too few images to
tell, not certainty. Average precision gains from images that are drawn twice, so its interval
lies somewhat high when there are few; that of AUC does not.

Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapters 13 and 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.metrics import Labels, Scores, Weights

RESAMPLES = 1000
LEVEL = 0.95

Statistic = Callable[[Labels, Scores, Weights], Weights]
"""Labels (N,), scores (N,) and S weightings (S, N) -> (S,), as `metrics.weighted_auc`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """False where there was nothing to measure."""
        return not math.isnan(self.value)


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
"""A figure that these data do not give."""


def resample(strata: NDArray[np.int_], *, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each image is drawn in each resample, (S, N); every stratum keeps its size.

    Args:
        strata: the stratum of each image, (N,).
        resamples: S.
        seed: the same seed gives the same draws.
    """
    return draw_counts(strata, resamples, seed).astype(np.float64)


def draw_counts(strata: NDArray[np.int_], resamples: int, seed: int) -> NDArray[np.uint16]:
    """The same as whole numbers, which take a quarter of the memory."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((resamples, len(strata)), np.uint16)
    for stratum in np.unique(strata):
        (places,) = np.nonzero(strata == stratum)
        size = len(places)
        counts[:, places] = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    return counts


def estimate(
    labels: Labels,
    scores: Scores,
    statistic: Statistic,
    *,
    weights: Weights | None = None,
    seed: int = 0,
) -> Estimate:
    """A figure with its interval.

    Args:
        labels: 0 or 1, (N,).
        scores: (N,).
        statistic: such as `metrics.weighted_auc`.
        weights: resamples to use, (S, N); else drawn within each label.
        seed: of that draw.
    """
    drawn = resample(labels, seed=seed) if weights is None else weights
    value = statistic(labels, scores, np.ones((1, len(labels))))[0]
    return bounded(float(value), statistic(labels, scores, drawn))


def estimate_difference(
    labels: Labels, scores: Scores, others: Scores, statistic: Statistic, *, seed: int = 0
) -> Estimate:
    """How much better `scores` are than `others` on the same images, with its interval.

    Both are resampled alike, so that what the images do to both cancels.
    """
    drawn = resample(labels, seed=seed)
    even = np.ones((1, len(labels)))
    value = statistic(labels, scores, even)[0] - statistic(labels, others, even)[0]
    moved = statistic(labels, scores, drawn) - statistic(labels, others, drawn)
    return bounded(float(value), moved)


def bounded(value: float, resampled: Weights) -> Estimate:
    """A figure with the percentiles of its resampled values, (S,).

    A resample that left out a whole class has no value (NaN) and does not count.
    """
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(known):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
