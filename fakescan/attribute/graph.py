"""A whole attributor as one ONNX graph: one trunk, all extractors side by side, one classifier.

    pixels (B, 3, S, S) -> class_logits (B, C)

Follows `fakescan.attribute.extractors` line by line. Streams lie along the batch: a tensor of S
streams is (S B, N, D), stream by stream.

Shapes: B images, N tokens, D width, T tasks, S = 1 or T streams, r rank, F features, C classes.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fakescan import __version__
from fakescan.attribute import gated_graph
from fakescan.attribute.attributor import Attributor
from fakescan.attribute.extractors import SharedTrunk
from fakescan.attribute.gated import GatedExtractors
from fakescan.attribute.session import KEY, OUTPUT, Exported
from fakescan.attribute.softmax import Linear
from fakescan.export.blocks import BlockWriter
from fakescan.export.ends import EndWriter
from fakescan.export.graph import OPSET
from fakescan.export.nodes import Nodes
from fakescan.export.precision import Storage
from fakescan.metadata import INPUT
from fakescan.model.layout import swap
from fakescan.model.mole import Mixture, MoLEConfig
from fakescan.model.tower import TowerConfig

IR_VERSION = 8
"""What ONNX 1.12 wrote, which came with that opset."""
ATTENDED = ("q", "k", "v")
"""Sites that read what enters the block."""


def build_graph(attributor: Attributor, exported: Exported) -> onnx.ModelProto:
    """The attributor, with what its file says of itself inside.

    Args:
        attributor: that has learnt something; left as it is.
        exported: goes into the file; its `precision` decides how the tower's matrices are kept.
    """
    extractors, storage = attributor.extractors, Storage(exported.precision)
    assert attributor.linear is not None
    if isinstance(extractors, GatedExtractors):
        graph = gated_graph.write(extractors, attributor.linear, storage)
    else:
        assert isinstance(extractors, SharedTrunk)
        graph = _Writer(extractors, attributor.linear, storage).write()
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fakescan",
        producer_version=__version__,
        doc_string="Names the generator of an image among those that it knows; no proof.",
    )
    helper.set_model_props(proto, {KEY: exported.to_json()})
    return proto


def graph_state(extractors: SharedTrunk, linear: Linear) -> dict[str, NDArray[np.float32]]:
    """All tensors that the graph needs, by name; matrices as `fakescan.model.layout` has them."""
    state = {
        name: swap(name, value.detach().float().cpu().numpy())
        for name, value in extractors.base.tower.state_dict().items()
    }
    for number in extractors.fresh:
        blocks = [task[number] for task in extractors.tasks]  # type: ignore[index]
        for site in blocks[0]:
            mixtures: list[Mixture] = [block[site] for block in blocks]
            at = f"experts.{number}.{site}"
            down = [m.lora_A.detach().cpu().numpy().T for m in mixtures]  # (D, r) each
            up = [(m.lora_B * m.column_scale).detach().cpu().numpy().T for m in mixtures]
            state[f"{at}.lora_A"] = np.stack(down).astype(np.float32)  # (T, D, r)
            state[f"{at}.lora_B"] = np.stack(up).astype(np.float32)  # (T, r, D)
    state["classifier.weight"] = np.ascontiguousarray(linear.weight.T, np.float32)  # (F, C)
    state["classifier.bias"] = linear.bias.astype(np.float32)
    return state


class StreamWriter(BlockWriter):
    """Writes blocks of several streams; they part at the first adapter."""

    def __init__(self, nodes: Nodes, tower: TowerConfig, mole: MoLEConfig, tasks: int) -> None:
        super().__init__(nodes, tower, mole)
        self.tasks = tasks
        self.streams = 1
        """S of the residual stream."""
        self._inside = 1
        """S of what the present block has computed."""

    def block(self, x: str, number: int) -> str:
        """(S B, N, D) -> (S B, N, D) or, from the first adapter on, (T B, N, D)."""
        n, at = self.nodes, f"transformer.resblocks.{number - 1}"
        self._inside = self.streams
        normed = n.norm(x, f"{at}.ln_1", self.tower.norm_eps)
        attended = self._scale(self._attention(normed, number), f"{at}.ls_1.gamma")
        x = self._residual(x, attended)
        normed = n.norm(x, f"{at}.ln_2", self.tower.norm_eps)
        hidden = n.linear(n.narrow(normed), f"{at}.mlp.c_fc.weight", f"{at}.mlp.c_fc.bias")
        hidden = self._activation(hidden)
        out = n.widen(n.linear(hidden, f"{at}.mlp.c_proj.weight", f"{at}.mlp.c_proj.bias"))
        out = self._with_experts(out, normed, number, "mlp")
        return self._residual(x, self._scale(out, f"{at}.ls_2.gamma"))

    def _with_experts(self, out: str, x: str, number: int, site: str) -> str:
        """What a frozen map gives, plus what each task's LoRA adds: (S B, N, D) -> (T B, N, D)."""
        if not self._has(number, site):
            return out
        n, at = self.nodes, f"experts.{number}.{site}"
        given = self.streams if site in ATTENDED else self._inside
        flat = self._split(x, given)  # (S, B N, D)
        update = n.op(
            "MatMul", n.op("MatMul", flat, n.plain(f"{at}.lora_A")), n.plain(f"{at}.lora_B")
        )
        self._inside = self.tasks
        return self._joined(n.op("Add", self._split(out, given), update))

    def _residual(self, x: str, update: str) -> str:
        n, given, self.streams = self.nodes, self.streams, self._inside
        if given == self.streams:
            return n.op("Add", x, update)
        return self._joined(n.op("Add", self._split(x, given), self._split(update, self.streams)))

    def _split(self, x: str, streams: int) -> str:
        """(S B, N, D) -> (S, B N, D)."""
        return self.nodes.reshape(x, (streams, -1, self.tower.width))

    def _joined(self, x: str) -> str:
        """(T, B N, D) -> (T B, N, D)."""
        return self.nodes.reshape(x, (-1, self.tower.tokens, self.tower.width))


