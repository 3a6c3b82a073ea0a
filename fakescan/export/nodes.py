"""A graph in the making: nodes and initializers, written one by one.

Every method returns the name of the tensor that it makes, so that code reads like the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fakescan.export.precision import Storage

AXES_AS_INPUT = 18
"""Opset from which ReduceMean and others take axes as an input, and Split counts its outputs."""


class Nodes:
    """Nodes and initializers so far.

    Activations are float32, except where `narrow` makes them the storage's type of computation.
    """

    def __init__(
        self, state: Mapping[str, NDArray[np.float32]], storage: Storage, opset: int
    ) -> None:
        """Start an empty graph.

        Args:
            state: the detector's tensors by name, as `fakescan.model.layout` lays them out.
            storage: how the tower's matrices are kept.
            opset: of ONNX; operators are written as it wants them.
        """
        self.state = state
        self.storage = storage
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._count = 0

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output."""
        return self.split(kind, *inputs, outputs=1, **attributes)[0]

    def split(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One node with several outputs."""
        names = [self._name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def reduce(self, kind: str, x: str, axis: int, *, keep: bool = False) -> str:
        """`ReduceMean`, `ReduceMax`: since opset 18 the axis is an input."""
        if self.opset < AXES_AS_INPUT:
            return self.op(kind, x, axes=[axis], keepdims=int(keep))
        return self.op(kind, x, self.shape(axis), keepdims=int(keep))

    def thirds(self, x: str) -> list[str]:
        """(..., 3 D) -> three (..., D)."""
        count = {} if self.opset < AXES_AS_INPUT else {"num_outputs": 3}
        return self.split("Split", x, outputs=3, axis=-1, **count)

    def constant(self, value: NDArray[Any]) -> str:
        """A tensor that is no parameter of the model."""
        name = self._name("constant")
        self.initializers[name] = numpy_helper.from_array(value, name)
        return name

    def shape(self, *sizes: int) -> str:
        """An int64 vector, such as Reshape's: 0 keeps an axis, -1 takes the rest."""
        return self.constant(np.array(sizes, np.int64))

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def plain(self, name: str) -> str:
        """A parameter, float32."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(self.state[name], name)
        return name

    def matrix(self, name: str) -> str:
        """One of the tower's matrices, in the type of computation."""
        scale = self.keep(name)
        return name if scale is None else self.op("DequantizeLinear", name, scale, axis=1)

    def keep(self, name: str) -> str | None:
        """Put one of the tower's matrices into the graph; the name of its scales, if it has any."""
        stored = self.storage.store(name, self.state[name])
        self.initializers[name] = stored.matrix
        if stored.scale is None:
            return None
        self.initializers[stored.scale.name] = stored.scale
        return str(stored.scale.name)

    def narrow(self, x: str) -> str:
        """Float32 -> the type of computation."""
        return self.cast(x, self.storage.compute)

    def widen(self, x: str) -> str:
        """The type of computation -> float32."""
        return self.cast(x, TensorProto.FLOAT, self.storage.compute)

    def cast(self, x: str, to: int, given: int = TensorProto.FLOAT) -> str:
        """To another type; nothing where it is the same."""
        return x if to == given else self.op("Cast", x, to=to)

    def linear(self, x: str, weight: str, bias: str) -> str:
        """(B, N, d_in) -> (B, N, d_out), in the type of computation, by the parameters' names."""
        product = self.op("MatMul", x, self.matrix(weight))
        return self.op("Add", product, self.narrow(self.plain(bias)))

    def norm(self, x: str, name: str, eps: float) -> str:
        """LayerNorm over the last axis, float32."""
        weight, bias = self.plain(f"{name}.weight"), self.plain(f"{name}.bias")
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=eps)

    def rename(self, x: str, name: str) -> None:
        """Give a tensor the name of a graph output."""
        self.nodes.append(helper.make_node("Identity", [x], [name]))

    def pick(self, x: str, axis: int, start: int, stop: int) -> str:
        """Entries `start` to `stop` of one axis."""
        bounds = [self.shape(value) for value in (start, stop, axis)]
        return self.op("Slice", x, *bounds)

    def reshape(self, x: str, sizes: Sequence[int]) -> str:
        """The same values in another shape."""
        return self.op("Reshape", x, self.shape(*sizes))

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"
