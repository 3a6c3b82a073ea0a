"""What each patch adds to the logit, and what is left, as ONNX nodes.

    logit = sum of patch_logit + remainder_logit

    levels        a level's mean patch token is a sum over patches, so their shares are exact; the
                  class tokens and the bias are the remainder
    final, class  what the class token takes from each patch in the last block's attention: weight
                  times value, through the output map, the last norm with its deviation as it is,
                  `proj` and the head; all else is the remainder
    final, mean   each patch's share of the mean, through the last norm, `proj` and the head

Shapes: B images, N tokens, D width, H heads.
"""

from __future__ import annotations

import numpy as np

from fakescan.export.blocks import Attention
from fakescan.export.ends import EndWriter
from fakescan.export.nodes import Nodes
from fakescan.model.tower import TowerConfig


class ShareWriter:
    """Writes the shares of one detector."""

    def __init__(self, nodes: Nodes, tower: TowerConfig) -> None:
        self.nodes = nodes
        self.tower = tower
        self.ends = EndWriter(nodes, tower)

    def of_levels(self, levels: list[str]) -> str:
        """(B, N, D) after each level -> (B, N - 1)."""
        n, width = self.nodes, self.tower.width
        parts = []
        for i, tokens in enumerate(levels):
            start = (2 * i + 1) * width
            weight = n.pick(n.plain("head.weight"), 0, start, start + width)  # (D,)
            parts.append(n.op("MatMul", self.ends.patch_tokens(tokens), weight))  # (B, N - 1)
        return n.op("Mul", n.op("Sum", *parts), n.number(1 / (self.tower.tokens - 1)))

    def besides_levels(self, levels: list[str]) -> str:
        """(B, N, D) after each level -> (B,): what class tokens and the bias add."""
        n, width = self.nodes, self.tower.width
        parts = [n.plain("head.bias")]
        for i, tokens in enumerate(levels):
            weight = n.pick(n.plain("head.weight"), 0, 2 * i * width, (2 * i + 1) * width)  # (D,)
            parts.append(n.op("MatMul", self.ends.class_token(tokens), weight))  # (B,)
        return n.op("Sum", *parts)

    def of_last_block(self, tokens: str, attention: Attention) -> str:
        """(B, N, D) after the last block -> (B, N - 1)."""
        n, tower = self.nodes, self.tower
        reads = self._reads()
        if tower.pool == "mean":
            patches = self.ends.patch_tokens(tokens)
            centre = n.reduce("ReduceMean", patches, 1) if tower.pools_first else patches
            shares = n.op("Div", n.op("MatMul", patches, reads), self._deviation(centre))
            return n.op("Mul", shares, n.number(1 / (tower.tokens - 1)))
        number = tower.blocks
        if (scale := f"transformer.resblocks.{number - 1}.ls_1.gamma") in n.state:
            reads = n.op("Mul", reads, n.plain(scale))
        out = f"transformer.resblocks.{number - 1}.attn.out_proj.weight"
        reads = n.op("MatMul", n.widen(n.matrix(out)), reads)  # (D,)
        reads = n.reshape(reads, (1, tower.heads, -1, 1))  # (1, H, D/H, 1)
        values = n.op("MatMul", n.widen(attention.values), reads)  # (B, H, N, 1)
        values = n.op("Squeeze", values, n.shape(3))
        weights = n.op(
            "Gather", n.widen(attention.weights), n.constant(np.array(0, np.int64)), axis=2
        )
        taken = n.op("ReduceSum", n.op("Mul", weights, values), n.shape(1), keepdims=0)  # (B, N)
        deviation = self._deviation(self.ends.class_token(tokens))  # (B, 1)
        return n.op("Div", n.pick(taken, 1, 1, tower.tokens), deviation)

    def _reads(self) -> str:
        """(D,): what the logit gains from a token, for a deviation of 1 and whatever the mean."""
        n = self.nodes
        read = n.op("MatMul", n.widen(n.matrix("proj")), n.plain("head.weight"))  # (D,)
        read = n.op("Mul", read, n.plain("ln_post.weight"))
        return n.op("Sub", read, n.reduce("ReduceMean", read, 0))

    def _deviation(self, x: str) -> str:
        """(..., D) -> what the last norm divides by, (...), or (B, 1) of (B, D)."""
        n = self.nodes
        away = n.op("Sub", x, n.reduce("ReduceMean", x, -1, keep=True))
        spread = n.op("ReduceSum", n.op("Mul", away, away), n.shape(-1), keepdims=0)
        spread = n.op("Mul", spread, n.number(1 / self.tower.width))
        root = n.op("Sqrt", n.op("Add", spread, n.number(self.tower.norm_eps)))
        is_one = self.tower.pool == "class" or self.tower.pools_first
        return n.reshape(root, (-1, 1)) if is_one else root
