"""The last linear layer, on the projected embedding or on levels.

Source: `final`, the MoLE paper, section 3 (as UnivFD: Ojha et al., arXiv 2302.10174); `levels`,
after RINE (Koutlis and Papadopoulos, arXiv 2402.19091): features of middle blocks generalise
further than the last ones.

Shapes: B images, L levels, D width, F features (embed_dim, or L 2 D).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEAD_STD = 0.02
"""Standard deviation of the initial weights (UnivFD)."""


class Head(nn.Module):
    """One linear layer on features standardised by the training set's statistics.

    A new head has mean 0 and deviation 1, so it reads raw features, as the paper's does.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        nn.init.normal_(self.weight, std=HEAD_STD)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> logits (B,)."""
        return ((features.float() - self.mean) / self.std) @ self.weight + self.bias

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (F,) and bias () of the same function of raw features."""
        weight = self.weight / self.std
        return weight, self.bias - (weight * self.mean).sum()

    @torch.no_grad()
    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Read features as (x - mean) / std from now on; both (F,)."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(1e-6))


def level_vector(tokens: Tensor) -> Tensor:
    """(B, N, D) after one block -> (B, 2 D): the class token and the mean patch token, float32."""
    tokens = tokens.float()
    return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=-1)