class _Writer:
    """Writes the graph of one attributor."""

    def __init__(self, extractors: SharedTrunk, linear: Linear, storage: Storage) -> None:
        self.extractors = extractors
        self.classes = len(linear.bias)
        self.config = self.extractors.base.config
        self.tower: TowerConfig = self.extractors.base.tower.config
        self.nodes = Nodes(graph_state(extractors, linear), storage, OPSET)
        self.ends = EndWriter(self.nodes, self.tower)
        tasks = len(self.extractors.tasks)
        self.blocks = StreamWriter(self.nodes, self.tower, self.config.mole, tasks)

    def write(self) -> onnx.GraphProto:
        """The finished graph."""
        n, tokens, side = self.nodes, self.ends.embed(), self.tower.image_px
        below: list[str] = []  # (B, 2 D) each
        above: list[str] = []  # (T B, 2 D) or (T B, embed_dim) each
        for number in range(1, self.tower.blocks + 1):
            tokens = self.blocks.block(tokens, number)
            if number in self.config.levels:
                part = below if number < self.extractors.base.first_adapted else above
                part.append(self.ends.level_vectors(tokens))
        if self.config.head == "final":
            above.append(self.ends.project(tokens))
        features = [*below, self._by_image(n.op("Concat", *above, axis=-1))]
        logits = n.op("MatMul", n.op("Concat", *features, axis=-1), n.plain("classifier.weight"))
        n.rename(n.op("Add", logits, n.plain("classifier.bias")), OUTPUT)
        return helper.make_graph(
            n.nodes,
            "fakescan_attributor",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["B", 3, side, side])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", self.classes])],
            [*n.initializers.values()],
        )

    def _by_image(self, features: str) -> str:
        """(T B, F1) -> (B, T F1)."""
        n, tasks, width = self.nodes, len(self.extractors.tasks), self.extractors.own_features
        split = n.reshape(features, (tasks, -1, width))
        return n.reshape(n.op("Transpose", split, perm=[1, 0, 2]), (-1, tasks * width))
