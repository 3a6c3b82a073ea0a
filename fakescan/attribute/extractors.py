"""T feature extractors that share one frozen trunk: phi_t is the backbone with the LoRAs of task t.

    E(x) = [frozen levels; phi_0(x); ...; phi_{T-1}(x)]

LoRAs sit in the last k blocks only. The trunk below runs once for an image; the blocks above run
once for all tasks, side by side in the batch: frozen products on T B images at once, LoRAs as
batched products. What comes before the first LoRA of the first adapted block is the same for all
tasks, and computed once. Cost in blocks: (L - k) + k T instead of L T.

Source: LoRAX, arXiv 2504.08149, section 3, for E. Differs from the paper: LoRAs in the last k
blocks of CLIP instead of all gated blocks of ConViT, so that the trunk can be shared; levels below
the first adapted block, equal for all tasks, are in E once.

Shapes: B images, N tokens, D width, T tasks, S = 1 or T streams, r rank, F0 frozen features, F1
features of one task.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fakescan.attribute.adapters import Extractors
from fakescan.attribute.design import Design
from fakescan.image import Preprocess
from fakescan.model.detector import ATTENTION_SITES, BlockExperts, DetectorModel, ModelConfig, Trunk
from fakescan.model.head import level_vector
from fakescan.model.mole import Mixture, MoLEConfig
from fakescan.model.tower import Block, Tower
from fakescan.train.settings import CacheConfig
from fakescan.train.trunk import TrunkMaker

LORA = ("lora_A", "lora_B")


class SharedTrunk(Extractors):
    """The trunk and the extractors of all tasks so far."""

    def __init__(self, tower: Tower, design: Design) -> None:
        """Start without any task.

        Args:
            tower: frozen; shared, not copied.
            design: of the adapters.

        Raises:
            ConfigError: a block or level that the tower has not.
        """
        super().__init__()
        self.design = design
        self.base = DetectorModel(tower, model_config(tower.config.blocks, design))
        self.fresh = self.base.experts
        """What the trunk cache calls "without experts": their update is zero."""
        self.tasks = nn.ModuleList()

    @property
    def frozen_features(self) -> int:
        """See `Extractors.frozen_features`."""
        below = [k for k in self.base.config.levels if k < self.base.first_adapted]
        return 2 * self.base.tower.config.width * len(below)

    @property
    def own_features(self) -> int:
        """See `Extractors.own_features`."""
        return len(self.base.head.weight) - self.frozen_features

    def grow(self) -> None:
        """See `Extractors.grow`."""
        mole = self.base.config.mole
        width = self.base.tower.config.width
        experts = nn.ModuleDict({k: BlockExperts(width, mole) for k in self.fresh})
        self.tasks.append(experts.to(self.device))

    def emptied(self) -> SharedTrunk:
        """See `Extractors.emptied`."""
        empty = SharedTrunk(self.base.tower, self.design)
        empty.to(self.device)
        return empty

    def trunk(self, pixels: Tensor) -> Trunk:
        """See `Extractors.trunk`."""
        return self.base.trunk(pixels, split=self.base.can_split)

    def sha256(self) -> str:
        """See `Extractors.sha256`."""
        return self.base.tower.sha256()

    def maker(self, preprocess: Preprocess, cache: CacheConfig) -> TrunkMaker:
        """See `Extractors.maker`."""
        return TrunkMaker(
            self.base, preprocess, split=cache.split, rounds=cache.enabled or cache.rounds
        )

    def one(self, task: int, trunk: Trunk) -> Tensor:
        """See `Extractors.one`."""
        experts = self.tasks[task]
        assert isinstance(experts, nn.ModuleDict)
        self.base.experts = experts
        try:
            features, _ = self.base.features(trunk)
        finally:
            self.base.experts = self.fresh
        return features[:, self.frozen_features :]

    @torch.no_grad()
    def all(self, trunk: Trunk, tasks: int | None = None) -> Tensor:
        """All tasks at once; see `Extractors.all`."""
        count = len(self.tasks) if tasks is None else tasks
        if not count:
            return trunk.levels
        parts = self._stacked(trunk, count)  # (T, B, F1)
        return torch.cat([trunk.levels, *parts.unbind(0)], dim=-1)

    def _stacked(self, trunk: Trunk, count: int) -> Tensor:
        assert trunk.tokens is not None
        x = trunk.tokens.unsqueeze(0)  # (S, B, N, D)
        features: list[Tensor] = []
        for number in range(self.base.first_adapted, self.base.depth + 1):
            block = self.base.tower.blocks[number - 1]
            assert isinstance(block, Block)
            loras = Stack(self.tasks[:count], number)
            if number == self.base.first_adapted and trunk.normed is not None:
                x = x + block.ls_2(loras.update("mlp", trunk.normed.unsqueeze(0)))
            else:
                x = adapted(block, x, loras)
            if number in self.base.config.levels:
                streams = level_vector(x.flatten(0, 1))  # (S B, 2 D)
                features.append(streams.view(x.shape[0], x.shape[1], -1))
        if self.base.config.head == "final":
            embedded = self.base.tower.project(x.flatten(0, 1)).float()
            features.append(embedded.view(x.shape[0], x.shape[1], -1))
        return torch.cat(features, dim=-1)


class Stack:
    """The LoRAs of all tasks in one block, ready for batched products."""

    def __init__(self, tasks: nn.ModuleList, number: int) -> None:
        self.blocks = [task[str(number)] for task in tasks]  # type: ignore[index]

    def has(self, site: str) -> bool:
        """Whether LoRAs stand there."""
        return site in self.blocks[0]

    def update(self, site: str, x: Tensor) -> Tensor:
        """(S, B, N, D) -> (T, B, N, D): what each task's LoRA adds."""
        mixtures: list[Mixture] = [block[site] for block in self.blocks]
        down, up = (torch.stack([getattr(m, name) for m in mixtures]) for name in LORA)
        flat = x.flatten(1, 2)  # (S, B N, D)
        hidden = flat @ down.transpose(1, 2).to(x.dtype)  # (T, B N, r)
        hidden = hidden * mixtures[0].column_scale.to(x.dtype)
        out = hidden @ up.transpose(1, 2).to(x.dtype)  # (T, B N, D)
        return out.view(len(mixtures), *x.shape[1:])


