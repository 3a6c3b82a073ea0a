"""A training run's checkpoint as a scorer, so that it can be evaluated before it is exported."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.errors import ConfigError
from fakescan.export.run import read_run
from fakescan.image import normalise
from fakescan.metadata import DetectorMetadata
from fakescan.model.checkpoint import CHECKPOINT
from fakescan.session import Device


class RunScorer:
    """The detector of a run folder, in torch, float32 arithmetic.

    Shapes: B images, S side of the square input.
    """

    def __init__(self, folder: Path, *, device: Device = "auto") -> None:
        """Put the detector together.

        Args:
            folder: that `fakescan train` wrote.
            device: `auto` takes the GPU when there is one.

        Raises:
            ConfigError: no finished run, or `device` is `cuda` and torch sees no GPU.
            WeightsError: a checkpoint or backbone that cannot be used.
        """
        has_gpu = torch.cuda.is_available()
        if device == "cuda" and not has_gpu:
            raise ConfigError("--device cuda: torch finds no GPU; use --device cpu")
        self.device: Literal["cpu", "cuda"] = "cuda" if has_gpu and device != "cpu" else "cpu"
        name = folder.absolute().name
        model, self.metadata = read_run(folder, name=name, precision="fp32")
        self._model = model.to(self.device).eval()
        digest = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
        self.fingerprint = f"{name}@{digest[:12]}"

    metadata: DetectorMetadata
    """As an exported file would hold it."""

    @torch.no_grad()
    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, S, S, 3) RGB crops as `fakescan.image.view` makes them -> (B,) logits of fake."""
        pixels = normalise(crops, self.metadata.preprocess)  # (B, 3, S, S)
        logit = self._model(torch.from_numpy(pixels).to(self.device)).logit
        return np.asarray(logit.float().cpu().numpy(), np.float32)
