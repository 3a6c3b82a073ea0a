"""Turn a tower's tokens in their space, so that no channel is larger than others.

Between blocks a transformer adds to its tokens, and every part reads them through a LayerNorm and
a matrix. Turn the tokens by an orthogonal matrix, turn what is added to them, and turn what reads
them back inside its matrix: all outputs stay as they are, but what is read has its energy spread
over all channels. A LayerNorm takes away the mean over channels: it commutes with rotations that
leave the direction (1, 1, ..., 1) alone, once its factors are part of the matrix behind it.

Values are turned within each head in the same way, between in_proj and out_proj.

After: Ashkboos et al., "QuaRot", arXiv 2404.00456; Liu et al., "SpinQuant", arXiv 2405.16406.
Differs from the papers: the means stay, no product is added within blocks, and nothing is learnt.

Shapes: N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fakescan.fast.file import Graph, Node, wholes_of
from fakescan.fast.pattern import SCALE_SUFFIX, Block, Finder, Linear

Matrix = NDArray[np.float32]
SEED = 0
HEAD = "head.weight"
"""Of what reads levels: (levels * 2 * D,)."""
TOKENS = 1
"""The axis of (B, N, D)."""


def rotation(width: int, *, keeps_mean: bool) -> NDArray[np.float64]:
    """An orthogonal matrix that spreads every channel over all, (D, D).

    Args:
        width: D.
        keeps_mean: it maps (1, ..., 1) to itself.
    """
    fixed = int(keeps_mean)
    free = width - fixed
    drawn = np.random.default_rng(SEED).standard_normal((free, free))
    turned = np.eye(width)
    turned[fixed:, fixed:] = np.linalg.qr(drawn).Q
    if not keeps_mean:
        return turned
    normal = np.full(width, width**-0.5)  # a mirror brings (1, ..., 1) to the first axis
    normal[0] -= 1
    size = normal @ normal
    mirror = np.eye(width) - (2 / size) * np.outer(normal, normal) if size else np.eye(width)
    turned_back: NDArray[np.float64] = mirror @ turned @ mirror
    return turned_back


def rotate(graph: Graph) -> None:
    """Turn the tokens of a detector's graph, whose outputs stay what they are.

    Raises:
        ValueError: not a graph of the kind that `fakescan export` writes, with the reason.
    """
    _Rotation(graph).apply()


class _Map:
    """A linear map that is being changed."""

    def __init__(self, linear: Linear) -> None:
        self.linear = linear
        self.matrix = linear.matrix  # (d_in, d_out)
        self.bias = linear.bias  # (d_out,)


def _linears(block: Block) -> tuple[Linear, ...]:
    return block.in_proj, block.out_proj, block.c_fc, block.c_proj


class _Rotation:
    """Changes one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.finder = Finder(graph)
        self.blocks = list(self.finder.blocks())
        width = len(self.blocks[0].out_proj.bias)
        self.turn: Matrix = rotation(width, keeps_mean=True).astype(np.float32)
        self._inner = {id(node) for b in self.blocks for node in self._chain(b)}
        self.maps = {m.name: _Map(m) for b in self.blocks for m in _linears(b)}
        self._count = 0

    def apply(self) -> None:
        """Turn everything; readers are those of the graph as it was, so the first come last."""
        first = self._norm(self.blocks[0].in_proj).inputs[0]
        streams = [name for b in self.blocks for name in self._streams(b)]
        for block in self.blocks:
            self._values(block)
        for block in self.blocks:
            for linear in (block.in_proj, block.c_fc):
                self._read(linear)
            for linear, add in zip((block.out_proj, block.c_proj), self._adds(block), strict=True):
                self._write(linear, add)
        self._outside(streams)
        for changed in self.maps.values():
            self._put_back(changed)
        turned = self._op("MatMul", first, self._put(self.turn))
        for node in self.finder.readers[first]:
            if id(node) in self._inner:
                node.inputs = [turned if name == first else name for name in node.inputs]
        self.graph.prune()

    # finding

    def _norm(self, linear: Linear) -> Node:
        norm = self.finder.makers[linear.x]
        if norm.kind != "LayerNormalization":
            raise ValueError(f"{linear.name}: reads what {norm.kind} gives")
        return norm

    def _adds(self, block: Block) -> tuple[Node, Node]:
        """Where the block adds to its tokens."""
        middle = self._norm(block.c_fc).inputs[0]
        before = self._norm(block.in_proj).inputs[0]
        attention = self.finder.makers[middle]
        behind = [n for n in self.finder.readers[middle] if n.kind == "Add"]
        if attention.kind != "Add" or before not in attention.inputs or len(behind) != 1:
            raise ValueError(f"{block.c_fc.name}: not read from a sum of tokens")
        return attention, behind[0]

    def _streams(self, block: Block) -> list[str]:
        """Names of the tokens that the block gives."""
        return [add.outputs[0] for add in self._adds(block)]

    def _chain(self, block: Block) -> Iterable[Node]:
        """The nodes that read tokens as a block does."""
        return (self._norm(block.in_proj), self._norm(block.c_fc), *self._adds(block))

    # changing

    def _values(self, block: Block) -> None:
        """Turn the values of each head."""
        mixing, out = block.attention, self.maps[block.out_proj.name]
        if mixing is None or any(self.finder.uses[n] != 1 for n in (mixing.v, mixing.out)):
            return
        width = len(out.bias)
        turn = rotation(width // mixing.heads, keeps_mean=False)
        every = np.kron(np.eye(mixing.heads), turn).astype(np.float32)
        given = self.maps[block.in_proj.name]
        third = slice(2 * width, 3 * width)
        given.matrix, given.bias = given.matrix.copy(), given.bias.copy()
        given.matrix[:, third] = given.matrix[:, third] @ every
        given.bias[third] = given.bias[third] @ every
        out.matrix = every.T @ out.matrix

    def _read(self, linear: Linear) -> None:
        """Turn back what is read behind a LayerNorm, whose factors go where it is read."""
        norm, changed = self._norm(linear), self.maps[linear.name]
        factors, shift = (self.graph.array(name) for name in norm.inputs[1:])
        # (D, D): x' back = x F, for tokens x and turned ones x', and the factors on F's diagonal
        back: Matrix = np.multiply(self.turn.T, factors, dtype=np.float32)
        norm.inputs[1:] = [self._put(np.ones_like(shift)), self._put(np.zeros_like(shift))]
        changed.bias = np.asarray(changed.bias + shift @ changed.matrix, np.float32)
        changed.matrix = back @ changed.matrix
        whole: str | None = None
        for node in self.finder.readers[linear.x]:
            if self._product_of(linear) is node:
                continue
            if node.kind == "MatMul" and node.inputs[1] in self.graph.tensors:
                self._absorb(node, back, shift)
                continue
            whole = whole or self._op(
                "Add", self._op("MatMul", linear.x, self._put(back)), self._put(shift)
            )
            node.inputs = [whole if name == linear.x else name for name in node.inputs]

    def _product_of(self, linear: Linear) -> Node:
        """The product of a map."""
        return next(
            maker
            for name in self.finder.makers[linear.out].inputs
            if (maker := self.finder.makers.get(name)) is not None
        )

    def _absorb(self, node: Node, back: Matrix, shift: Matrix) -> None:
        """Turn the matrix of a product that has no bias."""
        matrix = self.graph.array(node.inputs[1])
        (out,) = node.outputs
        node.inputs[1], node.outputs[0] = self._put(back @ matrix), self._name()
        self.graph.nodes.append(Node("Add", [node.outputs[0], self._put(shift @ matrix)], [out]))

    def _write(self, linear: Linear, add: Node) -> None:
        """Turn what is added to tokens."""
        norms = {self._norm(m).inputs[0] for b in self.blocks for m in (b.in_proj, b.c_fc)}
        add.inputs = [name if name in norms else self._turned(name, linear) for name in add.inputs]

    def _turned(self, name: str, linear: Linear) -> str:
        """The name of a value that is turned."""
        maker = self.finder.makers[name]
        if name == linear.out and self.finder.uses[name] == 1:
            changed = self.maps[linear.name]
            changed.matrix, changed.bias = changed.matrix @ self.turn, changed.bias @ self.turn
            return name
        if maker.kind == "Add" and not any(n in self.graph.tensors for n in maker.inputs):
            return self._op("Add", *(self._turned(n, linear) for n in maker.inputs))
        if maker.kind == "MatMul" and maker.inputs[1] in self.graph.tensors:
            matrix = self.graph.array(maker.inputs[1]) @ self.turn
            return self._op("MatMul", maker.inputs[0], self._put(matrix))
        return self._op("MatMul", name, self._put(self.turn))

    def _outside(self, streams: list[str]) -> None:
        """Turn tokens back for all that is no block, or turn the head that reads them."""
        outside = [
            (name, node)
            for name in streams
            for node in self.finder.readers.get(name, [])
            if id(node) not in self._inner
        ]
        if self._is_head_all([node for _, node in outside]):
            weight = self.graph.array(HEAD)
            parts = weight.reshape(-1, len(self.turn)) @ self.turn
            self.graph.put(HEAD, parts.reshape(-1))
            return
        names = dict.fromkeys(name for name, _ in outside)
        back = {name: self._op("MatMul", name, self._put(self.turn.T)) for name in names}
        for _, node in outside:
            node.inputs = [back.get(name, name) for name in node.inputs]

    def _is_head_all(self, readers: list[Node]) -> bool:
        """Whether nothing but the head reads tokens: their choice or mean, side by side."""
        if HEAD not in self.graph.tensors or self.graph.array(HEAD).size % len(self.turn):
            return False
        waiting = list(readers)
        while waiting:
            node = waiting.pop()
            if node.kind == "MatMul":
                if not self._is_head(node.inputs[1]):
                    return False
            elif node.kind == "Concat" or self._keeps_channels(node):
                waiting += [n for out in node.outputs for n in self.finder.readers.get(out, [])]
            else:
                return False
        return True

    def _is_head(self, name: str) -> bool:
        maker = self.finder.makers.get(name)
        return name == HEAD or (maker is not None and maker.inputs[0] == HEAD)

    def _keeps_channels(self, node: Node) -> bool:
        """Whether it chooses or averages whole tokens."""
        if node.kind == "Gather":
            return wholes_of(node, "axis") == [TOKENS]
        if node.kind == "Slice":
            return bool(self.graph.array(node.inputs[3]).tolist() == [TOKENS])
        return node.kind == "ReduceMean"

    # writing

    def _put_back(self, changed: _Map) -> None:
        """Write a map into the graph, in float32; who else reads its matrix keeps the old one."""
        linear = changed.linear
        for name in (linear.name, linear.name + SCALE_SUFFIX):
            if name in self.graph.tensors:
                self._rename(name)
        self.graph.put(linear.name, changed.matrix)
        product, add = self._product_of(linear), self.finder.makers[linear.out]
        product.inputs[1] = linear.name
        add.inputs = [product.outputs[0], self._put(changed.bias)]

    def _rename(self, name: str) -> None:
        """Give a tensor a name that nobody looks for."""
        kept = self.graph.put(self._name(), self.graph.array(name))
        del self.graph.tensors[name]
        for node in self.finder.readers[name]:
            node.inputs = [kept if read == name else read for read in node.inputs]

    def _put(self, value: Matrix) -> str:
        return self.graph.put(self._name(), value.astype(np.float32, copy=False))

    def _op(self, kind: str, *inputs: str) -> str:
        out = self._name()
        self.graph.nodes.append(Node(kind, list(inputs), [out]))
        return out

    def _name(self) -> str:
        self._count += 1
        return f"turned_{self._count}"
