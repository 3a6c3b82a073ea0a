"""Transformer blocks and mixtures of experts, as ONNX nodes.

Follows `fakescan.model.tower` and `fakescan.model.mole` line by line. Experts read and write
float32, whatever type the tower's products run in, so that routing is that of torch.

Shapes: B images, N tokens, D width, H heads, W router width, R sum of ranks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from fakescan.export.integers import IntegerWriter
from fakescan.export.nodes import Nodes
from fakescan.model.mole import MoLEConfig
from fakescan.model.tower import TowerConfig

QUICK_GELU = 1.702
GELU_TANH = (math.sqrt(2 / math.pi), 0.044715)
"""Hendrycks and Gimpel, arXiv 1606.08415."""


class Attention(NamedTuple):
    """What a block's attention mixes, in the type of computation."""

    weights: str
    """(B, H, N, N); rows sum to 1."""
    values: str
    """(B, H, N, D/H)."""


class BlockWriter:
    """Writes blocks; gathers what their routers say."""

    def __init__(
        self,
        nodes: Nodes,
        tower: TowerConfig,
        mole: MoLEConfig,
        integers: IntegerWriter | None = None,
    ) -> None:
        """Write into a graph.

        Args:
            nodes: of the graph.
            tower: its sizes.
            mole: of all adapted blocks.
            integers: writes linear maps; None multiplies in floating point.
        """
        self.nodes = nodes
        self._maps = integers or nodes
        self.reads: dict[str, str] = {}
        """Which tensor each linear map reads, by the name of its matrix."""
        self.tower = tower
        self.mole = mole
        self.router_logits: list[str] = []
        """One (B, N, W) each, lowest block first, in torch's order."""
        self.attention: Attention | None = None
        """Of the last block so far."""

    def block(self, x: str, number: int) -> str:
        """(B, N, D) -> (B, N, D).

        Args:
            x: the residual stream, float32.
            number: counted from 1.
        """
        n, at = self.nodes, f"transformer.resblocks.{number - 1}"
        normed = n.norm(x, f"{at}.ln_1", self.tower.norm_eps)
        attended = self._scale(self._attention(normed, number), f"{at}.ls_1.gamma")
        x = n.op("Add", x, attended)
        normed = n.norm(x, f"{at}.ln_2", self.tower.norm_eps)
        hidden = self._linear(n.narrow(normed), f"{at}.mlp.c_fc.weight", f"{at}.mlp.c_fc.bias")
        hidden = self._activation(hidden)
        out = n.widen(self._linear(hidden, f"{at}.mlp.c_proj.weight", f"{at}.mlp.c_proj.bias"))
        out = self._with_experts(out, normed, number, "mlp")
        return n.op("Add", x, self._scale(out, f"{at}.ls_2.gamma"))

    def _linear(self, x: str, weight: str, bias: str) -> str:
        self.reads[weight] = x
        return self._maps.linear(x, weight, bias)

    def _scale(self, x: str, name: str) -> str:
        n = self.nodes
        return n.op("Mul", x, n.plain(name)) if name in n.state else x

    def _attention(self, normed: str, number: int) -> str:
        """(B, N, D) -> (B, N, D), float32, experts included."""
        n, at = self.nodes, f"transformer.resblocks.{number - 1}.attn"
        qkv = self._linear(n.narrow(normed), f"{at}.in_proj_weight", f"{at}.in_proj_bias")
        parts = n.thirds(qkv)  # (B, N, D) each
        if self._has(number, "q"):
            sites = zip(parts, ("q", "k", "v"), strict=True)
            parts = [
                n.narrow(self._with_experts(n.widen(part), normed, number, site))
                for part, site in sites
            ]
        mixed = self._mix(*parts)
        out = n.widen(self._linear(mixed, f"{at}.out_proj.weight", f"{at}.out_proj.bias"))
        return self._with_experts(out, n.widen(mixed), number, "out")

    def _mix(self, q: str, k: str, v: str) -> str:
        """Three (B, N, D) -> (B, N, D), in the type of computation; softmax in float32."""
        n, tower = self.nodes, self.tower
        sizes = (0, 0, tower.heads, tower.width // tower.heads)
        q, v = (n.op("Transpose", n.reshape(t, sizes), perm=[0, 2, 1, 3]) for t in (q, v))
        k = n.op("Transpose", n.reshape(k, sizes), perm=[0, 2, 3, 1])  # (B, H, D/H, N)
        factor = n.narrow(n.number((tower.width // tower.heads) ** -0.5))
        scores = n.op("MatMul", n.op("Mul", q, factor), k)  # (B, H, N, N)
        weights = n.narrow(n.op("Softmax", n.widen(scores), axis=-1))
        self.attention = Attention(weights, v)
        mixed = n.op("Transpose", n.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        return n.reshape(mixed, (0, 0, tower.width))

    def _activation(self, x: str) -> str:
        n = self.nodes

        def times(value: str, factor: float) -> str:
            return n.op("Mul", value, n.narrow(n.number(factor)))

        if self.tower.activation == "quick_gelu":
            return n.op("Mul", x, n.op("Sigmoid", times(x, QUICK_GELU)))
        if self.tower.activation == "gelu":
            curve = n.op("Erf", times(x, math.sqrt(0.5)))
        else:
            root, cubic = GELU_TANH
            cube = n.op("Mul", x, n.op("Mul", x, x))
            curve = n.op("Tanh", times(n.op("Add", x, times(cube, cubic)), root))
        gate = n.op("Add", curve, n.narrow(n.number(1)))
        return times(n.op("Mul", x, gate), 0.5)

    def _has(self, number: int, site: str) -> bool:
        return f"experts.{number}.{site}.lora_A" in self.nodes.state

    def _with_experts(self, out: str, x: str, number: int, site: str) -> str:
        """What a frozen map gives, plus what the mixture beside it adds; both float32."""
        if not self._has(number, site):
            return out
        n, at = self.nodes, f"experts.{number}.{site}"
        hidden = n.op("MatMul", x, n.plain(f"{at}.lora_A"))  # (B, N, R)
        gate = self._column_gate(x, f"{at}.router")
        if gate is not None:
            hidden = n.op("Mul", hidden, gate)
        return n.op("Add", out, n.op("MatMul", hidden, n.plain(f"{at}.lora_B")))

    def _column_gate(self, x: str, router: str) -> str | None:
        """(B, N, D) -> factor of each low-rank column, (B, N, R) or (R,); None for all ones."""
        n, (routed, shared) = self.nodes, column_weights(self.mole)
        if not self.mole.width:
            return None if (shared == 1).all() else n.constant(shared)
        logits = n.op("MatMul", x, n.plain(router))  # (B, N, W)
        self.router_logits.append(logits)
        weights = n.op("Softmax", logits, axis=-1)  # (B, N, W)
        if self.mole.gate == "top1":
            best = n.op("ArgMax", logits, axis=-1, keepdims=1)  # (B, N, 1)
            chosen = n.op("Equal", best, n.shape(*range(self.mole.width)))  # (B, N, W)
            weights = n.op("Mul", weights, n.op("Cast", chosen, to=TensorProto.FLOAT))
        gate = n.op("MatMul", weights, n.constant(routed))  # (B, N, R)
        return n.op("Add", gate, n.constant(shared)) if self.mole.shared_count else gate


def column_weights(config: MoLEConfig) -> tuple[np.ndarray, np.ndarray]:
    """Which router column opens which low-rank column, and which are open always.

    Returns:
        (W, R) and (R,): the scale alpha / rank where open, 0 elsewhere.
    """
    routed = np.zeros((config.width, sum(config.ranks)), np.float32)
    shared = np.zeros(sum(config.ranks), np.float32)
    start = 0
    for expert, rank in enumerate(config.ranks):
        scale = 1.0 if config.alpha is None else config.alpha / rank
        row = shared if expert < config.shared_count else routed[expert - config.shared_count]
        row[start : start + rank] = scale
        start += rank
    return routed, shared
