"""A bundle as what names generators, in torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.attribute.store import Opened
from fakescan.errors import AttributorError
from fakescan.image import normalise


class TorchNamer:
    """Crops -> logits of all known classes; see `fakescan.attribute.predict.Namer`."""

    def __init__(self, opened: Opened) -> None:
        """Take a bundle that knows something.

        Raises:
            AttributorError: it has not learnt any task.
        """
        if opened.attributor.linear is None:
            raise AttributorError(
                f"{opened.folder}: knows no generator yet; `fakescan attribute learn` teaches it"
            )
        self._attributor = opened.attributor
        self.classes = opened.attributor.classes
        self.rules = opened.attributor.rules
        self.preprocess = opened.manifest.preprocess

    @torch.no_grad()
    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(B, S, S, 3) RGB crops -> (B, C)."""
        extractors = self._attributor.extractors
        pixels = torch.from_numpy(normalise(crops, self.preprocess))
        trunk = extractors.trunk(pixels.to(extractors.device))
        return self._attributor.logits(extractors.all(trunk).cpu().numpy())
