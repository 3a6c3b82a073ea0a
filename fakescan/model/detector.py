"""The whole detector: frozen tower, adapted blocks, head; cut in two at the first adapted block.

    trunk: pixels -> tokens before the first adapted block and the levels below it (frozen)
    tail:  those -> logit

`tail(trunk(pixels))` is `forward(pixels)`. What the trunk gives depends on no trained parameter,
so training stores it once per image and draw.

Shapes: B images, N tokens, D width, S image side, L levels, W router width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fakescan.errors import ConfigError
from fakescan.model.head import Head, level_vector
from fakescan.model.mole import Mixture, MoLEConfig, Routed, load_balance
from fakescan.model.tower import Block, Tower

LAST_BLOCKS = 3
"""Adapted by default (the MoLE paper, section 4.1)."""
ATTENTION_SITES = ("q", "k", "v", "out")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which blocks are used, read and adapted; blocks are counted from 1."""

    depth: int | None = None
    """Blocks used. Unset: all with head `final`, up to the highest level with head `levels`."""
    head: Literal["final", "levels"] = "final"
    levels: tuple[int, ...] = ()
    """Blocks after which a `levels` head reads the class token and the mean patch token."""
    mole: MoLEConfig = field(default_factory=MoLEConfig)

    def resolved(self, blocks: int) -> ModelConfig:
        """The same with depth and adapted blocks as numbers, for a backbone of that many blocks.

        Raises:
            ConfigError: a block that the backbone has not, or that the head does not reach.
        """
        for level in self.levels:
            if not 1 <= level <= blocks:
                raise ConfigError(f"level {level}: this backbone has blocks 1 to {blocks}")
        depth = self._depth(blocks)
        if not 1 <= depth <= blocks:
            raise ConfigError(f"depth {depth}: this backbone has blocks 1 to {blocks}")
        if self.head == "final" and depth != blocks:
            raise ConfigError(
                f"head 'final' needs all {blocks} blocks, got depth {depth}; use head 'levels'"
            )
        adapted = self.mole.blocks
        if adapted is None:
            adapted = tuple(range(max(1, depth - LAST_BLOCKS + 1), depth + 1))
        for name, numbers in (("levels", self.levels), ("mole.blocks", adapted)):
            wrong = [k for k in numbers if not 1 <= k <= depth]
            if wrong:
                raise ConfigError(
                    f"{name}: block {wrong[0]} is not among the {depth} that are used"
                )
        mole = replace(self.mole, blocks=tuple(sorted(set(adapted))))
        return replace(self, depth=depth, levels=tuple(sorted(set(self.levels))), mole=mole)

    def _depth(self, blocks: int) -> int:
        if self.head == "final":
            if self.levels:
                raise ConfigError("levels are read by head 'levels' only")
            return blocks if self.depth is None else self.depth
        if not self.levels:
            raise ConfigError("head 'levels' needs levels, such as [4, 6, 8]")
        depth = max(self.levels) if self.depth is None else self.depth
        if depth > max(self.levels):
            raise ConfigError(f"depth {depth}: nothing above block {max(self.levels)} is read")
        return depth


class Trunk(NamedTuple):
    """What the frozen part computes; stored by the trunk cache."""

    tokens: Tensor | None
    """(B, N, D): what enters the first adapted block, or, when `normed` is given, that block's
    output without its experts. None when nothing is adapted."""
    normed: Tensor | None
    """(B, N, D): the input of the first adapted block's MLP experts; None unless split there."""
    levels: Tensor
    """(B, F): level vectors below the first adapted block, or all features if none is adapted."""


class Output(NamedTuple):
    """What the detector says of a batch."""

    logit: Tensor
    """(B,), positive for fake."""
    router_logits: tuple[Tensor, ...]
    """One (B, N, W) for each router, lowest block first."""

    def load_balance(self) -> Tensor:
        """Sum of the routers' load-balance losses, (); equal to their number at best."""
        if not self.router_logits:
            return self.logit.new_zeros(())
        return torch.stack([load_balance(r) for r in self.router_logits]).sum()


class BlockExperts(nn.ModuleDict):
    """The mixtures of one adapted block: `mlp`, and/or `q`, `k`, `v`, `out`."""

    def __init__(self, width: int, config: MoLEConfig) -> None:
        sites: tuple[str, ...] = ()
        if config.site in ("attention", "both"):
            sites += ATTENTION_SITES
        if config.site in ("mlp", "both"):
            sites += ("mlp",)
        super().__init__({site: Mixture(width, config) for site in sites})


