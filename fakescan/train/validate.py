"""Validation: the current weights on held-out sources, and the figures that are kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.evaluate.metrics import weighted_auc
from fakescan.model.detector import DetectorModel
from fakescan.train.sampling import source_weights
from fakescan.train.settings import Monitor, Precision, TrainConfig
from fakescan.train.trunk import autocast
from fakescan.train.trunks import Draw, Trunks, chunks
from fakescan.train.views import CENTRE

BATCH = 32


@dataclass(frozen=True, slots=True)
class Validation:
    """What the held-out sources say of one state of the weights."""

    loss: float
    """BCE, classes and capped sources weighed alike."""
    auc: float
    """Over all images that are not pairs (all, where there are only pairs), sources capped."""
    balanced_accuracy: float
    """At logit 0."""
    pair_auc: float | None
    """Over the aligned pairs."""

    def figure(self, monitor: Monitor) -> tuple[float, float]:
        """What is compared between states, higher better; ties go to the lower loss."""
        if monitor == "loss":
            return 0.0, -self.loss
        if monitor == "auc" or self.pair_auc is None:
            return self.auc, -self.loss
        return (self.auc + self.pair_auc) / 2, -self.loss


def main_samples(samples: Sequence[Sample], held_out: Sequence[int]) -> list[int]:
    """Held-out samples that are no pairs; all of them where those would lack a class."""
    singles = [i for i in held_out if not samples[i].pair]
    return singles if len({samples[i].label for i in singles}) == 2 else list(held_out)


def squares(crops: int) -> tuple[int, ...]:
    """Draw numbers of the squares that a scan would cut, the middle first."""
    return tuple(CENTRE - k for k in range(crops))


class Validator:
    """Scores the held-out samples."""

    def __init__(
        self,
        trunks: Trunks,
        samples: Sequence[Sample],
        held_out: Sequence[int],
        *,
        config: TrainConfig,
        crops: int,
    ) -> None:
        """Prepare the draws.

        Args:
            trunks: gives every held-out draw.
            samples: all.
            held_out: indices of those to score.
            config: says which views judge, how sources are capped and in which precision;
                calibration is always fp32.
            crops: squares that a scan would cut.
        """
        self.trunks, self.precision = trunks, config.precision
        self.main = main_samples(samples, held_out)
        self.crops = crops
        self.draws: list[Draw] = [
            (i, number) for number in config.validation_views for i in held_out
        ]
        chosen = [samples[i] for i, _ in self.draws]
        self.labels = np.array([s.label for s in chosen], np.int64)
        self.is_pair = np.array([bool(s.pair) for s in chosen])
        self.weights = source_weights(chosen, config.source_cap)
        self.is_main = np.isin([i for i, _ in self.draws], self.main)

    def __call__(self, model: DetectorModel) -> Validation:
        """Figures of the model's present weights."""
        logits = self.logits(model, self.draws, self.precision)
        losses = np.logaddexp(0, logits) - self.labels * logits
        return Validation(
            loss=float((self.weights * losses).sum()),
            auc=self._auc(logits, self.is_main),
            balanced_accuracy=_balanced_accuracy(self.labels[self.is_main], logits[self.is_main]),
            pair_auc=self._auc(logits, self.is_pair) if self.is_pair.any() else None,
        )

    def as_scanned(self, model: DetectorModel) -> NDArray[np.float64]:
        """Logits of `main`, each the mean over the squares that a scan would cut, fp32, (n,)."""
        draws = [(i, number) for i in self.main for number in squares(self.crops)]
        found = self.logits(model, draws, "fp32").reshape(len(self.main), self.crops)
        means: NDArray[np.float64] = found.mean(axis=1)
        return means

    @torch.no_grad()
    def logits(
        self, model: DetectorModel, draws: Sequence[Draw], precision: Precision
    ) -> NDArray[np.float64]:
        """(n,), in the order of the draws."""
        device = next(model.parameters()).device
        found = []
        for trunk in self.trunks.stream(chunks(draws, BATCH)):
            with autocast(device, precision):
                found.append(model.tail(trunk).logit.double().cpu().numpy())
        return np.concatenate(found)

    def _auc(self, logits: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
        weights = self.weights[chosen][None]  # (1, n)
        return float(weighted_auc(self.labels[chosen], logits[chosen], weights)[0])


def _balanced_accuracy(labels: NDArray[np.int64], logits: NDArray[np.float64]) -> float:
    right = (logits >= 0) == (labels == 1)
    return float((right[labels == 0].mean() + right[labels == 1].mean()) / 2)
