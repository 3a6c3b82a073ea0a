"""A detector as one ONNX graph, written node by node.

    pixels (B, 3, S, S) -> logit (B,)
                           router_logits (B, routers, N, W)   with routed experts
                           patch_logit (B, N - 1)             with head `levels`

Initializers keep the names of torch's tensors, which is how a tower comes back out of a file:
`fakescan.model.layout`. The opset is low, so that old runtimes can use the file.

Shapes: B images, N tokens, D width, L levels, F features, W router width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from fakescan import __version__
from fakescan.export.blocks import BlockWriter
from fakescan.export.nodes import Nodes
from fakescan.export.precision import Storage
from fakescan.metadata import (
    INPUT,
    KEY,
    OUTPUT_LOGIT,
    OUTPUT_PATCH,
    OUTPUT_ROUTER,
    DetectorMetadata,
)
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.layout import swap
from fakescan.model.tower import TowerConfig

OPSET = 17
"""The first with LayerNormalization."""
IR_VERSION = 8
"""What ONNX 1.12 wrote, which came with that opset."""


def build_graph(model: DetectorModel, metadata: DetectorMetadata) -> onnx.ModelProto:
    """The whole detector, its metadata inside.

    Args:
        model: left as it is.
        metadata: its `precision` decides how the tower's matrices are kept.
    """
    writer = GraphWriter(model, Storage(metadata.precision))
    graph = writer.write()
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fakescan",
        producer_version=__version__,
        doc_string="Tells AI-generated images from photographs; a signal, not proof.",
    )
    helper.set_model_props(proto, {KEY: metadata.to_json()})
    return proto


def graph_state(model: DetectorModel) -> Mapping[str, NDArray[np.float32]]:
    """All tensors that the graph needs, by name, as `fakescan.model.layout` describes them."""
    weight, bias = copy.deepcopy(model.head).double().folded()
    tensors = {
        name.removeprefix("tower."): value
        for name, value in model.state_dict().items()
        if not name.startswith("head.")
    }
    tensors |= {"head.weight": weight, "head.bias": bias}
    return {
        name: swap(name, value.detach().float().cpu().numpy()) for name, value in tensors.items()
    }


class GraphWriter:
    """Writes the graph of one detector."""

    def __init__(self, model: DetectorModel, storage: Storage) -> None:
        self.config: ModelConfig = model.config
        self.tower: TowerConfig = model.tower.config
        self.nodes = Nodes(graph_state(model), storage)
        self.blocks = BlockWriter(self.nodes, self.tower, model.config.mole)

    def write(self) -> onnx.GraphProto:
        """The finished graph."""
        n, tokens = self.nodes, self._embed()
        levels: list[str] = []
        for number in range(1, self.tower.blocks + 1):
            tokens = self.blocks.block(tokens, number)
            if number in self.config.levels:
                levels.append(tokens)
        outputs = [_info(OUTPUT_LOGIT)]
        features = self._level_vectors(levels) if levels else self._project(tokens)
        logit = n.op("MatMul", features, n.plain("head.weight"))  # (B,)
        n.rename(n.op("Add", logit, n.plain("head.bias")), OUTPUT_LOGIT)
        if self.blocks.router_logits:
            outputs.append(self._routers())
        if levels:
            outputs.append(self._patches(levels))
        side = self.tower.image_px
        return helper.make_graph(
            n.nodes, "fakescan", [_info(INPUT, 3, side, side)], outputs, [*n.initializers.values()]
        )

    def _embed(self) -> str:
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

    def _class_token(self, tokens: str) -> str:
        """(B, N, D) -> (B, D)."""
        return self.nodes.op("Gather", tokens, self.nodes.constant(np.array(0, np.int64)), axis=1)

    def _patch_tokens(self, tokens: str) -> str:
        """(B, N, D) -> (B, N - 1, D)."""
        return self.nodes.pick(tokens, 1, 1, self.tower.tokens)

    def _mean_patch(self, tokens: str) -> str:
        """(B, N, D) -> (B, D)."""
        return self.nodes.op("ReduceMean", self._patch_tokens(tokens), axes=[1], keepdims=0)

    def _level_vectors(self, levels: list[str]) -> str:
        """(B, N, D) after each level -> (B, F)."""
        parts = [part(x) for x in levels for part in (self._class_token, self._mean_patch)]
        return self.nodes.op("Concat", *parts, axis=-1)

    def _project(self, tokens: str) -> str:
        """(B, N, D) after the last block -> (B, embed_dim)."""
        n, eps = self.nodes, self.tower.norm_eps
        if self.tower.pool == "class":
            pooled = n.norm(self._class_token(tokens), "ln_post", eps)
        elif self.tower.pools_first:
            pooled = n.norm(self._mean_patch(tokens), "ln_post", eps)
        else:
            pooled = self._mean_patch(n.norm(tokens, "ln_post", eps))
        return n.op("MatMul", pooled, n.widen(n.matrix("proj")))

    def _routers(self) -> ValueInfoProto:
        """(B, N, W) of each router -> (B, routers, N, W)."""
        n, logits = self.nodes, self.blocks.router_logits
        axis = n.shape(1)
        stacked = n.op("Concat", *(n.op("Unsqueeze", x, axis) for x in logits), axis=1)
        n.rename(stacked, OUTPUT_ROUTER)
        return _info(OUTPUT_ROUTER, len(logits), self.tower.tokens, self.config.mole.width)

    def _patches(self, levels: list[str]) -> ValueInfoProto:
        """What each patch adds to the logit: its share of the mean, times the head's weights."""
        n, width = self.nodes, self.tower.width
        parts = []
        for i, tokens in enumerate(levels):
            start = (2 * i + 1) * width
            weight = n.pick(n.plain("head.weight"), 0, start, start + width)  # (D,)
            parts.append(n.op("MatMul", self._patch_tokens(tokens), weight))  # (B, N - 1)
        total = n.op("Sum", *parts)
        patches = self.tower.tokens - 1
        n.rename(n.op("Mul", total, n.number(1 / patches)), OUTPUT_PATCH)
        return _info(OUTPUT_PATCH, patches)


def _info(name: str, *sizes: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", *sizes])
