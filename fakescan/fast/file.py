"""An ONNX file as nodes and tensors that can be changed; all else is kept as it is.

Source: `onnx.proto`: messages ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan import protobuf
from fakescan.protobuf import GRAPH, fields, float_field, whole_field

OPSET_IMPORT = 8
NODE, INITIALIZER, OUTPUT, VALUE_INFO = 1, 5, 12, 13
"""Of a graph."""
INPUTS, OUTPUTS, KIND, ATTRIBUTE, DOMAIN = 1, 2, 4, 5, 7
"""Of a node."""
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9
"""Of a tensor."""
TYPES: dict[int, Any] = {1: np.float32, 2: np.uint8, 3: np.int8, 7: np.int64}
"""Of a tensor's values, by their number in ONNX."""
FLOAT, INT = 1, 2
"""Types of attributes."""
MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


@dataclass(slots=True)
class Node:
    """One operator."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    domain: str = ""
    attributes: list[bytes] = field(default_factory=list)
    """Each a serialised AttributeProto."""
    rest: list[bytes] = field(default_factory=list)
    """Serialised fields that are kept as they are."""


@dataclass(slots=True)
class Graph:
    """The nodes and tensors of a file."""

    nodes: list[Node]
    tensors: dict[str, memoryview]
    """Each a serialised TensorProto, by name."""
    outputs: list[str]
    """Names of what the graph gives."""
    rest: list[bytes]
    """Serialised fields of the graph that are kept as they are: its inputs and outputs."""
    model_rest: list[bytes]
    """The same of the file: metadata, versions."""

    def array(self, name: str) -> NDArray[Any]:
        """A tensor's values; not to be written to.

        Raises:
            ValueError: of a type, or kept in a way, that `fakescan export` never writes.
        """
        sizes: list[int] = []
        kind, data = 0, None
        for found in fields(self.tensors[name]):
            if found.number == DIMS:
                sizes += found.wholes
            elif found.number == DATA_TYPE:
                kind = found.whole
            elif found.number == RAW_DATA:
                data = found.value
        if data is None or kind not in TYPES:
            raise ValueError(f"{name}: a tensor of type {kind} without raw data")
        return np.frombuffer(data, np.dtype(TYPES[kind]).newbyteorder("<")).reshape(sizes)

    def put(self, name: str, value: NDArray[Any]) -> str:
        """Add a tensor, or replace it; gives its name."""
        kind = next(number for number, type_ in TYPES.items() if value.dtype == type_)
        parts = [whole_field(DIMS, size) for size in value.shape]
        parts.append(whole_field(DATA_TYPE, kind))
        parts.append(protobuf.field(NAME, name.encode()))
        parts.append(protobuf.field(RAW_DATA, np.ascontiguousarray(value).tobytes()))
        self.tensors[name] = memoryview(b"".join(parts))
        return name

    def prune(self) -> None:
        """Drop nodes and tensors that nothing needs, and bring nodes into an order to run in."""
        makers = {out: node for node in self.nodes for out in node.outputs}
        order: dict[int, Node] = {}
        waiting = [(name, False) for name in self.outputs]
        while waiting:
            name, has_inputs = waiting.pop()
            node = makers.get(name)
            if node is None or id(node) in order:
                continue
            if has_inputs:
                order[id(node)] = node
            else:
                waiting += [(name, True), *((read, False) for read in node.inputs)]
        self.nodes = list(order.values())
        needed = {name for node in self.nodes for name in node.inputs}
        self.tensors = {name: t for name, t in self.tensors.items() if name in needed}

    def uses(self) -> Counter[str]:
        """How often each value is read, outputs of the graph included."""
        reads = Counter(name for node in self.nodes for name in node.inputs)
        return reads + Counter(self.outputs)

    def with_outputs(self, names: Iterable[str]) -> Graph:
        """The same graph, which also gives these float32 values."""
        added = [name for name in names if name not in self.outputs]
        infos = [protobuf.field(OUTPUT, _float_info(name)) for name in added]
        return replace(self, outputs=[*self.outputs, *added], rest=[*self.rest, *infos])

    def to_bytes(self) -> bytes:
        """The file."""
        nodes = [protobuf.field(NODE, _node_bytes(node)) for node in self.nodes]
        tensors = [protobuf.field(INITIALIZER, tensor) for tensor in self.tensors.values()]
        graph = protobuf.field(GRAPH, b"".join([*nodes, *self.rest, *tensors]))
        has_own = any(node.domain == MICROSOFT for node in self.nodes)
        own = protobuf.field(1, MICROSOFT.encode()) + whole_field(2, 1)
        opset = [protobuf.field(OPSET_IMPORT, own)] if has_own else []
        return b"".join([*self.model_rest, *opset, graph])


def read_graph(model: bytes) -> Graph:
    """The graph of a file.

    Raises:
        ValueError: not an ONNX file.
    """
    graph = Graph([], {}, [], [], [])
    view = memoryview(model)
    for outer in fields(model):
        if outer.number != GRAPH:
            graph.model_rest.append(bytes(view[outer.start : outer.end]))
            continue
        for found in fields(outer.value):
            if found.number == NODE:
                graph.nodes.append(_node(found.value))
            elif found.number == INITIALIZER:
                graph.tensors[_text(found.value, NAME)] = found.value
            elif found.number != VALUE_INFO:  # shapes inside the graph, which may change
                graph.rest.append(bytes(outer.value[found.start : found.end]))
                if found.number == OUTPUT:
                    graph.outputs.append(_text(found.value, 1))
    return graph


def attribute(name: str, value: float | int) -> bytes:
    """A float or a whole number, as NodeProto keeps it."""
    head = protobuf.field(1, name.encode())
    if isinstance(value, int):
        return head + whole_field(3, value) + whole_field(20, INT)
    return head + float_field(2, value) + whole_field(20, FLOAT)


def wholes_of(node: Node, name: str) -> list[int]:
    """The whole number, or numbers, of an attribute; none where there is no such attribute."""
    found: list[int] = []
    for kept in node.attributes:
        message = memoryview(kept)
        if _text(message, 1) == name:
            found += [n for part in fields(message) if part.number in (3, 8) for n in part.wholes]
    return [n - 2**64 if n >> 63 else n for n in found]


def _node(message: memoryview) -> Node:
    node = Node("", [], [])
    for found in fields(message):
        if found.number in (INPUTS, OUTPUTS):
            (node.inputs if found.number == INPUTS else node.outputs).append(_string(found))
        elif found.number == KIND:
            node.kind = _string(found)
        elif found.number == DOMAIN:
            node.domain = _string(found)
        elif found.number == ATTRIBUTE:
            node.attributes.append(bytes(found.value))
        else:
            node.rest.append(bytes(message[found.start : found.end]))
    return node


def _node_bytes(node: Node) -> bytes:
    parts = [protobuf.field(INPUTS, name.encode()) for name in node.inputs]
    parts += [protobuf.field(OUTPUTS, name.encode()) for name in node.outputs]
    parts.append(protobuf.field(KIND, node.kind.encode()))
    parts += [protobuf.field(ATTRIBUTE, value) for value in node.attributes]
    if node.domain:
        parts.append(protobuf.field(DOMAIN, node.domain.encode()))
    return b"".join([*parts, *node.rest])


def _float_info(name: str) -> bytes:
    """A value of float32 and any shape."""
    kind = protobuf.field(1, whole_field(1, FLOAT))
    return protobuf.field(1, name.encode()) + protobuf.field(2, kind)


def _text(message: memoryview, number: int) -> str:
    return next((_string(found) for found in fields(message) if found.number == number), "")


def _string(found: protobuf.Field) -> str:
    return bytes(found.value).decode()
