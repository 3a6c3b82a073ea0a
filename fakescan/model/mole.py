"""A mixture of low-rank experts (MoLE) beside a frozen map of D to D features.

    y = f(x) + sum_shared s B A x + p_k s_k B_k A_k x,   k = argmax_j p_j,   p = softmax(W_g x)

for every token x: shared LoRAs always, one separate LoRA chosen by a router and weighted by its
probability. The load balance of one router is N sum_j f_j P_j with f_j the share of tokens sent
to expert j and P_j the mean probability of j: 1 when all are used alike.

Source: "Mixture of Low-rank Experts for Transferable AI-Generated Image Detection", arXiv
2404.04883, section 3 (figure 3: the map is the whole MLP, its input the LayerNorm's output);
load balance from Fedus et al., "Switch Transformers", arXiv 2101.03961, equation 4.
Differs from the paper: the text says that one expert is active while its equation sums over
all; top-1 times its probability is the default and `gate = "dense"` the sum. The scale alpha / r
is not stated; alpha = r (scale 1) is the default.

Shapes: B images, N tokens, D width, E separate experts, W router width, R sum of ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fakescan.errors import ConfigError

Site = Literal["mlp", "attention", "both"]
Experts = Literal["both", "shared", "separate"]
Gate = Literal["top1", "dense"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MoLEConfig:
    """The adapters; the defaults are the paper's."""

    blocks: tuple[int, ...] | None = None
    """Adapted blocks, counted from 1; unset: the last 3 that are used; empty: none (a linear
    probe)."""
    site: Site = "mlp"
    """Around the whole MLP; or beside each of the attention's q, k, v and out; or both."""
    experts: Experts = "both"
    """Shared and separate LoRAs, or one kind only."""
    shared_rank: int = 8
    separate_ranks: tuple[int, ...] = (4, 8, 16)
    """One routed expert each."""
    alpha: float | None = None
    """LoRA alpha; updates are scaled by alpha / rank. Unset: alpha = rank of each expert."""
    router_width: int | None = None
    """Columns of the router; unset: the number of separate experts. Further columns stand for
    "no separate expert": a token sent there gets a zero update."""
    gate: Gate = "top1"
    load_balance: float = 0.01
    """Lambda, the weight of the load-balance loss."""

    def __post_init__(self) -> None:
        if self.shared_rank < 1 or not self.separate_ranks or min(self.separate_ranks) < 1:
            raise ConfigError(
                "ranks must be at least 1 and one separate expert named, got shared "
                f"{self.shared_rank}, separate {list(self.separate_ranks)}"
            )
        if self.router_width is not None and self.router_width < len(self.separate_ranks):
            raise ConfigError(
                f"router_width {self.router_width} is less than the number of separate experts, "
                f"{len(self.separate_ranks)}"
            )
        if self.load_balance < 0 or (self.alpha is not None and self.alpha <= 0):
            raise ConfigError("load_balance must not be negative and alpha must be positive")

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of all experts, shared first."""
        shared = (self.shared_rank,) if self.experts != "separate" else ()
        return shared + (self.separate_ranks if self.experts != "shared" else ())

    @property
    def shared_count(self) -> int:
        """How many leading entries of `ranks` are shared."""
        return 0 if self.experts == "separate" else 1

    @property
    def width(self) -> int:
        """W, columns of the router; 0 without separate experts."""
        if self.experts == "shared":
            return 0
        return self.router_width or len(self.separate_ranks)


class Routed(NamedTuple):
    """What a mixture adds, and what its router said."""

    update: Tensor
    """(B, N, D)"""
    router_logits: Tensor | None
    """(B, N, W); None without separate experts."""


class Mixture(nn.Module):
    """Shared and routed low-rank experts, stacked into one pair of matrices.

    `lora_A` (R, D) and `lora_B` (D, R) hold all experts one after another, shared ones first.
    """

    column_expert: Tensor
    column_scale: Tensor

    def __init__(self, width: int, config: MoLEConfig) -> None:
        super().__init__()
        self.config = config
        total = sum(config.ranks)
        self.lora_A = nn.Parameter(torch.empty(total, width))
        self.lora_B = nn.Parameter(torch.zeros(width, total))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.router: nn.Parameter | None = None
        if config.width:
            self.router = nn.Parameter(torch.empty(config.width, width))
            nn.init.normal_(self.router, std=0.02)
        experts = [e - config.shared_count for e, r in enumerate(config.ranks) for _ in range(r)]
        scales = [
            1.0 if config.alpha is None else config.alpha / r
            for r in config.ranks
            for _ in range(r)
        ]
        self.register_buffer(
            "column_expert", torch.tensor(experts), persistent=False
        )  # (R,), -1 shared
        self.register_buffer("column_scale", torch.tensor(scales), persistent=False)  # (R,)

    def gates(self, router_logits: Tensor) -> Tensor:
        """(..., W) -> (..., R): 1 on shared columns, each expert's weight on its own."""
        weights = router_logits.softmax(dim=-1)  # (..., W)
        if self.config.gate == "top1":
            best = weights.argmax(dim=-1, keepdim=True)  # (..., 1)
            weights = torch.zeros_like(weights).scatter(-1, best, weights.gather(-1, best))
        ones = torch.ones_like(weights[..., :1])
        columns = torch.cat([weights, ones], dim=-1)  # (..., W + 1), index -1 is the shared gate
        return columns[..., self.column_expert]

    def forward(self, x: Tensor) -> Routed:
        """(B, N, D) -> update (B, N, D)."""
        hidden = (x @ self.lora_A.T.to(x.dtype)) * self.column_scale.to(x.dtype)  # (B, N, R)
        router_logits = None
        if self.router is not None:
            router_logits = x @ self.router.T.to(x.dtype)  # (B, N, W)
            hidden = hidden * self.gates(router_logits)
        return Routed(hidden @ self.lora_B.T.to(x.dtype), router_logits)


def load_balance(router_logits: Tensor) -> Tensor:
    """Switch's loss of one router, (..., W) -> (): W sum_j f_j P_j, 1 at perfect balance."""
    shares, chances = dispatch(router_logits)
    return router_logits.shape[-1] * (shares * chances).sum()


def dispatch(router_logits: Tensor) -> tuple[Tensor, Tensor]:
    """(..., W) -> f (W,), the share of tokens whose best column is j; P (W,), the mean probability.

    Only P carries a gradient.
    """
    flat = router_logits.flatten(0, -2).float()  # (T, W)
    width = flat.shape[-1]
    shares = torch.bincount(flat.argmax(-1), minlength=width).to(flat.dtype) / len(flat)
    return shares, flat.softmax(-1).mean(0)
