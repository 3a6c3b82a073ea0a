"""Where in a graph the parts of a transformer block are, as `fakescan.export.blocks` writes them.

Matrices are found by their names, which are open_clip's. What does not look as expected is told
as a `ValueError`, or left as it is where nothing is lost but speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.fast.file import Graph, Node

SCALE_SUFFIX = ".scale"
"""Of the factors of an int8 matrix's output channels."""
BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_weight$")
INT8_MAX = 127
SMALLEST = 1e-30
"""A column whose largest value is below becomes zero."""
ELEMENTWISE = frozenset(("Add", "Erf", "Mul", "Sigmoid", "Tanh"))
"""What activation functions are made of."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear map: x W + b."""

    name: str
    """Of W."""
    x: str
    """What it reads."""
    out: str
    """What it gives."""
    matrix: NDArray[np.float32]
    """(d_in, d_out)"""
    q: NDArray[np.int8]
    """(d_in, d_out): the matrix, as near as int8 comes."""
    scale: NDArray[np.float32]
    """(d_out,), of q's columns."""
    bias: NDArray[np.float32]
    """(d_out,)"""


@dataclass(frozen=True, slots=True)
class Attention:
    """The mixing of values, from queries, keys and values to what the output map reads."""

    q: str
    k: str
    v: str
    out: str
    heads: int


@dataclass(frozen=True, slots=True)
class Block:
    """One transformer block."""

    in_proj: Linear
    thirds: tuple[str, str, str]
    """Queries, keys, values, as in_proj gives them."""
    out_proj: Linear
    c_fc: Linear
    c_proj: Linear
    activation: tuple[Node, ...]
    """From what c_fc gives to what c_proj reads, in order."""
    attention: Attention | None
    """None where parts of it are outputs, or it looks unlike others."""


class Finder:
    """Finds blocks in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {out: node for node in graph.nodes for out in node.outputs}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.uses = graph.uses()

    def blocks(self) -> Iterator[Block]:
        """Yield all, lowest first.

        Raises:
            ValueError: the graph is not of the kind that `fakescan export` writes.
        """
        numbers = sorted(int(m[1]) for name in self.graph.tensors if (m := BLOCK.match(name)))
        if not numbers:
            raise ValueError("no transformer blocks in it")
        for number in numbers:
            at = f"transformer.resblocks.{number}"
            in_proj, out_proj = (
                self.linear(f"{at}.attn.{name}") for name in ("in_proj_weight", "out_proj.weight")
            )
            c_fc, c_proj = (self.linear(f"{at}.mlp.{name}.weight") for name in ("c_fc", "c_proj"))
            (split,) = self.readers[in_proj.out]
            if split.kind != "Split" or len(split.outputs) != 3:
                raise ValueError(f"{in_proj.name}: a {split.kind} behind it")
            yield Block(
                in_proj=in_proj,
                thirds=(split.outputs[0], split.outputs[1], split.outputs[2]),
                out_proj=out_proj,
                c_fc=c_fc,
                c_proj=c_proj,
                activation=self._between(c_fc.out, c_proj.x),
                attention=self._attention(out_proj.x),
            )

    def linear(self, name: str) -> Linear:
        """The map of a matrix.

        Raises:
            ValueError: it is used otherwise.
        """
        if name not in self.graph.tensors:
            raise ValueError(f"{name}: not in it")
        matrix = self.graph.array(name)
        if name + SCALE_SUFFIX in self.graph.tensors:
            q, scale = matrix, self.graph.array(name + SCALE_SUFFIX)
            matrix = q.astype(np.float32) * scale
        else:
            q, scale = quantised(matrix)
        found = [pair for node in self.readers[name] for pair in self._biased(node)]
        if len(found) != 1:
            raise ValueError(f"{name}: read by {len(found)} linear maps")
        ((product, add),) = found
        shift = next(n for n in add.inputs if n != product.outputs[0])
        x, out = product.inputs[0], add.outputs[0]
        return Linear(name, x, out, matrix, q, scale, self.graph.array(shift))

    def _biased(self, node: Node) -> Iterator[tuple[Node, Node]]:
        """Products with a matrix that a bias is added to; the matrix may be dequantised first."""
        if node.kind == "DequantizeLinear":
            for reader in self.readers[node.outputs[0]]:
                yield from self._biased(reader)
        elif node.kind == "MatMul":
            for add in self.readers[node.outputs[0]]:
                others = [name for name in add.inputs if name != node.outputs[0]]
                if add.kind == "Add" and others[0] in self.graph.tensors:
                    yield node, add

    def _between(self, start: str, end: str) -> tuple[Node, ...]:
        """Elementwise nodes from one value to another.

        Raises:
            ValueError: other nodes lie between them.
        """
        found: list[Node] = []
        waiting = [end]
        while waiting:
            name = waiting.pop()
            if name == start or name in self.graph.tensors:
                continue
            node = self.makers[name]
            if node.kind not in ELEMENTWISE:
                raise ValueError(f"{start}: {node.kind} is no part of an activation function")
            if node not in found:
                found.append(node)
                waiting += node.inputs
        return tuple(node for node in self.graph.nodes if node in found)

    def _attention(self, out: str) -> Attention | None:
        """What is mixed into a value of (B, N, D); None unless all looks as expected."""
        try:
            weighed = self._back(out, "Reshape", "Transpose", "MatMul")
            scores = self._back(weighed.inputs[0], "Softmax", "MatMul")
            scaled = self._back(scores.inputs[0], "Mul")
            parts = [
                self._back(name, "Transpose", "Reshape")
                for name in (scaled.inputs[0], scores.inputs[1], weighed.inputs[1])
            ]
        except ValueError:
            return None
        sizes = [self.graph.array(part.inputs[1]).tolist() for part in parts]
        heads, width = sizes[0][2:]
        factor: Any = self.graph.array(scaled.inputs[1])
        is_usual = all(s == [0, 0, heads, width] for s in sizes)
        if not (is_usual and np.isclose(float(factor), width**-0.5)):
            return None
        q, k, v = (part.inputs[0] for part in parts)
        return Attention(q, k, v, out, heads)

    def _back(self, name: str, *kinds: str) -> Node:
        """The last of several nodes, each the only reader of the one before, walking upwards."""
        for kind in kinds:
            node = self.makers.get(name)
            if node is None or node.kind != kind or self.uses[name] != 1:
                raise ValueError(name)
            name, found = node.inputs[0], node
        return found


def quantised(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(d_in, d_out) -> values in [-127, 127], and the scale of each column (d_out,)."""
    scale = (np.maximum(np.abs(matrix).max(axis=0), SMALLEST) / INT8_MAX).astype(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale
