"""The fast form: linear maps in integers by ONNX Runtime's fused operators, attention in one.

    x W = s (q W) + x_k W_k        q = round(x / s); W as the file has it, in int8

The scale s is one of a whole image, from its own values: `DynamicQuantizeMatMul` takes one of all
that it is given, so that images must go through the graph one by one, as they do on the CPU.
That is coarse, as a few channels of CLIP's tokens are far larger than all others. So the k largest
go through a small product in float32, and are 0 in q; of what c_proj reads, the largest hidden
units are computed in float32 beside the others. The LayerNorm in front of a map, written once more
for it, does that, and takes away the middle of each channel's values, which the bias gives back.
The first block's out_proj stays in float32, and so do more of its hidden units.

After: Dettmers et al., "LLM.int8()", arXiv 2208.07339; Wei et al., "Outlier Suppression+", arXiv
2304.09145. Differs from the papers: channels are chosen once, on a few photographs.

Shapes: N tokens, D width, k channels in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.fast.file import MICROSOFT, Graph, Node, attribute, read_graph
from fakescan.fast.pattern import Block, Finder, Linear
from fakescan.fast.ranges import Open, Range, measure
from fakescan.image import Preprocess

VERSION = 1
"""Grows when the form of a file, and so its scores, changes."""
QUIET_PER_LOUD = 24
"""One in so many channels, and hidden units, stays in float32. Half as many make the error of the
logit grow by two thirds, and save 5 % of the time."""
FIRST_QUIET_PER_LOUD = 6
"""The same of the first block's hidden units: most of the error would come from there."""


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
    blocks = list(Finder(graph).blocks())
    reads = [linear.x for b in blocks for linear in (b.in_proj, b.c_fc, b.c_proj)]
    writer = _Writer(graph, measure(graph, reads, preprocess, open_session))
    for number, block in enumerate(blocks):
        writer.block(block, is_first=not number)
    graph.prune()
    return graph.to_bytes()


class _Split(NamedTuple):
    """What a map reads, in two parts."""

    quiet: str
    """(1, N, D): less its middle; 0 in the loud channels."""
    loud: str
    """(1, N, k): those, as they are."""
    channels: NDArray[np.int64]
    """(k,): which they are."""
    middle: NDArray[np.float32]
    """(D,): what was taken from the quiet part."""


class _Writer:
    """Puts the nodes of the fast form in the place of others."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self.graph = graph
        self.ranges = ranges
        self._makers = {out: node for node in graph.nodes for out in node.outputs}
        self._count = 0

    def block(self, block: Block, *, is_first: bool) -> None:
        """Rewrite one block."""
        self._drop(*block.thirds)
        split = self._behind_norm(block.in_proj)
        width = len(block.in_proj.bias) // 3
        for i, out in enumerate(block.thirds):
            self._product(split, block.in_proj, np.arange(i * width, (i + 1) * width), out)
        if (mixing := block.attention) is not None:
            self._drop(mixing.out)
            how = [attribute("num_heads", mixing.heads)]
            self._own("MultiHeadAttention", mixing.q, mixing.k, mixing.v, to=mixing.out, how=how)
        if not is_first:
            last = block.out_proj
            self._drop(last.out)
            self._integer(last.x, last.q, last.scale, last.bias, last.out)
        self._drop(block.c_proj.out)
        self._mlp(block, FIRST_QUIET_PER_LOUD if is_first else QUIET_PER_LOUD)

    def _mlp(self, block: Block, quiet_per_loud: int) -> None:
        """Hidden units in two groups: those with the largest values in float32."""
        fc, proj, split = block.c_fc, block.c_proj, self._behind_norm(block.c_fc)
        found = self.ranges[proj.x]
        size = np.maximum(found.high, -found.low)
        loud = _largest(size, quiet_per_loud)
        units = np.setdiff1d(np.arange(len(size)), loud)
        active = self._activated(block, self._product(split, fc, units))
        if not len(loud):
            self._integer(active, proj.q, proj.scale, proj.bias, proj.out)
            return
        given = self._integer(active, proj.q[units], proj.scale, proj.bias)
        hidden = self._op("MatMul", fc.x, self._put(fc.matrix[:, loud]))
        hidden = self._op("Add", hidden, self._put(fc.bias[loud]))
        rest = self._op("MatMul", self._activated(block, hidden), self._put(proj.matrix[loud]))
        self._op("Add", given, rest, to=proj.out)

    def _activated(self, block: Block, hidden: str) -> str:
        """The activation function of hidden values."""
        names = {block.c_fc.out: hidden}
        for node in block.activation:
            inputs = [names.get(name, name) for name in node.inputs]
            names[node.outputs[0]] = self._op(node.kind, *inputs)
        return names[block.c_proj.x]

    def _behind_norm(self, linear: Linear) -> _Split:
        """What a map reads, from a LayerNorm of its own.

        Raises:
            ValueError: it reads something else.
        """
        norm = self._makers[linear.x]
        if norm.kind != "LayerNormalization":
            raise ValueError(f"{linear.name}: reads what {norm.kind} gives")
        found = self.ranges[linear.x]
        middle = ((found.high + found.low) / 2).astype(np.float32)  # (D,)
        loud = _largest((found.high - found.low) / 2, QUIET_PER_LOUD)
        is_quiet = np.ones(len(middle), np.float32)
        is_quiet[loud] = 0
        weight, bias = (self.graph.array(name) for name in norm.inputs[1:])
        own = [self._put(weight * is_quiet), self._put((bias - middle) * is_quiet)]
        quiet = self._op("LayerNormalization", norm.inputs[0], *own, how=norm.attributes)
        return _Split(quiet, self._gathered(linear.x, loud), loud, middle * is_quiet)

    def _gathered(self, x: str, channels: NDArray[np.int64]) -> str:
        """(1, N, D) -> (1, N, k)."""
        if not len(channels):
            return x
        return self._op("Gather", x, self._put(channels), how=[attribute("axis", 2)])

    def _product(
        self, split: _Split, linear: Linear, columns: NDArray[np.int64], to: str | None = None
    ) -> str:
        """Some columns of a map."""
        matrix, q, scale = linear.matrix[:, columns], linear.q[:, columns], linear.scale[columns]
        bias = linear.bias[columns] + split.middle @ (q * scale)
        if not len(split.channels):
            return self._integer(split.quiet, q, scale, bias, to)
        q = q.copy()
        q[split.channels] = 0
        quiet = self._integer(split.quiet, q, scale, bias)
        loud = self._op("MatMul", split.loud, self._put(matrix[split.channels]))
        return self._op("Add", quiet, loud, to=to)

    def _integer(
        self,
        x: str,
        q: NDArray[np.int8],
        scale: NDArray[np.float32],
        bias: NDArray[np.float32],
        to: str | None = None,
    ) -> str:
        """A product in integers, x rounded by one scale: (1, N, d_in) -> (1, N, d_out)."""
        inputs = [x, self._put(q), self._put(scale), "", self._put(bias)]
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
