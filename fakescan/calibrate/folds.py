"""Cross-fitting: every image judged by a fit that saw no image of its group.

Figures of the images that a threshold was fitted on flatter it. So the groups (sources, else
sub-folders, else near-duplicates) are dealt into folds; calibration and thresholds are fitted on
all folds but one, and that one is judged by them. What is shipped is fitted on all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.calibrate.fit import Floats, Method, Targets, fit_band, fit_calibration
from fakescan.evaluate.intervals import Estimate, bounded, resample
from fakescan.evaluate.metrics import ECE_BINS
from fakescan.records import Band, Calibration, Verdict

FOLDS = 5
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How one calibration and one band do; fractions with 95 % intervals over images."""

    ece: Estimate
    """Expected calibration error, as if there were as many reals as fakes."""
    called_fake: Estimate
    """Share of the reals called fake."""
    found: Estimate
    """Share of the fakes called fake."""
    missed: Estimate
    """Share of the fakes called real."""
    uncertain_reals: Estimate
    """Share of the reals."""
    uncertain_fakes: Estimate
    """Share of the fakes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores and verdicts of all images."""

    scores: Floats
    """(N,)"""
    verdicts: tuple[Verdict, ...]


def fit(
    logits: Floats, labels: Labels, method: Method, targets: Targets
) -> tuple[Calibration, Band]:
    """Calibration and thresholds, every image of a class counting alike."""
    even = np.ones(len(labels))
    calibration = fit_calibration(logits, labels, even, method)
    scores = _scores(calibration, logits)
    return calibration, fit_band(scores, labels, even, targets)


def judge(logits: Floats, calibration: Calibration, band: Band) -> Judged:
    """What one calibration and band say of all images."""
    scores = _scores(calibration, logits)
    return Judged(scores, tuple(band.verdict(float(s)) for s in scores))


def cross_fit(
    logits: Floats, labels: Labels, folds: NDArray[np.int64], method: Method, targets: Targets
) -> Judged:
    """What the fits on the other folds say of each fold's images."""
    scores = np.zeros(len(logits))
    verdicts = [Verdict.UNCERTAIN] * len(logits)
    for fold in np.unique(folds):
        (places,) = np.nonzero(folds == fold)
        others = folds != fold
        calibration, band = fit(logits[others], labels[others], method, targets)
        judged = judge(logits[places], calibration, band)
        scores[places] = judged.scores
        for place, verdict in zip(places.tolist(), judged.verdicts, strict=True):
            verdicts[place] = verdict
    return Judged(scores, tuple(verdicts))


def deal(labels: Labels, groups: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of every image, (N,): whole groups, both classes spread as evenly as they allow.

    Groups are dealt from the largest down, each to the fold that has least of its classes. With
    two groups of each class and three folds or more, no fold ever holds all of a class, so that
    the others always can be fitted on.

    Raises:
        ValueError: a class has one group only.
    """
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.stack([np.bincount(place[labels == c], minlength=len(names)) for c in (0, 1)])
    if (counts > 0).sum(axis=1).min() < 2:
        raise ValueError("cross-fitting needs two groups of each class")
    shares = counts / counts.sum(axis=1, keepdims=True)  # (2, groups)
    load = np.zeros((2, folds))
    dealt = np.zeros(len(names), np.int64)
    for g in np.lexsort((names, -shares.max(axis=0))):
        own = shares[:, g] > 0
        after = load[own] + shares[own, g][:, None]  # (classes of the group, folds)
        cost = after.max(axis=0) + 10.0 * (after > 1 - 1e-9).any(axis=0)
        dealt[g] = int(np.argmin(cost))
        load[:, dealt[g]] += shares[:, g]
    return dealt[place]


def figures(labels: Labels, judged: Judged) -> Figures:
    """How good scores and verdicts are."""
    weights = np.vstack([np.ones((1, len(labels))), resample(labels)])  # (1 + S, N)
    verdicts = np.array([v.value for v in judged.verdicts])

    def share(label: int, verdict: Verdict) -> Estimate:
        own = weights[:, labels == label]
        values = own @ (verdicts[labels == label] == verdict.value) / own.sum(axis=1)
        return bounded(float(values[0]), values[1:])

    ece = _even_ece(labels, judged.scores, weights)
    return Figures(
        ece=bounded(float(ece[0]), ece[1:]),
        called_fake=share(0, Verdict.FAKE),
        found=share(1, Verdict.FAKE),
        missed=share(1, Verdict.REAL),
        uncertain_reals=share(0, Verdict.UNCERTAIN),
        uncertain_fakes=share(1, Verdict.UNCERTAIN),
    )


def _even_ece(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """`metrics.ece` with both classes weighing one half, for every weighting, (S, N) -> (S,)."""
    counts = np.bincount(labels, minlength=2)
    even = weights * (0.5 / counts)[labels]
    place = np.minimum((scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)  # (N,)
    is_in = (place[:, None] == np.arange(ECE_BINS)).astype(np.float64)  # (N, bins)
    gaps: Floats = np.abs((even * (scores - labels)) @ is_in).sum(axis=1)
    return gaps


def _scores(calibration: Calibration, logits: Floats) -> Floats:
    return np.array([calibration.score(float(x)) for x in logits])
