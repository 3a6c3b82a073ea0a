"""Temperature and threshold from held-out images. NumPy only.

Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, section 4.2
(one temperature), with targets of (n + 1) / (n + 2) as in Platt, "Probabilistic outputs for support
vector machines" (1999): a few images that are all right are no proof of certainty. The threshold is
ours.

Shapes: n held-out images, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fakescan.attribute.answer import probabilities

LOWEST, HIGHEST = 0.05, 20.0
"""Range of temperatures."""
STEPS = 60
"""Of the golden-section search: the last interval is 1e-12 of the first."""
GOLDEN = (5**0.5 - 1) / 2


def temperature(logits: NDArray[np.floating], labels: NDArray[np.int_]) -> float:
    """The temperature with the least mean negative log-likelihood; 1 without images.

    Args:
        logits: (n, C).
        labels: true classes, (n,).
    """
    if not len(labels):
        return 1.0

    count, classes = logits.shape
    wrong = 1 / (count + 2)
    target = np.full(logits.shape, wrong / max(1, classes - 1))
    target[np.arange(count), labels] = 1 - wrong

    def loss(log_value: float) -> float:
        chances = np.maximum(probabilities(logits, float(np.exp(log_value))), 1e-300)
        return float(-(target * np.log(chances)).sum(axis=1).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def unknown_below(
    chances: NDArray[np.float64],
    labels: NDArray[np.int_],
    is_real: NDArray[np.bool_],
    false_unknown: float,
) -> float:
    """The generator score below which that share of known generators' fakes lies; 0 without any.

    Args:
        chances: probabilities of held-out images, (n, C).
        labels: true classes, (n,).
        is_real: (C,).
        false_unknown: share in [0, 1).
    """
    is_called = chances[:, ~is_real].sum(axis=1) >= 0.5  # others are called real, not unknown
    scores = chances[:, ~is_real].max(axis=1)[is_called & ~is_real[labels]]
    if not len(scores) or not false_unknown:
        return 0.0
    return float(np.quantile(scores, false_unknown, method="lower"))
