"""Logits and labels -> calibration and the two thresholds. NumPy only.

    minimise  sum_i w_i BCE(sigmoid(a l_i + b), t_i)   over a > 0 and b

with both classes weighing one half and t Platt's smoothed targets, (n+ + 1) / (n+ + 2) and
1 / (n- + 2), which keep a finite where the classes do not overlap. `temperature` fits a alone,
with b = 0.

    t_fake   smallest score with at most 2 % of the reals called fake, unless told otherwise
    t_real   largest score with at most 5 % of the fakes called real, never above t_fake

Source: Platt (1999); Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError
from fakescan.records import Band, Calibration

Floats = NDArray[np.float64]
Method = Literal["platt", "temperature"]

MIN_SLOPE = 1e-3
"""Where the logits do not rise with the label: all scores end near one half."""
NEWTON_STEPS = 100
ROUNDING = 1e-9
"""By which a share may exceed its limit: weights are sums of floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What the two thresholds are fitted to."""

    max_false_positives: float = 0.02
    """Share of the reals that may be called fake."""
    max_misses: float = 0.05
    """Share of the fakes that may be called real."""

    def __post_init__(self) -> None:
        for name in ("max_false_positives", "max_misses"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} lies in [0, 1), got {getattr(self, name)}")


def fit_calibration(
    logits: Floats, labels: NDArray[np.int64], weights: Floats, method: Method = "platt"
) -> Calibration:
    """Fit slope and intercept by maximum likelihood.

    Args:
        logits: (n,).
        labels: (n,), 0 real, 1 fake; both present.
        weights: (n,); only their proportions within a class count.
        method: whether the intercept is fitted as well.
    """
    weights = _halved(labels, weights)
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    is_platt = method == "platt"
    spread = float(logits.std()) or 1.0
    middle = float(weights @ logits) if is_platt else 0.0
    shifted = (logits - middle) / spread
    design = np.stack([shifted, np.full_like(shifted, is_platt)], axis=1)  # (n, 2)
    theta = _newton(design, targets, weights)
    slope = float(theta[0]) / spread
    if slope < MIN_SLOPE:
        slope, theta = MIN_SLOPE, np.zeros(2)
    return Calibration(slope=slope, intercept=float(theta[1]) - slope * middle)


def fit_band(
    scores: Floats, labels: NDArray[np.int64], weights: Floats, targets: Targets | None = None
) -> Band:
    """Both thresholds, each one of the scores (or above all of them).

    Args:
        scores: (n,), calibrated, in [0, 1].
        labels: (n,), both present.
        weights: (n,).
        targets: what they keep to on these scores.
    """
    targets = targets or Targets()
    weights = _halved(labels, weights) * 2  # each class sums to 1
    distinct = np.unique(scores)
    candidates = np.append(distinct, (float(distinct[-1]) + 1) / 2)
    reals, fakes = (_below(distinct, scores, weights * (labels == c)) for c in (0, 1))
    false_positives, misses = reals[-1] - reals, fakes  # of calling fake from each candidate on
    t_fake = float(candidates[false_positives <= targets.max_false_positives + ROUNDING].min())
    t_real = float(candidates[misses <= targets.max_misses + ROUNDING].max())
    return Band(t_fake=t_fake, t_real=min(t_real, t_fake))


def _below(distinct: Floats, scores: Floats, weights: Floats) -> Floats:
    """Weight of the images below each distinct score, and of all, (d + 1,)."""
    sums = np.bincount(np.searchsorted(distinct, scores), weights, len(distinct))
    return np.concatenate([[0.0], np.cumsum(sums)])


def _halved(labels: NDArray[np.int64], weights: Floats) -> Floats:
    """The same proportions, each class summing to one half."""
    out = np.empty_like(weights)
    for label in (0, 1):
        chosen = labels == label
        if not chosen.any():
            raise ValueError("calibration needs both classes")
        out[chosen] = weights[chosen] / weights[chosen].sum() / 2
    return out


def _newton(design: Floats, targets: Floats, weights: Floats) -> Floats:
    """Damped Newton steps on the convex loss, from slope 1."""
    theta = np.array([1.0, 0.0])
    loss = _loss(design @ theta, targets, weights)
    for _ in range(NEWTON_STEPS):
        p = _sigmoid(design @ theta)
        gradient = design.T @ (weights * (p - targets))
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + 1e-10 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10:
            tried = theta - size * step
            new = _loss(design @ tried, targets, weights)
            if new <= loss:
                break
            size /= 2
        else:
            break
        theta, gain, loss = tried, loss - new, new
        if gain < 1e-14:
            break
    return theta


def _loss(z: Floats, targets: Floats, weights: Floats) -> float:
    return float((weights * (np.logaddexp(0, z) - targets * z)).sum())


def _sigmoid(z: Floats) -> Floats:
    out: Floats = np.exp(-np.logaddexp(0, -z))
    return out