def adapted(block: Block, x: Tensor, loras: Stack) -> Tensor:
    """One block of all streams: (S, B, N, D) -> (T, B, N, D)."""

    def frozen(module: nn.Module, value: Tensor) -> Tensor:
        out: Tensor = module(value.flatten(0, 1))
        return out.view(*value.shape[:2], *out.shape[1:])

    normed = frozen(block.ln_1, x)
    if loras.has("q"):
        qkv = block.attn.project(normed)  # (S, B, N, 3 D)
        parts = [loras.update(site, normed) for site in ATTENTION_SITES[:3]]
        qkv = qkv + torch.cat(parts, dim=-1)
        mixed = block.attn.mix(qkv.flatten(0, 1)).view(*qkv.shape[:3], -1)
        attended = frozen(block.attn.out_proj, mixed) + loras.update("out", mixed)
    else:
        attended = frozen(block.attn, normed)
    x = x + frozen(block.ls_1, attended)
    normed = frozen(block.ln_2, x)
    out = frozen(block.mlp, normed)
    if loras.has("mlp"):
        out = out + loras.update("mlp", normed)
    return x + frozen(block.ls_2, out)


def model_config(blocks: int, design: Design) -> ModelConfig:
    """The detector's configuration whose experts are one task's adapters."""
    depth = max(design.levels) if design.head == "levels" and design.levels else blocks
    first = max(1, depth - design.last_blocks + 1)
    return ModelConfig(
        head=design.head,
        levels=design.levels,
        mole=MoLEConfig(
            blocks=tuple(range(first, depth + 1)),
            site=design.site,
            experts="shared",
            shared_rank=design.rank,
            alpha=design.alpha,
        ),
    )
