"""Metrics of labels and scores; fake (1) is the positive class, high scores say fake.

Everything that ranks is read off the same steps: the distinct scores from high to low, and the
weight of fakes (true positives) and of reals (false positives) at or above each. Ties are one
step, so no order among them is favoured.

Shapes: N images, T distinct scores; S weightings at once (bootstrap resamples). Weightings share
one sort, which is what makes a thousand resamples cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int_]
Scores = NDArray[np.float64]
Weights = NDArray[np.float64]

ECE_BINS = 15
"""As Guo et al., "On calibration of modern neural networks", arXiv 1706.04599."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What one generator's images give; fractions in [0, 1]."""

    ap: float
    auc: float
    acc: float
    """Of all images, called rightly."""
    real_acc: float
    fake_acc: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Steps:
    """The weight at or above each distinct score, from the highest score down."""

    fakes: Weights
    """(S, T), non-decreasing; the last one is all fakes."""
    reals: Weights
    """(S, T), non-decreasing; the last one is all reals."""


def evaluate(labels: Labels, scores: Scores, threshold: float) -> Metrics:
    """Score one generator. An image is called fake at `score >= threshold`.

    Args:
        labels: 0 or 1, (N,), both present.
        scores: (N,), finite.
        threshold: fixed in advance; never fitted on the data it is reported for.
    """
    right = (scores >= threshold) == (labels == 1)  # (N,)
    return Metrics(
        ap=average_precision(labels, scores),
        auc=roc_auc(labels, scores),
        acc=float(right.mean()),
        real_acc=float(right[labels == 0].mean()),
        fake_acc=float(right[labels == 1].mean()),
        threshold=threshold,
    )


def average_precision(labels: Labels, scores: Scores) -> float:
    """Area under the precision-recall steps; ties in score count as one step.

    Args:
        labels: 0 or 1, (N,), both present.
        scores: (N,), finite.
    """
    return float(weighted_ap(labels, scores, _even(labels))[0])


def ap_one_to_one(labels: Labels, scores: Scores) -> float:
    """Average precision as if there were as many reals as fakes: reals weighted to that sum."""
    return float(weighted_ap_one_to_one(labels, scores, _even(labels))[0])


def roc_auc(labels: Labels, scores: Scores) -> float:
    """Chance that a fake scores above a real, ties counting half."""
    return float(weighted_auc(labels, scores, _even(labels))[0])


def tpr_at_fpr(labels: Labels, scores: Scores, max_fpr: float) -> float:
    """Largest share of fakes found with at most `max_fpr` of the reals called fake."""
    steps = _steps(labels, scores, _even(labels))
    is_allowed = steps.reals[0] <= max_fpr * steps.reals[0, -1]  # (T,)
    return float(np.max(steps.fakes[0] / steps.fakes[0, -1], where=is_allowed, initial=0.0))


def balanced_accuracy_threshold(labels: Labels, scores: Scores) -> float:
    """Threshold with the highest mean of real and fake accuracy, in the middle of its gap.

    For the paper's protocol: fitted on held-out validation images, never on the images that it
    is reported for. Of equally good gaps the lowest is taken.

    Source: the MoLE paper, "threshold tuned on a held-out validation set".
    """
    steps = _steps(labels, scores, _even(labels))
    distinct = np.unique(scores)[::-1]  # (T,), as in `steps`
    balance = steps.fakes[0] / steps.fakes[0, -1] - steps.reals[0] / steps.reals[0, -1]  # (T,)
    best = len(balance) - 1 - int(np.argmax(balance[::-1]))
    if best + 1 == len(distinct):  # all called fake: there is nothing below
        return float(distinct[best])
    return float((distinct[best] + distinct[best + 1]) / 2)


def ece(labels: Labels, probabilities: Scores, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean gap between the share of fakes and their probability.

    Args:
        labels: 0 or 1, (N,).
        probabilities: of fake, (N,), in [0, 1].
        bins: of equal width; each counts by its images.
    """
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)  # (N,)
    gaps = np.bincount(place, weights=probabilities - labels, minlength=bins)  # (bins,)
    return float(np.abs(gaps).sum() / len(labels))


def weighted_ap(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Average precision of every weighting, (S, N) -> (S,)."""
    return _ap(_steps(labels, scores, weights))


def weighted_ap_one_to_one(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Average precision at as many reals as fakes of every weighting, (S, N) -> (S,)."""
    steps = _steps(labels, scores, weights)
    factor = steps.fakes[:, -1:] / steps.reals[:, -1:]  # (S, 1)
    return _ap(Steps(steps.fakes, steps.reals * factor))


def weighted_auc(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Area under the ROC curve of every weighting, (S, N) -> (S,)."""
    steps = _steps(labels, scores, weights)
    height = steps.fakes - np.diff(steps.fakes, prepend=0.0) / 2  # (S, T), middle of each step
    area = (height * np.diff(steps.reals, prepend=0.0)).sum(axis=1)  # (S,)
    out: Weights = area / (steps.fakes[:, -1] * steps.reals[:, -1])
    return out


def _ap(steps: Steps) -> Weights:
    called = steps.fakes + steps.reals  # (S, T)
    # A resample may leave out every image of the first steps: nothing is called, nothing gained.
    precision = np.divide(steps.fakes, called, out=np.zeros_like(called), where=called > 0)
    gained = np.diff(steps.fakes, prepend=0.0)  # (S, T)
    out: Weights = (gained * precision).sum(axis=1) / steps.fakes[:, -1]
    return out


def _steps(labels: Labels, scores: Scores, weights: Weights) -> Steps:
    _check(labels, scores, weights)
    order = np.argsort(-scores, kind="stable")  # (N,)
    ranked = scores[order]
    last = np.append(np.nonzero(np.diff(ranked))[0], len(ranked) - 1)  # (T,), end of each tie
    fakes, reals = weights[:, order] * labels[order], weights[:, order] * (1 - labels[order])
    return Steps(fakes.cumsum(axis=1)[:, last], reals.cumsum(axis=1)[:, last])


def _check(labels: Labels, scores: Scores, weights: Weights) -> None:
    if labels.shape != scores.shape or labels.ndim != 1 or weights.shape[1:] != labels.shape:
        raise ValueError(
            f"labels and scores must be (N,) and weights (S, N), "
            f"got {labels.shape}, {scores.shape} and {weights.shape}"
        )
    if set(np.unique(labels).tolist()) != {0, 1}:
        raise ValueError("labels must be 0 and 1, both present")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")


def _even(labels: Labels) -> Weights:
    return np.ones((1, len(labels)))
