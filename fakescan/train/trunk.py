"""Crops -> what the frozen blocks give, in the form that the cache stores.

On the CPU every image goes through the trunk alone: matrix kernels may round differently for
other batch sizes, and a row of the cache must not depend on its neighbours.

Shapes: B images, N tokens, D width, S image side, F features that the head reads.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakescan.image import Preprocess, normalise
from fakescan.model.detector import DetectorModel, Trunk
from fakescan.model.head import level_vector
from fakescan.train.settings import Precision

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Rows(NamedTuple):
    """What one or more draws leave behind."""

    tokens: Tensor | None
    """(B, N, D), see `Trunk.tokens`."""
    normed: Tensor | None
    """(B, N, D), see `Trunk.normed`."""
    features: Tensor
    """(B, F) float32: what the head would read if no expert had been trained; only its frozen
    first part, where no more was asked for."""


class Maker(Protocol):
    """Turns crops into trunks."""

    preprocess: Preprocess
    device: torch.device

    @property
    def frozen_levels(self) -> int:
        """How many of the features nothing that is trained can change."""
        ...

    def make(self, crops: NDArray[np.uint8], *, whole: bool = True) -> Rows:
        """(B, S, S, 3) RGB bytes -> rows on the model's device; `whole`: all features."""
        ...

    def trunk(self, rows: Rows) -> Trunk:
        """Rows as what is trained takes them, float32."""
        ...


class TrunkMaker:
    """The frozen part of a detector, from crops."""

    def __init__(
        self,
        model: DetectorModel,
        preprocess: Preprocess,
        *,
        split: bool = False,
        rounds: bool = True,
        precision: Precision = "fp32",
    ) -> None:
        self.model = model
        self.preprocess = preprocess
        self.split = split and model.can_split
        self.rounds = rounds
        self.precision = precision
        self.device = next(model.parameters()).device

    @property
    def frozen_levels(self) -> int:
        """How many of the features lie below the first adapted block."""
        return frozen_width(self.model)

    @torch.no_grad()
    def make(self, crops: NDArray[np.uint8], *, whole: bool = True) -> Rows:
        """(B, S, S, 3) -> rows on the model's device.

        Args:
            crops: RGB bytes.
            whole: go on through the blocks that will be adapted, for all features.
        """
        pixels = torch.from_numpy(normalise(crops, self.preprocess)).to(self.device)
        if self.device.type != "cpu":
            return self._make(pixels, whole)
        parts = [self._make(pixels[i : i + 1], whole) for i in range(len(pixels))]
        return Rows(
            _joined([part.tokens for part in parts]),
            _joined([part.normed for part in parts]),
            torch.cat([part.features for part in parts]),
        )

    def trunk(self, rows: Rows) -> Trunk:
        """Rows as the detector's tail takes them, float32."""
        return Trunk(
            None if rows.tokens is None else rows.tokens.float(),
            None if rows.normed is None else rows.normed.float(),
            rows.features[:, : self.frozen_levels],
        )

    def _make(self, pixels: Tensor, whole: bool) -> Rows:
        with autocast(self.device, self.precision):
            trunk = self.model.trunk(pixels, split=self.split)
        kept = [None if x is None else x.half() if self.rounds else x.float() for x in trunk[:2]]
        rows = Rows(kept[0], kept[1], trunk.levels.float())
        if not whole:
            return rows
        with autocast(self.device, self.precision):
            features = frozen_features(self.model, self.trunk(rows))
        return Rows(kept[0], kept[1], features.float())


def frozen_width(model: DetectorModel) -> int:
    """How many of the head's features no expert can change."""
    if not model.experts:
        return len(model.head.weight)
    below = [k for k in model.config.levels if k < model.first_adapted]
    return 2 * model.tower.config.width * len(below)


@torch.no_grad()
def frozen_features(model: DetectorModel, trunk: Trunk) -> Tensor:
    """What the head would read without experts, (B, F), from the trunk on."""
    features, tokens = [trunk.levels], trunk.tokens
    if tokens is None:
        return trunk.levels
    for number in range(model.first_adapted, model.depth + 1):
        if trunk.normed is None or number > model.first_adapted:
            tokens = model.tower.blocks[number - 1](tokens)
        if number in model.config.levels:
            features.append(level_vector(tokens))
    if model.config.head == "final":
        features.append(model.tower.project(tokens).float())
    return torch.cat(features, dim=-1)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a part of that precision is computed."""
    dtype = DTYPES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
