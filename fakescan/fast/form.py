"""The fast form: linear maps in integers by ONNX Runtime's fused operators, attention in one.

    x W = s (q W') + b        q = round(x / s); W' = W in int8, a scale for each of its columns

The scale s is one of a whole image, from its own values: `DynamicQuantizeMatMul` takes one of all
that it is given, so that images must go through the graph one by one, as they do on the CPU.
That is coarse, as a few channels of CLIP's tokens are far larger than all others. So tokens are
turned first (`fakescan.fast.rotate`), which leaves no channel larger than others, and a LayerNorm
takes away the middle of each channel's values, which the bias gives back. Hidden units cannot be
turned: each token's are divided by their largest value, which the product is multiplied by, and
the largest units are computed in float32 beside the others. Values are centred and made more alike
before attention mixes them, as weights that sum to 1 mix what is taken away into nothing else; the
first blocks' out_proj stays in float32.

After: Ashkboos et al., "QuaRot", arXiv 2404.00456; Dettmers et al., "LLM.int8()", arXiv
2208.07339; Wei et al., "Outlier Suppression+", arXiv 2304.09145. Differs from the papers: units
are chosen once, on a few photographs; hidden units are not turned.

Shapes: N tokens, D width, H hidden units, k of them in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.fast.file import MICROSOFT, Graph, Node, attribute, read_graph
from fakescan.fast.pattern import Block, Finder, Linear, quantised
from fakescan.fast.ranges import Open, Range, measure
from fakescan.fast.rotate import rotate
from fakescan.image import Preprocess

VERSION = 2
"""Grows when the form of a file, and so its scores, changes."""
QUIET_PER_LOUD = 96
"""One in so many hidden units stays in float32. None would make the error of the logit grow by a
tenth; four times as many would not make it smaller, and cost 4 % of the time."""
FLOAT_OUT_PROJ = 2
"""The first so many blocks' out_proj stays in float32: a tenth less of the error, for 2 % of the
time. In all blocks it would be hardly less, for 9 %."""
LEAST_SCALE = 0.17
"""Of a token's hidden units: none of CLIP's activation functions goes further below 0."""


def fast_form(model: bytes, preprocess: Preprocess, open_session: Open) -> bytes:
    """A detector's file -> the file of its fast form.

    Args:
        model: of precision int8 or fp32.
        preprocess: how its images become squares.
        open_session: loads a file as it is scored without this form.

    Raises:
        ValueError: not a graph of the kind that `fakescan export` writes, with the reason.
    """
    graph = read_graph(model)
    rotate(graph)
    blocks = list(Finder(graph).blocks())
    reads = [m.x for b in blocks for m in (b.in_proj, b.out_proj, b.c_fc, b.c_proj)]
    ranges = measure(graph, reads, preprocess, open_session)
    writer = _Writer(graph, ranges)
    for number, block in enumerate(blocks):
        even = _evened(block, ranges[block.out_proj.x], graph.uses())
        writer.block(even, has_float_out=number < FLOAT_OUT_PROJ)
    graph.prune()
    return graph.to_bytes()


def _evened(block: Block, found: Range, uses: Mapping[str, int]) -> Block:
    """A block that computes the same, but whose out_proj reads channels about 0 and more alike.

    Args:
        block: whose values only attention reads, and what that gives only out_proj.
        found: what out_proj reads.
        uses: how often values of the graph are read.
    """
    mixing, given, last = block.attention, block.in_proj, block.out_proj
    if mixing is None or any(uses[name] != 1 for name in (mixing.v, mixing.out)):
        return block
    middle = (found.high + found.low) / 2  # (D,)
    size = np.maximum((found.high - found.low) / 2, np.finfo(np.float32).tiny)
    factors = np.sqrt(size / np.exp(np.log(size).mean()))
    matrix, bias, third = given.matrix.copy(), given.bias.copy(), slice(2 * len(size), None)
    matrix[:, third] /= factors
    bias[third] = (bias[third] - middle) / factors
    out = replace(
        last,
        matrix=np.asarray(last.matrix * factors[:, np.newaxis], np.float32),
        bias=np.asarray(last.bias + middle @ last.matrix, np.float32),
    )
    return replace(block, in_proj=replace(given, matrix=matrix, bias=bias), out_proj=out)


class _Centred(NamedTuple):
    """What a map reads, less the middle of each channel's values."""

    name: str
    """(1, N, D)"""
    middle: NDArray[np.float32]
    """(D,)"""


