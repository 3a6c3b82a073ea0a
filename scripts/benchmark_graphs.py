"""Graphs that fakescan does not write, to compare with: for scripts/benchmark_runtimes.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fakescan.export.blocks import BlockWriter

BLOCK = 32
"""Weights that share a scale, in 4 bits."""
STEPS = 7
"""On each side of zero, in 4 bits."""


def by_the_tool(single: Path, out: Path) -> Path:
    """What ONNX Runtime's own tool makes of a file: one scale for all activations of a batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(single)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"  # the tool chooses by name
    chosen = [n.name for n in model.graph.node if _is_block_product(n)]
    settings = {"weight_type": QuantType.QInt8, "per_channel": True, "nodes_to_quantize": chosen}
    quantize_dynamic(model, out, **settings)
    made = onnx.load(out)
    if not made.metadata_props:
        made.metadata_props.extend(model.metadata_props)
        onnx.save(made, out)
    return out


def _is_block_product(node: onnx.NodeProto) -> bool:
    return node.op_type == "MatMul" and node.input[1].startswith("transformer.")


def four_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The blocks' matrices in 4 bits with a scale for 32 weights, multiplied in float32."""
    tensors = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if not _is_block_product(node):
            continue
        name = node.input[1]
        matrix = numpy_helper.to_array(tensors.pop(name))  # (d_in, d_out)
        d_in, d_out = matrix.shape
        blocks = matrix.T.reshape(d_out, d_in // BLOCK, BLOCK)
        scale = np.abs(blocks).max(axis=-1, keepdims=True) / STEPS  # (d_out, blocks, 1)
        scale = np.maximum(scale, 1e-12).astype(np.float32)
        q = (np.rint(blocks / scale) + 8).clip(0, 15).astype(np.uint8)
        packed = q[..., 0::2] | q[..., 1::2] << 4  # (d_out, blocks, 16)
        tensors[f"{name}.q"] = numpy_helper.from_array(packed, f"{name}.q")
        tensors[f"{name}.s"] = numpy_helper.from_array(scale[..., 0], f"{name}.s")
        inputs = [node.input[0], f"{name}.q", f"{name}.s"]
        sizes = {"K": d_in, "N": d_out, "bits": 4, "block_size": BLOCK}
        made = helper.make_node(
            "MatMulNBits", inputs, list(node.output), domain="com.microsoft", **sizes
        )
        node.CopyFrom(made)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors.values())
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@contextmanager
def naive_experts() -> Iterator[None]:
    """While open, graphs evaluate every expert by itself: two products each, then the sum."""

    def with_experts(self: BlockWriter, out: str, x: str, number: int, site: str) -> str:
        if not self._has(number, site):
            return out
        n, at, start = self.nodes, f"experts.{number}.{site}", 0
        gate = self._column_gate(x, f"{at}.router")
        down, up = n.state[f"{at}.lora_A"], n.state[f"{at}.lora_B"]  # (D, R), (R, D)
        for rank in self.mole.ranks:
            stop = start + rank
            hidden = n.op("MatMul", x, n.constant(np.ascontiguousarray(down[:, start:stop])))
            if gate is not None:
                hidden = n.op("Mul", hidden, n.pick(gate, -1, start, stop))
            out = n.op("Add", out, n.op("MatMul", hidden, n.constant(up[start:stop].copy())))
            start = stop
        return out

    with patch.object(BlockWriter, "_with_experts", with_experts):
        yield
