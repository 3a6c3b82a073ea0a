"""The figures of one row under every weighting of its images, before intervals are made of them.

Shapes: N images of the table, n of the row, S resamples and the data as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.drawn import Drawn
from fakescan.evaluate.metrics import (
    Labels,
    Scores,
    Weights,
    even_classes,
    ranked,
    weighted_ece,
)
from fakescan.records import Band, Calibration, Verdict

LOWEST, LOW = 0.01, 0.05
"""False positive rates at which the share of fakes found is stated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """What a detector makes of its logits; None where it does not say."""

    scores: Scores
    """What thresholds are compared with, (N,)."""
    is_probability: bool
    """Scores are calibrated probabilities of fake, in [0, 1]."""
    is_fake: NDArray[np.bool_] | None = None
    """Called fake, (N,)."""
    is_uncertain: NDArray[np.bool_] | None = None
    """Between the two thresholds, (N,)."""

    @classmethod
    def by_band(cls, logits: Scores, calibration: Calibration, band: Band) -> Called:
        """As a scan calls them."""
        scores = [calibration.score(x) for x in logits.tolist()]
        verdicts = np.array([band.verdict(score).value for score in scores], dtype=object)
        return cls(
            scores=np.array(scores, dtype=np.float64),
            is_probability=True,
            is_fake=verdicts == Verdict.FAKE.value,
            is_uncertain=verdicts == Verdict.UNCERTAIN.value,
        )

    @classmethod
    def by_threshold(
        cls, scores: Scores, threshold: float | None, *, is_probability: bool
    ) -> Called:
        """As one threshold calls them, nothing uncertain; without one there are no verdicts."""
        is_fake = None if threshold is None else scores >= threshold
        return cls(scores=scores, is_probability=is_probability, is_fake=is_fake)


@dataclass(frozen=True, slots=True)
class RowScores:
    """All that rows are cut from."""

    labels: Labels
    """(N,)."""
    logits: Scores
    """(N,)."""
    called: Called
    drawn: Drawn

    def share(self, is_so: NDArray[np.bool_], places: NDArray[np.int_]) -> Weights:
        """Share of the images at these places that are so, (1 + S,); NaN if none was drawn."""
        parts = []
        for block in range(self.drawn.blocks):
            weights = self.drawn.weights(block, places)
            total = weights.sum(axis=1)
            part = np.full(len(total), np.nan)
            np.divide((weights * is_so[places]).sum(axis=1), total, out=part, where=total > 0)
            parts.append(part)
        return np.concatenate(parts)


def figures_of(scores: RowScores, places: NDArray[np.int_]) -> dict[str, Weights]:
    """Each figure of the images at these places under each weighting, (1 + S,).

    Args:
        scores: of all images.
        places: of the row's images, (n,), of both labels.
    """
    blocks = [_ranking(scores, places, block) for block in range(scores.drawn.blocks)]
    found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return {**found, **_verdicts(scores, places)}


def ece_of_all(scores: RowScores) -> Weights | None:
    """Expected calibration error over all images, (1 + S,); None without probabilities."""
    if not scores.called.is_probability:
        return None
    places = np.arange(len(scores.labels))
    return np.concatenate([_ece(scores, places, block) for block in range(scores.drawn.blocks)])


def _ranking(scores: RowScores, places: NDArray[np.int_], block: int) -> dict[str, Weights]:
    labels, logits = scores.labels[places], scores.logits[places]
    weights = scores.drawn.weights(block, places)
    steps = ranked(labels, logits, weights)
    found = {
        "auc": steps.auc(),
        "ap": steps.one_to_one().ap(),
        "ap_unbalanced": steps.ap(),
        "tpr_at_1": steps.tpr_at_fpr(LOWEST),
        "tpr_at_5": steps.tpr_at_fpr(LOW),
        "oracle_acc": steps.best_balance(),
    }
    if scores.called.is_probability:
        found["ece"] = _ece(scores, places, block)
    return found


def _ece(scores: RowScores, places: NDArray[np.int_], block: int) -> Weights:
    labels, probabilities = scores.labels[places], scores.called.scores[places]
    even = even_classes(labels, scores.drawn.weights(block, places))
    return weighted_ece(labels, probabilities, even)


def _verdicts(scores: RowScores, places: NDArray[np.int_]) -> dict[str, Weights]:
    labels, called, found = scores.labels[places], scores.called, {}
    fakes, reals = places[labels == 1], places[labels == 0]
    if called.is_fake is not None:
        found["fake_acc"] = scores.share(called.is_fake, fakes)
        found["real_acc"] = scores.share(~called.is_fake, reals)
        found["acc"] = (found["fake_acc"] + found["real_acc"]) / 2
    if called.is_uncertain is not None:
        shares = [scores.share(called.is_uncertain, part) for part in (fakes, reals)]
        found["uncertain"] = (shares[0] + shares[1]) / 2
    return found