class DetectorModel(nn.Module):
    """Tower, experts and head; only experts and head are trained."""

    def __init__(self, tower: Tower, config: ModelConfig) -> None:
        super().__init__()
        self.config = config.resolved(tower.config.blocks)
        assert self.config.depth is not None
        assert self.config.mole.blocks is not None
        is_final = self.config.head == "final"
        cut = tower.cut(self.config.depth, keep_projection=is_final)
        self.tower = cut.requires_grad_(False)
        if is_final and cut.proj is None:
            raise ConfigError(
                f"head 'final' needs the whole tower; this one is cut after block {self.depth}: "
                "use head 'levels', or another backbone"
            )
        width = tower.config.width
        self.experts = nn.ModuleDict(
            {str(k): BlockExperts(width, self.config.mole) for k in self.config.mole.blocks}
        )
        self.head = Head(
            tower.config.embed_dim if is_final else 2 * width * len(self.config.levels)
        )

    @property
    def depth(self) -> int:
        """Blocks used."""
        return len(self.tower.blocks)

    @property
    def first_adapted(self) -> int:
        """Lowest adapted block, counted from 1; depth + 1 when none is."""
        return min((int(k) for k in self.experts), default=self.depth + 1)

    @property
    def can_split(self) -> bool:
        """Whether the first adapted block has experts around its MLP only."""
        return bool(self.experts) and self.config.mole.site == "mlp"

    def trainable(self) -> list[nn.Parameter]:
        """Experts, routers and head."""
        return [*self.experts.parameters(), *self.head.parameters()]

    @torch.no_grad()
    def trunk(self, pixels: Tensor, *, split: bool = False) -> Trunk:
        """(B, 3, S, S) -> what the tail starts from.

        Args:
            pixels: normalised.
            split: go through the first adapted block's frozen attention and MLP as well; needs
                `can_split`. The tail then only adds that block's experts.
        """
        if split and not self.can_split:
            raise ValueError("split needs experts around the MLP only")
        features: list[Tensor] = []
        tokens = self.tower.embed(pixels)
        for number in range(1, min(self.first_adapted, self.depth + 1)):
            tokens = self.tower.blocks[number - 1](tokens)
            if number in self.config.levels:
                features.append(level_vector(tokens))
        if not self.experts and self.config.head == "final":
            features.append(self.tower.project(tokens).float())
        levels = torch.cat(features, -1) if features else tokens.new_zeros(len(tokens), 0).float()
        if not self.experts:
            return Trunk(None, None, levels)
        if not split:
            return Trunk(tokens, None, levels)
        block = self._block(self.first_adapted)
        tokens = tokens + block.ls_1(block.attn(block.ln_1(tokens)))
        normed = block.ln_2(tokens)
        return Trunk(tokens + block.ls_2(block.mlp(normed)), normed, levels)

    def tail(self, trunk: Trunk) -> Output:
        """What `trunk` gave -> logits (B,) and routing."""
        features, routers = self.features(trunk)
        return Output(self.head(features), routers)

    def features(self, trunk: Trunk) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What `trunk` gave -> what the head reads (B, F), and the routers' logits."""
        routers: list[Tensor] = []
        features = [trunk.levels]
        tokens = trunk.tokens
        if tokens is None:
            return trunk.levels, ()
        for number in range(self.first_adapted, self.depth + 1):
            if number == self.first_adapted and trunk.normed is not None:
                update = self._update(number, "mlp", trunk.normed, routers)
                tokens = tokens + self._block(number).ls_2(update)
            else:
                tokens = self._run(number, tokens, routers)
            if number in self.config.levels:
                features.append(level_vector(tokens))
        if self.config.head == "final":
            features.append(self.tower.project(tokens).float())
        return torch.cat(features, dim=-1), tuple(routers)

    def forward(self, pixels: Tensor) -> Output:
        """(B, 3, S, S) normalised -> logits (B,) and routing."""
        return self.tail(self.trunk(pixels))

    def trained_state(self) -> dict[str, Tensor]:
        """State of experts and head, the part that a checkpoint stores."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("tower.")}

    def load_trained_state(self, state: dict[str, Tensor], where: str) -> None:
        """Take what `trained_state` gave.

        Raises:
            ConfigError: it belongs to another configuration.
        """
        own = self.trained_state()
        if own.keys() != state.keys() or any(own[k].shape != state[k].shape for k in own):
            raise ConfigError(
                f"{where}: made for another backbone or configuration of experts and head"
            )
        self.load_state_dict(state, strict=False)

    def _block(self, number: int) -> Block:
        block = self.tower.blocks[number - 1]
        assert isinstance(block, Block)
        return block

    def _run(self, number: int, x: Tensor, routers: list[Tensor]) -> Tensor:
        """(B, N, D) -> (B, N, D): one block with whatever experts it has."""
        block = self._block(number)
        if str(number) not in self.experts:
            plain: Tensor = block(x)
            return plain
        normed = block.ln_1(x)
        qkv = block.attn.project(normed)  # (B, N, 3 D)
        if "q" in self._sites(number):
            parts = [self._update(number, site, normed, routers) for site in ("q", "k", "v")]
            qkv = qkv + torch.cat(parts, dim=-1)
        mixed = block.attn.mix(qkv)  # (B, N, D)
        attended = block.attn.out_proj(mixed)
        if "out" in self._sites(number):
            attended = attended + self._update(number, "out", mixed, routers)
        x = x + block.ls_1(attended)
        normed = block.ln_2(x)
        out = block.mlp(normed)
        if "mlp" in self._sites(number):
            out = out + self._update(number, "mlp", normed, routers)
        total: Tensor = x + block.ls_2(out)
        return total

    def _sites(self, number: int) -> nn.ModuleDict:
        experts = self.experts[str(number)]
        assert isinstance(experts, nn.ModuleDict)
        return experts

    def _update(self, number: int, site: str, x: Tensor, routers: list[Tensor]) -> Tensor:
        routed: Routed = self._sites(number)[site](x)
        if routed.router_logits is not None:
            routers.append(routed.router_logits)
        return routed.update


def count_parameters(model: DetectorModel) -> tuple[int, int]:
    """Trained parameters, and all: the tower with its projection plus the trained ones.

    Source: the MoLE paper's table 4 divides the first by the second.
    """
    trained = sum(p.numel() for p in model.trainable())
    return trained, trained + sum(p.numel() for p in model.tower.parameters())
