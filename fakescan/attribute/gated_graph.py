"""An attributor of preset lorax-paper as one ONNX graph: ConViT for all tasks side by side.

    pixels (B, 3, S, S) -> class_logits (B, C)

Follows timm's ConViT line by line. The patches are repeated for every task before the first block,
whose LoRAs differ already; a tensor of T streams is (T B, N, D), stream by stream.

Shapes: B images, N tokens, D width, H heads, T tasks, r rank, F features, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, helper

from fakescan.attribute.gated import GatedExtractors
from fakescan.attribute.session import OUTPUT
from fakescan.attribute.softmax import Linear
from fakescan.export.graph import OPSET
from fakescan.export.nodes import Nodes
from fakescan.export.precision import Storage
from fakescan.metadata import INPUT
from fakescan.model.convit import SITES, plain_state


def write(extractors: GatedExtractors, linear: Linear, storage: Storage) -> GraphProto:
    """The finished graph.

    Args:
        extractors: of at least one task.
        linear: the classifier of all features.
        storage: how ConViT's matrices are kept.
    """
    nodes = Nodes(graph_state(extractors, linear), storage, OPSET)
    return _Writer(nodes, extractors).write(len(linear.bias))


def graph_state(extractors: GatedExtractors, linear: Linear) -> dict[str, NDArray[np.float32]]:
    """All tensors that the graph needs, by name; matrices as (d_in, d_out)."""
    state = {
        name: value.detach().float().cpu().numpy()
        for name, value in plain_state(extractors.convit).items()
    }
    state = {
        name: np.ascontiguousarray(value.T) if value.ndim == 2 else value
        for name, value in state.items()
    }
    for number in range(1, extractors.convit.gated + 1):
        for site in SITES:
            loras: list[Any] = [task[str(number)][site] for task in extractors.tasks]  # type: ignore[index]
            at = f"blocks.{number - 1}.attn.{site}"
            down = [lora.lora_A.detach().cpu().numpy().T for lora in loras]  # (D, r) each
            up = [(lora.lora_B * lora.scale).detach().cpu().numpy().T for lora in loras]
            state[f"{at}.lora_A"] = np.stack(down).astype(np.float32)  # (T, D, r)
            state[f"{at}.lora_B"] = np.stack(up).astype(np.float32)  # (T, r, d_out)
    state["classifier.weight"] = np.ascontiguousarray(linear.weight.T, np.float32)  # (F, C)
    state["classifier.bias"] = linear.bias.astype(np.float32)
    return state


class _Writer:
    """Writes the graph of one attributor."""

    def __init__(self, nodes: Nodes, extractors: GatedExtractors) -> None:
        net: Any = extractors.convit.net
        self.nodes, self.net = nodes, net
        self.gated, self.side = extractors.convit.gated, extractors.convit.image_px
        self.width, self.tasks = extractors.convit.width, len(extractors.tasks)
        self.heads = int(net.blocks[0].attn.num_heads)
        self.patches = int(net.num_patches)
        self.eps = float(net.norm.eps)

    def write(self, classes: int) -> GraphProto:
        """The finished graph."""
        n = self.nodes
        tokens = self._embed()
        for number in range(len(self.net.blocks)):
            if number == self.gated:
                tokens = self._with_class_token(tokens)
            tokens = self._block(tokens, number)
        first = n.op("Gather", tokens, n.constant(np.array(0, np.int64)), axis=1)  # (T B, D)
        features = n.reshape(n.norm(first, "norm", self.eps), (self.tasks, -1, self.width))
        by_image = n.op("Transpose", features, perm=[1, 0, 2])  # (B, T, D)
        flat = n.reshape(by_image, (-1, self.tasks * self.width))
        logits = n.op("MatMul", flat, n.plain("classifier.weight"))
        n.rename(n.op("Add", logits, n.plain("classifier.bias")), OUTPUT)
        return helper.make_graph(
            n.nodes,
            "fakescan_attributor",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["B", 3, *[self.side] * 2])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", classes])],
            [*n.initializers.values()],
        )

    def _embed(self) -> str:
        """Pixels -> (T B, N, D): what enters the first block, once for each task."""
        n, at = self.nodes, "patch_embed.proj"
        step = list(self.net.patch_embed.patch_size)
        maps = n.op("Conv", INPUT, n.plain(f"{at}.weight"), n.plain(f"{at}.bias"), strides=step)
        patches = n.op("Transpose", n.reshape(maps, (0, self.width, -1)), perm=[0, 2, 1])
        if self.net.use_pos_embed:
            patches = n.op("Add", patches, n.plain("pos_embed"))
        return n.op("Concat", *[patches] * self.tasks, axis=0)

    def _with_class_token(self, tokens: str) -> str:
        """(T B, N, D) -> (T B, N + 1, D)."""
        n = self.nodes
        batch = n.pick(n.op("Shape", tokens), 0, 0, 1)  # (1,)
        shape = n.op("Concat", batch, n.shape(1, self.width), axis=0)
        return n.op("Concat", n.op("Expand", n.plain("cls_token"), shape), tokens, axis=1)

    def _block(self, x: str, number: int) -> str:
        """(T B, N, D) -> (T B, N, D); blocks are counted from 0, as timm's are."""
        n, at = self.nodes, f"blocks.{number}"
        normed = n.norm(x, f"{at}.norm1", self.eps)
        attend = self._gated if number < self.gated else self._attention
        x = n.op("Add", x, attend(normed, number))
        normed = n.norm(x, f"{at}.norm2", self.eps)
        hidden = n.widen(self._linear(n.narrow(normed), f"{at}.mlp.fc1"))
        curve = n.op("Erf", n.op("Mul", hidden, n.number(0.5**0.5)))
        gate = n.op("Mul", n.op("Add", curve, n.number(1)), n.number(0.5))
        hidden = n.narrow(n.op("Mul", hidden, gate))
        return n.op("Add", x, n.widen(self._linear(hidden, f"{at}.mlp.fc2")))

    def _gated(self, normed: str, number: int) -> str:
        """(T B, N, D) -> (T B, N, D): content and place, mixed head by head."""
        n, at = self.nodes, f"blocks.{number}.attn"
        qk = self._adapted(normed, f"{at}.qk")  # (T B, N, 2 D)
        q, k = (n.pick(qk, 2, i * self.width, (i + 1) * self.width) for i in (0, 1))
        content = self._content(q, k)  # (T B, H, N, N)
        gate = 1 / (1 + np.exp(-n.state[f"{at}.gating_param"]))  # (H,)
        near, far = (
            n.constant(g.astype(np.float32)[None, :, None, None]) for g in (gate, 1 - gate)
        )
        mixed = n.op("Add", n.op("Mul", content, far), n.op("Mul", self._place(at), near))
        mixed = n.op("Div", mixed, n.op("ReduceSum", mixed, n.shape(-1), keepdims=1))
        return self._out(mixed, self._adapted(normed, f"{at}.v"), at)

    def _attention(self, normed: str, number: int) -> str:
        """(T B, N, D) -> (T B, N, D)."""
        n, at = self.nodes, f"blocks.{number}.attn"
        qkv = n.widen(self._linear(n.narrow(normed), f"{at}.qkv"))
        q, k, v = n.thirds(qkv)
        return self._out(self._content(q, k), v, at)

    def _content(self, q: str, k: str) -> str:
        """Two (T B, N, D) -> attention (T B, H, N, N); rows sum to 1."""
        n = self.nodes
        k = n.op("Transpose", self._split(k), perm=[0, 2, 3, 1])  # (T B, H, D/H, N)
        q = n.op("Transpose", self._split(q), perm=[0, 2, 1, 3])
        factor = n.number((self.width // self.heads) ** -0.5)
        return n.op("Softmax", n.op("MatMul", n.op("Mul", q, factor), k), axis=-1)

    def _place(self, at: str) -> str:
        """Attention by distance alone, (1, H, N, N)."""
        n = self.nodes
        if "places" not in n.state:
            n.state = {**n.state, "places": _distances(self.patches)}
        weight, bias = n.plain(f"{at}.pos_proj.weight"), n.plain(f"{at}.pos_proj.bias")
        score = n.op("Add", n.op("MatMul", n.plain("places"), weight), bias)  # (1, N, N, H)
        return n.op("Softmax", n.op("Transpose", score, perm=[0, 3, 1, 2]), axis=-1)

    def _out(self, attention: str, v: str, at: str) -> str:
        """Values (T B, N, D), mixed -> (T B, N, D)."""
        n = self.nodes
        values = n.op("Transpose", self._split(v), perm=[0, 2, 1, 3])
        mixed = n.op("Transpose", n.op("MatMul", attention, values), perm=[0, 2, 1, 3])
        mixed = n.reshape(mixed, (0, 0, self.width))
        return n.widen(self._linear(n.narrow(mixed), f"{at}.proj"))

    def _split(self, x: str) -> str:
        """(T B, N, D) -> (T B, N, H, D/H)."""
        return self.nodes.reshape(x, (0, 0, self.heads, self.width // self.heads))

    def _linear(self, x: str, at: str) -> str:
        """A frozen map, in the type of computation."""
        n = self.nodes
        if f"{at}.bias" in n.state:
            return n.linear(x, f"{at}.weight", f"{at}.bias")
        return n.op("MatMul", x, n.matrix(f"{at}.weight"))

    def _adapted(self, x: str, at: str) -> str:
        """A frozen map plus each task's LoRA, (T B, N, D) -> (T B, N, d_out), float32."""
        n = self.nodes
        out = n.widen(self._linear(n.narrow(x), at))
        flat = n.reshape(x, (self.tasks, -1, self.width))  # (T, B N, D)
        update = n.op(
            "MatMul", n.op("MatMul", flat, n.plain(f"{at}.lora_A")), n.plain(f"{at}.lora_B")
        )
        d_out = n.state[f"{at}.lora_B"].shape[-1]
        return n.op("Add", out, n.reshape(update, (-1, self.patches, d_out)))


def _distances(patches: int) -> NDArray[np.float32]:
    """Horizontal, vertical and squared distance of every two patches, (1, N, N, 3)."""
    side = round(patches**0.5)
    y, x = np.divmod(np.arange(patches), side)
    dx, dy = (c[np.newaxis, :] - c[:, np.newaxis] for c in (x, y))  # (N, N)
    return np.stack([dx, dy, dx**2 + dy**2], axis=-1)[np.newaxis].astype(np.float32)
