"""The published extractors: ConViT with one LoRA a task beside qk and v of its gated blocks.

    E(x) = [phi_0(x); ...; phi_{T-1}(x)]

A LoRA stands in the first block already, so nothing but the patch embedding is shared: every task
costs a whole pass, L T blocks for an image.

Source: LoRAX, arXiv 2504.08149, section 3, with the settings that its code really applies: rank 64,
alpha 16, qk and v of the ten gated blocks, dropout 0.1. Differs from its code: only the newest
adapter has dropout, and none while exemplars are chosen.

Shapes: B images, N patches, D width, S image side, T tasks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fakescan.attribute.adapters import Extractors
from fakescan.attribute.design import PAPER, Design
from fakescan.image import Preprocess, normalise
from fakescan.model.convit import SITES, ConViT, Lora
from fakescan.model.detector import Trunk
from fakescan.train.settings import CacheConfig
from fakescan.train.trunk import Rows

RANK, ALPHA, DROPOUT = 64, 16.0, 0.1
"""Of every LoRA."""
PUBLISHED = Design(
    preset=PAPER, last_blocks=10, site="attention", rank=RANK, alpha=ALPHA, head="final"
)
"""The one design of this preset; `last_blocks` counts the gated ones."""
HALF = (0.5, 0.5, 0.5)
"""Mean and deviation by which pixels are normalised; not ImageNet's."""


class GatedExtractors(Extractors):
    """ConViT and the adapters of all tasks so far."""

    def __init__(self, convit: ConViT) -> None:
        """Start without any task; the network is shared, not copied."""
        super().__init__()
        self.design = PUBLISHED
        self.convit = convit
        self.tasks = nn.ModuleList()

    @property
    def frozen_features(self) -> int:
        """None: there is no frozen level."""
        return 0

    @property
    def own_features(self) -> int:
        """See `Extractors.own_features`."""
        return self.convit.width

    def emptied(self) -> GatedExtractors:
        """See `Extractors.emptied`."""
        return GatedExtractors(self.convit)

    def grow(self) -> None:
        """See `Extractors.grow`."""
        task = nn.ModuleDict()
        for number in range(1, self.convit.gated + 1):
            bases = {site: self.convit.site(number, site).base for site in SITES}
            loras = {site: Lora(base, RANK, ALPHA, DROPOUT) for site, base in bases.items()}
            task[str(number)] = nn.ModuleDict(loras)
        self.tasks.append(task.eval().to(self.device))

    def trunk(self, pixels: Tensor) -> Trunk:
        """See `Extractors.trunk`: what enters the first block."""
        with torch.no_grad():
            tokens = self.convit.embed(pixels)
        return Trunk(tokens, None, tokens.new_zeros(len(tokens), 0))

    def one(self, task: int, trunk: Trunk) -> Tensor:
        """See `Extractors.one`."""
        assert trunk.tokens is not None
        loras: nn.ModuleDict = self.tasks[task]  # type: ignore[assignment]
        sites = [(number, site) for number in loras for site in SITES]
        try:
            for number, site in sites:
                self.convit.site(int(number), site).held = (loras[number][site],)  # type: ignore[index]
            return self.convit.features(trunk.tokens)
        finally:
            for number, site in sites:
                self.convit.site(int(number), site).held = ()

    def sha256(self) -> str:
        """See `Extractors.sha256`."""
        return self.convit.sha256()

    def maker(self, preprocess: Preprocess, cache: CacheConfig) -> GatedMaker:
        """See `Extractors.maker`; nothing is cached, as random crops are new in every epoch."""
        del cache
        return GatedMaker(self, preprocess)


class GatedMaker:
    """Crops -> what enters the first block; see `fakescan.train.trunk.Maker`."""

    frozen_levels = 0

    def __init__(self, extractors: GatedExtractors, preprocess: Preprocess) -> None:
        self.extractors, self.preprocess = extractors, preprocess
        self.device = extractors.device

    @torch.no_grad()
    def make(self, crops: NDArray[np.uint8], *, whole: bool = True) -> Rows:
        """(B, S, S, 3) RGB bytes -> rows; `whole`: with the frozen network's embeddings."""
        pixels = torch.from_numpy(normalise(crops, self.preprocess)).to(self.device)
        tokens = self.extractors.trunk(pixels).tokens
        assert tokens is not None
        embedded = (
            self.extractors.convit.features(tokens) if whole else tokens.new_zeros(len(crops), 0)
        )
        return Rows(tokens, None, embedded)

    def trunk(self, rows: Rows) -> Trunk:
        """See `Maker.trunk`."""
        return Trunk(rows.tokens, None, rows.features[:, :0])
