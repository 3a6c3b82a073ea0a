"""Linear maps in integers, as ONNX nodes: x -> uint8, times the int8 matrix, back to float32.

    x W = s (q (W / w)) w + x_k W_k        q = round(x / s), w the scales of W's channels

`int8-dynamic` takes the scale s of each token from its own values, `int8-static` one of the whole
layer from calibration images. Neither depends on what else is in a batch, which ONNX's own
`DynamicQuantizeLinear` does: it takes one scale of the whole tensor.

A few channels of CLIP's tokens are ten times as large as all others, and in the same places for
every image. They would make s so coarse that the rest is lost, so they go through a small product
in float32, x_k W_k, and are 0 in q: that makes the error of the logit four times smaller.

After: Dettmers et al., "LLM.int8()", arXiv 2208.07339. Differs from the paper: the channels are
chosen once, on calibration images, not by each batch.

Shapes: B images, N tokens, d_in, d_out, k channels in float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from fakescan.export.nodes import Nodes
from fakescan.export.precision import quantise
from fakescan.export.ranges import Range
from fakescan.model.layout import SCALE_SUFFIX, dequantise

HALF, WHOLE = 127, 255
"""Steps on each side of zero, and in all."""
CENTRE = 128
"""What uint8 stands for zero, where values have both signs."""
FLOOR = 0.17
"""No activation of the towers (GELU, quick GELU) is below -0.17: after one, uint8 begins there."""
SENSITIVE = "transformer.resblocks.0.mlp.c_proj.weight"
"""Stays in float32: a 24th of the products of eight blocks, and two thirds of the error."""
SMALLEST = 1e-9
"""Of a token's scale."""


class IntegerWriter:
    """Writes linear maps of the tower in integers."""

    def __init__(self, nodes: Nodes, ranges: Mapping[str, Range]) -> None:
        """Write into a graph.

        Args:
            nodes: whose storage is int8.
            ranges: what each map reads, by the name of its matrix.
        """
        self.nodes = nodes
        self.ranges = ranges

    def linear(self, x: str, weight: str, bias: str) -> str:
        """(B, N, d_in) -> (B, N, d_out), by the parameters' names."""
        if weight == SENSITIVE:
            return self.nodes.linear(x, weight, bias)
        n, found = self.nodes, self.ranges[weight]
        n.keep(weight)
        is_open = np.ones(found.channels, np.float32)
        is_open[list(found.loud)] = 0
        quiet = n.op("Mul", x, n.constant(is_open))
        is_static = n.storage.precision == "int8-static"
        product = (self._static if is_static else self._dynamic)(quiet, weight, found)
        loud = n.constant(np.array(found.loud, np.int64))
        rows = n.op("Gather", weight, loud, axis=0)  # (k, d_out) int8
        rows = n.op("DequantizeLinear", rows, weight + SCALE_SUFFIX, axis=1)
        rest = n.op("MatMul", n.op("Gather", x, loud, axis=2), rows)
        shift = n.plain(bias) if is_static else self._shift(weight, bias, found)
        return n.op("Add", n.op("Add", product, rest), shift)

    def _static(self, x: str, weight: str, found: Range) -> str:
        low, high = min(found.low, 0.0), max(found.high, 0.0)
        size = max((high - low) / WHOLE, SMALLEST)
        zero = self.nodes.constant(np.array(round(-low / size), np.uint8))
        step = self.nodes.number(size)
        q = self.nodes.op("QuantizeLinear", x, step, zero)
        return self._product(q, weight, zero, step)

    def _dynamic(self, x: str, weight: str, found: Range) -> str:
        n, is_centred = self.nodes, not found.has_floor
        if not is_centred:
            x = n.op("Add", x, n.number(FLOOR))
        sizes = n.op("Abs", x) if is_centred else x
        largest = n.reduce("ReduceMax", sizes, -1, keep=True)  # (B, N, 1)
        step = n.op("Mul", largest, n.number(1 / (HALF if is_centred else WHOLE)))
        step = n.op("Max", step, n.number(SMALLEST))
        zero = n.constant(np.array(CENTRE if is_centred else 0, np.uint8))
        q = n.op("QuantizeLinear", n.op("Div", x, step), n.number(1), zero)
        return self._product(q, weight, zero, step)

    def _product(self, q: str, weight: str, zero: str, step: str) -> str:
        n = self.nodes
        whole = n.op("Cast", n.op("MatMulInteger", q, weight, zero), to=TensorProto.FLOAT)
        return n.op("Mul", n.op("Mul", whole, weight + SCALE_SUFFIX), step)

    def _shift(self, weight: str, bias: str, found: Range) -> str:
        """(d_out,): the bias, less what the added floor brought in."""
        n = self.nodes
        if not found.has_floor:
            return n.plain(bias)
        matrix = dequantise(*quantise(n.state[weight]))  # (d_in, d_out)
        brought: NDArray[np.float32] = FLOOR * matrix.sum(axis=0)  # (d_out,)
        return n.op("Sub", n.plain(bias), n.constant(brought.astype(np.float32)))