class _Writer:
    """Puts the nodes of the fast form in the place of others."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self.graph = graph
        self.ranges = ranges
        self._makers = {out: node for node in graph.nodes for out in node.outputs}
        self._count = 0

    def block(self, block: Block, *, has_float_out: bool) -> None:
        """Rewrite one block."""
        self._drop(*block.thirds, block.out_proj.out, block.c_proj.out)
        read = self._centred(block.in_proj)
        width = len(block.in_proj.bias) // 3
        for i, out in enumerate(block.thirds):
            self._product(read, block.in_proj, np.arange(i * width, (i + 1) * width), out)
        if (mixing := block.attention) is not None:
            self._drop(mixing.out)
            how = [attribute("num_heads", mixing.heads)]
            self._own("MultiHeadAttention", mixing.q, mixing.k, mixing.v, to=mixing.out, how=how)
        last = block.out_proj
        if has_float_out:
            mixed = self._op("MatMul", last.x, self._put(last.matrix))
            self._op("Add", mixed, self._put(last.bias), to=last.out)
        else:
            self._integer(last.x, last.matrix, last.bias, last.out)
        self._mlp(block)

    def _mlp(self, block: Block) -> None:
        """Hidden units in two groups: those with the largest values in float32."""
        fc, proj, read = block.c_fc, block.c_proj, self._centred(block.c_fc)
        found = self.ranges[proj.x]
        loud = _largest(np.maximum(found.high, -found.low), QUIET_PER_LOUD)
        units = np.setdiff1d(np.arange(len(found.high)), loud)
        active = self._activated(block, self._product(read, fc, units))
        largest = self._op("GlobalMaxPool", active)  # (1, N, 1), of each token
        largest = self._op("Max", largest, self._put(np.array(LEAST_SCALE, np.float32)))
        product = self._integer(self._op("Div", active, largest), proj.matrix[units])
        given = self._op("Mul", product, largest)
        if not len(loud):
            self._op("Add", given, self._put(proj.bias), to=proj.out)
            return
        given = self._op("Add", given, self._put(proj.bias))
        hidden = self._op("MatMul", read.name, self._put(fc.matrix[:, loud]))
        bias = fc.bias[loud] + read.middle @ fc.matrix[:, loud]
        hidden = self._op("Add", hidden, self._put(bias))
        rest = self._op("MatMul", self._activated(block, hidden), self._put(proj.matrix[loud]))
        self._op("Add", given, rest, to=proj.out)

    def _activated(self, block: Block, hidden: str) -> str:
        """The activation function of hidden values."""
        names = {block.c_fc.out: hidden}
        for node in block.activation:
            inputs = [names.get(name, name) for name in node.inputs]
            names[node.outputs[0]] = self._op(node.kind, *inputs)
        return names[block.c_proj.x]

    def _centred(self, linear: Linear) -> _Centred:
        """What a map reads, from a LayerNorm of its own."""
        norm = self._makers[linear.x]
        found = self.ranges[linear.x]
        middle = ((found.high + found.low) / 2).astype(np.float32)
        name, factors, shift = norm.inputs
        less = self._put(self.graph.array(shift) - middle)
        read = self._op("LayerNormalization", name, factors, less, how=norm.attributes)
        return _Centred(read, middle)

    def _product(
        self, read: _Centred, linear: Linear, columns: NDArray[np.int64], to: str | None = None
    ) -> str:
        """Some columns of a map."""
        matrix = linear.matrix[:, columns]
        bias = linear.bias[columns] + read.middle @ matrix  # which rounding W does not touch
        return self._integer(read.name, matrix, bias, to)

    def _integer(
        self,
        x: str,
        matrix: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        to: str | None = None,
    ) -> str:
        """A product in integers, x rounded by one scale: (1, N, d_in) -> (1, N, d_out)."""
        q, scale = quantised(matrix)
        inputs = [x, self._put(q), self._put(scale)]
        if bias is not None:
            inputs += ["", self._put(bias)]
        return self._own("DynamicQuantizeMatMul", *inputs, to=to)

    def _drop(self, *outs: str) -> None:
        """Take nodes out; something else is to give what they gave."""
        dropped = {id(self._makers[out]) for out in outs}
        self.graph.nodes = [node for node in self.graph.nodes if id(node) not in dropped]

    def _own(
        self, kind: str, *inputs: str, to: str | None = None, how: Sequence[bytes] = ()
    ) -> str:
        """One of ONNX Runtime's own operators."""
        out = to or self._name()
        self.graph.nodes.append(Node(kind, list(inputs), [out], MICROSOFT, list(how)))
        return out

    def _op(self, kind: str, *inputs: str, to: str | None = None, how: Sequence[bytes] = ()) -> str:
        """One of ONNX's operators; gives the name of its output."""
        out = to or self._name()
        self.graph.nodes.append(Node(kind, list(inputs), [out], "", list(how)))
        return out

    def _put(self, value: NDArray[Any]) -> str:
        """Add a tensor; gives its name."""
        kept = value.astype(np.float32) if value.dtype.kind == "f" else value
        return self.graph.put(self._name(), kept)

    def _name(self) -> str:
        self._count += 1
        return f"fast_{self._count}"


def _largest(size: NDArray[np.floating[Any]], quiet_per_loud: int) -> NDArray[np.int64]:
    """Channels with the largest sizes, rising: one in so many."""
    order = np.argsort(-size, kind="stable")[: len(size) // quiet_per_loud]
    return np.sort(order).astype(np.int64)
