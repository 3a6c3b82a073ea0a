"""What comes before a tower's first block and after the last one that is used, as ONNX nodes.

Follows `fakescan.model.tower` and `fakescan.model.head` line by line.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import numpy as np

from fakescan.export.nodes import Nodes
from fakescan.metadata import INPUT
from fakescan.model.tower import TowerConfig


class EndWriter:
    """Writes pixels into tokens, and tokens into features."""

    def __init__(self, nodes: Nodes, tower: TowerConfig) -> None:
        self.nodes = nodes
        self.tower = tower

    def embed(self) -> str:
        """Pixels -> (B, N, D): what enters block 1."""
        n, width = self.nodes, self.tower.width
        step = self.tower.patch_px
        maps = n.op("Conv", INPUT, n.plain("conv1.weight"), strides=[step] * 2)
        patches = n.op("Transpose", n.reshape(maps, (0, width, -1)), perm=[0, 2, 1])
        batch = n.pick(n.op("Shape", INPUT), 0, 0, 1)  # (1,)
        shape = n.op("Concat", batch, n.shape(1, width), axis=0)
        first = n.op("Expand", n.plain("class_embedding"), shape)  # (B, 1, D)
        tokens = n.op("Concat", first, patches, axis=1)  # (B, N, D)
        tokens = n.op("Add", tokens, n.plain("positional_embedding"))
        return n.norm(tokens, "ln_pre", self.tower.norm_eps) if self.tower.has_ln_pre else tokens

    def class_token(self, tokens: str) -> str:
        """(B, N, D) -> (B, D)."""
        return self.nodes.op("Gather", tokens, self.nodes.constant(np.array(0, np.int64)), axis=1)

    def patch_tokens(self, tokens: str) -> str:
        """(B, N, D) -> (B, N - 1, D)."""
        return self.nodes.pick(tokens, 1, 1, self.tower.tokens)

    def mean_patch(self, tokens: str) -> str:
        """(B, N, D) -> (B, D)."""
        return self.nodes.reduce("ReduceMean", self.patch_tokens(tokens), 1)

    def level_vectors(self, *levels: str) -> str:
        """(B, N, D) after each level -> (B, 2 D for each)."""
        parts = [part(x) for x in levels for part in (self.class_token, self.mean_patch)]
        return self.nodes.op("Concat", *parts, axis=-1)

    def project(self, tokens: str) -> str:
        """(B, N, D) after the last block -> (B, embed_dim)."""
        n, eps = self.nodes, self.tower.norm_eps
        if self.tower.pool == "class":
            pooled = n.norm(self.class_token(tokens), "ln_post", eps)
        elif self.tower.pools_first:
            pooled = n.norm(self.mean_patch(tokens), "ln_post", eps)
        else:
            pooled = self.mean_patch(n.norm(tokens, "ln_post", eps))
        return n.op("MatMul", pooled, n.widen(n.matrix("proj")))
