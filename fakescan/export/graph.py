"""A detector as one ONNX graph, written node by node.

    pixels (B, 3, S, S) -> logit (B,)
                           router_logits (B, routers, N, W)   with routed experts
                           patch_logit (B, N - 1)             with head `levels`, or explained
                           chosen_expert (B, routers, N)      explained, with routed experts
                           remainder_logit (B,)               explained

With preprocessing the input is `image`, (H, W, 3) uint8, from which the graph cuts K squares; B is
then K, and `logit` (1,) the mean of theirs.

Initializers keep the names of torch's tensors, which is how a tower comes back out of a file:
`fakescan.model.layout`. The opset is low by default, so that old runtimes can use the file.

Shapes: B images, K squares, H height, N tokens, D width, L levels, F features, W router width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from fakescan import __version__
from fakescan.errors import ConfigError
from fakescan.export.blocks import BlockWriter
from fakescan.export.crops import fixture_crops
from fakescan.export.ends import EndWriter
from fakescan.export.integers import IntegerWriter
from fakescan.export.nodes import Nodes
from fakescan.export.precision import Storage
from fakescan.export.ranges import Range, measure_ranges
from fakescan.export.shares import ShareWriter
from fakescan.export.squares import SquareWriter
from fakescan.metadata import (
    IMAGE,
    INPUT,
    KEY,
    OUTPUT_CHOSEN,
    OUTPUT_LOGIT,
    OUTPUT_PATCH,
    OUTPUT_REMAINDER,
    OUTPUT_ROUTER,
    DetectorMetadata,
)
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.layout import swap
from fakescan.model.tower import TowerConfig

OPSET = 17
"""The first with LayerNormalization."""
MAX_OPSET = 21
"""The newest one that is tested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a file offers besides the logit of normalised squares."""

    opset: int = OPSET
    """Of ONNX's standard operators."""
    has_preprocessing: bool = False
    """The input is one image of any size."""
    has_explanation: bool = False
    """There are outputs that say where the logit comes from."""

    def __post_init__(self) -> None:
        if not OPSET <= self.opset <= MAX_OPSET:
            raise ConfigError(f"opset: {self.opset}; can be {OPSET} to {MAX_OPSET}")


def build_graph(
    model: DetectorModel, metadata: DetectorMetadata, form: Form | None = None
) -> onnx.ModelProto:
    """The whole detector, its metadata inside.

    Args:
        model: left as it is.
        metadata: its `precision` decides how the tower's matrices are kept.
        form: None takes normalised squares and gives what every file gives.
    """
    form = form or Form()
    return _proto(GraphWriter(model, metadata, form).write(), metadata, form)


def _proto(graph: onnx.GraphProto, metadata: DetectorMetadata, form: Form) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", form.opset)]
    proto = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="fakescan",
        producer_version=__version__,
        doc_string="Tells AI-generated images from photographs; a signal, not proof.",
    )
    helper.set_model_props(proto, {KEY: metadata.to_json()})
    return proto


def _ranges(model: DetectorModel, metadata: DetectorMetadata) -> dict[str, Range]:
    """What the tower's linear maps read of the package's images, weights rounded already."""
    rounded, form = replace(metadata, precision="int8"), Form()
    writer = GraphWriter(model, rounded, form)
    proto = _proto(writer.write(), rounded, form)
    crops = fixture_crops(metadata.preprocess)
    return measure_ranges(proto, writer.blocks.reads, crops, metadata.preprocess)


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

    def __init__(self, model: DetectorModel, metadata: DetectorMetadata, form: Form) -> None:
        self.config: ModelConfig = model.config
        self.tower: TowerConfig = model.tower.config
        self.form = form
        self.preprocess = metadata.preprocess
        self.nodes = Nodes(graph_state(model), Storage(metadata.precision), form.opset)
        integers = None
        if self.nodes.storage.is_integer:
            integers = IntegerWriter(self.nodes, _ranges(model, metadata))
        self.blocks = BlockWriter(self.nodes, self.tower, model.config.mole, integers)
        self.ends = EndWriter(self.nodes, self.tower)
        self.shares = ShareWriter(self.nodes, self.tower)

    def write(self) -> onnx.GraphProto:
        """The finished graph."""
        n, side = self.nodes, self.tower.image_px
        given = _info(INPUT, "B", 3, side, side)
        if self.form.has_preprocessing:
            n.rename(SquareWriter(n, self.preprocess).write(), INPUT)
            given = _info(IMAGE, "H", "W", 3, kind=TensorProto.UINT8)
        tokens = self.ends.embed()
        levels: list[str] = []
        for number in range(1, self.tower.blocks + 1):
            tokens = self.blocks.block(tokens, number)
            if number in self.config.levels:
                levels.append(tokens)
        features = self.ends.level_vectors(*levels) if levels else self.ends.project(tokens)
        logit = n.op("MatMul", features, n.plain("head.weight"))  # (B,)
        logit = n.op("Add", logit, n.plain("head.bias"))
        outputs = [self._logit(logit)]
        if self.blocks.router_logits:
            outputs += self._routers()
        if levels or self.form.has_explanation:
            outputs += self._explanation(logit, tokens, levels)
        return helper.make_graph(n.nodes, "fakescan", [given], outputs, [*n.initializers.values()])

    def _logit(self, logit: str) -> ValueInfoProto:
        """(B,), or the mean of K squares."""
        if not self.form.has_preprocessing:
            self.nodes.rename(logit, OUTPUT_LOGIT)
            return _info(OUTPUT_LOGIT, "B")
        self.nodes.rename(self.nodes.reduce("ReduceMean", logit, 0, keep=True), OUTPUT_LOGIT)
        return _info(OUTPUT_LOGIT, 1)

    def _routers(self) -> list[ValueInfoProto]:
        """(B, N, W) of each router -> (B, routers, N, W), and the column that each token takes."""
        n, logits = self.nodes, self.blocks.router_logits
        axis = n.shape(1)
        stacked = n.op("Concat", *(n.op("Unsqueeze", x, axis) for x in logits), axis=1)
        n.rename(stacked, OUTPUT_ROUTER)
        sizes = (self._images, len(logits), self.tower.tokens)
        outputs = [_info(OUTPUT_ROUTER, *sizes, self.config.mole.width)]
        if self.form.has_explanation:
            n.rename(n.op("ArgMax", stacked, axis=-1, keepdims=0), OUTPUT_CHOSEN)
            outputs.append(_info(OUTPUT_CHOSEN, *sizes, kind=TensorProto.INT64))
        return outputs

    def _explanation(self, logit: str, tokens: str, levels: list[str]) -> list[ValueInfoProto]:
        """What each patch adds to the logit, and when it is asked for, what is left."""
        n, attention = self.nodes, self.blocks.attention
        if levels:
            shares = self.shares.of_levels(levels)
        else:
            assert attention is not None
            shares = self.shares.of_last_block(tokens, attention)
        n.rename(shares, OUTPUT_PATCH)
        outputs = [_info(OUTPUT_PATCH, self._images, self.tower.tokens - 1)]
        if self.form.has_explanation:
            if levels:
                left = self.shares.besides_levels(levels)
            else:
                total = n.op("ReduceSum", shares, n.shape(1), keepdims=0)
                left = n.op("Sub", logit, total)
            n.rename(left, OUTPUT_REMAINDER)
            outputs.append(_info(OUTPUT_REMAINDER, self._images))
        return outputs

    @property
    def _images(self) -> str:
        """Name of the first axis of outputs."""
        return "K" if self.form.has_preprocessing else "B"


def _info(name: str, *sizes: int | str, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)
