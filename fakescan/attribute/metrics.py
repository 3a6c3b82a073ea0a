"""How well generators are attributed while they are learnt one after another. NumPy only.

    multi-real accuracy   every class of reals counts as one; a fake's class must be right
    R[i, j]               accuracy on the images of task i after task j was learnt
    AAF                   mean_i R[i, T-1], final average accuracy
    AA                    mean_j mean_{i<=j} R[i, j], average over the whole sequence
    BWT                   mean_{i<T-1} R[i, T-1] - R[i, i]; forgetting is -BWT

Source: LoRAX, arXiv 2504.08149, section 4; the binary figures: CDDB (Li et al., "A Continual
Deepfake Detection Benchmark", arXiv 2205.05467, section 4).

Shapes: n images, C classes, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.metrics import average_precision

Classes = NDArray[np.int_]


def multi_real_accuracy(labels: Classes, predicted: Classes, is_real: NDArray[np.bool_]) -> float:
    """Share of right answers, all reals being one class.

    Args:
        labels: true class of each image, (n,), at least one.
        predicted: class of each image as called, (n,).
        is_real: which classes are reals, (C,).
    """
    return float(is_right(labels, predicted, is_real).mean())


def is_right(labels: Classes, predicted: Classes, is_real: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which answers `multi_real_accuracy` counts as right, (n,)."""
    both_real = is_real[labels] & is_real[predicted]
    return np.asarray(both_real | (labels == predicted), np.bool_)


def binary_accuracy(labels: Classes, predicted: Classes, is_real: NDArray[np.bool_]) -> float:
    """Share of images whose called class is as real or fake as the true one."""
    return float((is_real[labels] == is_real[predicted]).mean())


def fake_scores(
    probabilities: NDArray[np.float64], is_real: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """CDDB's score of fake, (n,): best fake / (best fake + best real).

    Args:
        probabilities: (n, C).
        is_real: (C,), both kinds present.
    """
    fake = probabilities[:, ~is_real].max(axis=1)
    real = probabilities[:, is_real].max(axis=1)
    return np.asarray(fake / (fake + real), np.float64)


def mean_average_precision(
    labels: Sequence[Classes],
    probabilities: Sequence[NDArray[np.float64]],
    is_real: NDArray[np.bool_],
) -> float:
    """CDDB's mAP: the AP of `fake_scores` on each task's images, averaged over tasks.

    Args:
        labels: true classes by task, (n,) each, reals and fakes in every one.
        probabilities: by task, (n, C) each.
        is_real: (C,).
    """
    found = []
    for own, chances in zip(labels, probabilities, strict=True):
        scores = fake_scores(chances, is_real)
        truth = (~is_real[own]).astype(np.int_)
        found.append(average_precision(truth, scores))
    return float(np.mean(found))


@dataclass(frozen=True, slots=True)
class Sequential:
    """The figures of a sequence of tasks, fractions in [0, 1]."""

    accuracies: NDArray[np.float64]
    """R, (T, T); what lies below the diagonal, a task before it was learnt, is not looked at."""

    def __post_init__(self) -> None:
        if self.accuracies.ndim != 2 or len(set(self.accuracies.shape)) != 1:
            raise ValueError(f"R must be square, got {self.accuracies.shape}")

    @property
    def final(self) -> float:
        """AAF."""
        return float(self.accuracies[:, -1].mean())

    @property
    def average(self) -> float:
        """AA."""
        tasks = len(self.accuracies)
        return float(np.mean([self.accuracies[: j + 1, j].mean() for j in range(tasks)]))

    @property
    def transfer(self) -> float:
        """BWT; NaN for a single task."""
        if len(self.accuracies) < 2:
            return float("nan")
        return float((self.accuracies[:-1, -1] - np.diag(self.accuracies)[:-1]).mean())

    @property
    def forgetting(self) -> float:
        """-BWT."""
        return -self.transfer


def confusion(labels: Classes, predicted: Classes, classes: int) -> NDArray[np.int_]:
    """How often each class was called each, (C, C); rows are true."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)
