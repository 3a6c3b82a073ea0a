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
ROUNDING = 1e-9
"""By which a share may exceed its limit: weights are sums of floats."""


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
    """The weight at or above each distinct score, from the highest score down.

    A weighting that leaves out all fakes, or all reals, has no figure: NaN.
    """

    thresholds: Scores
    """(T,), the distinct scores, falling."""
    fakes: Weights
    """(S, T), non-decreasing; the last one is all fakes."""
    reals: Weights
    """(S, T), non-decreasing; the last one is all reals."""

    @property
    def tpr(self) -> Weights:
        """Share of fakes at or above each score, (S, T)."""
        return _ratio(self.fakes, self.fakes[:, -1:])

    @property
    def fpr(self) -> Weights:
        """Share of reals at or above each score, (S, T)."""
        return _ratio(self.reals, self.reals[:, -1:])

    def auc(self) -> Weights:
        """Area under the ROC curve, (S,)."""
        height = self.fakes - np.diff(self.fakes, prepend=0.0) / 2  # (S, T), middle of each step
        area = (height * np.diff(self.reals, prepend=0.0)).sum(axis=1)  # (S,)
        return _ratio(area, self.fakes[:, -1] * self.reals[:, -1])

    def ap(self) -> Weights:
        """Average precision, (S,)."""
        called = self.fakes + self.reals  # (S, T)
        # A resample may leave out every image of the first steps: nothing called, nothing gained.
        precision = np.divide(self.fakes, called, out=called * 0, where=called > 0)  # NaN stays
        gained = np.diff(self.fakes, prepend=0.0)  # (S, T)
        return _ratio((gained * precision).sum(axis=1), self.fakes[:, -1])

    def one_to_one(self) -> Steps:
        """The same with reals weighted so that they sum to the fakes."""
        factor = _ratio(self.fakes[:, -1:], self.reals[:, -1:])  # (S, 1)
        return Steps(self.thresholds, self.fakes, self.reals * factor)

    def tpr_at_fpr(self, max_fpr: float) -> Weights:
        """Largest share of fakes found with at most `max_fpr` of the reals called fake, (S,)."""
        tpr, fpr = self.tpr, self.fpr
        found = np.where(fpr <= max_fpr + ROUNDING, tpr, 0.0).max(axis=1)  # (S,)
        out: Weights = np.where(np.isnan(tpr[:, -1] + fpr[:, -1]), np.nan, found)
        return out

    def best_balance(self) -> Weights:
        """Highest mean of real and fake accuracy that any threshold gives, (S,): the oracle's."""
        gain: Weights = (self.tpr - self.fpr).max(axis=1)
        out: Weights = (1 + np.maximum(gain, 0.0)) / 2
        return out


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
    return float(ranked(labels, scores, _even(labels)).tpr_at_fpr(max_fpr)[0])


def balanced_accuracy_threshold(labels: Labels, scores: Scores) -> float:
    """Threshold with the highest mean of real and fake accuracy, in the middle of its gap.

    For the paper's protocol: fitted on held-out validation images, never on the images that it
    is reported for. Of equally good gaps the lowest is taken.

    Source: the MoLE paper, "threshold tuned on a held-out validation set".
    """
    steps = ranked(labels, scores, _even(labels))
    distinct = steps.thresholds
    balance = (steps.tpr - steps.fpr)[0]  # (T,)
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
    return float(weighted_ece(labels, probabilities, _even(labels), bins)[0])


def weighted_ece(
    labels: Labels, probabilities: Scores, weights: Weights, bins: int = ECE_BINS
) -> Weights:
    """Expected calibration error of every weighting, (S, N) -> (S,)."""
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)  # (N,)
    is_in = (place[:, None] == np.arange(bins)).astype(np.float64)  # (N, bins)
    gaps = (weights * (probabilities - labels)) @ is_in  # (S, bins)
    return _ratio(np.abs(gaps).sum(axis=1), weights.sum(axis=1))


def weighted_ap(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Average precision of every weighting, (S, N) -> (S,)."""
    return ranked(labels, scores, weights).ap()


def weighted_ap_one_to_one(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Average precision at as many reals as fakes of every weighting, (S, N) -> (S,)."""
    return ranked(labels, scores, weights).one_to_one().ap()


def weighted_auc(labels: Labels, scores: Scores, weights: Weights) -> Weights:
    """Area under the ROC curve of every weighting, (S, N) -> (S,)."""
    return ranked(labels, scores, weights).auc()


def even_classes(labels: Labels, weights: Weights) -> Weights:
    """The weightings with reals scaled so that they sum to the fakes, (S, N); NaN without."""
    fakes, reals = (weights[:, labels == label].sum(axis=1, keepdims=True) for label in (1, 0))
    factor = _ratio(fakes, reals)  # (S, 1)
    out: Weights = np.where(labels == 1, weights, weights * factor)
    return out


def ranked(labels: Labels, scores: Scores, weights: Weights) -> Steps:
    """The steps that every ranking figure is read off.

    Args:
        labels: 0 or 1, (N,), both present.
        scores: (N,), finite.
        weights: S weightings, (S, N), not negative.
    """
    _check(labels, scores, weights)
    order = np.argsort(-scores, kind="stable")  # (N,)
    falling = scores[order]
    last = np.append(np.nonzero(np.diff(falling))[0], len(falling) - 1)  # (T,), end of each tie
    drawn = weights[:, order]
    fakes, reals = drawn * labels[order], drawn * (1 - labels[order])
    return Steps(falling[last], fakes.cumsum(axis=1)[:, last], reals.cumsum(axis=1)[:, last])


def _ratio(part: Weights, whole: Weights) -> Weights:
    """NaN where there is nothing to divide by."""
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


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
