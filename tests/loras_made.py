"""LoRA files for tests: the same update in any dialect, and files of every kind of damage."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

LAYERS = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (24, 20),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": (24, 32),
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2": (20, 48),
}
DTYPES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "|u1": "U8", "<u2": "BF16"}


def factors(seed: int, rank: int = 4, layers: Mapping[str, tuple[int, int]] = LAYERS):
    """B and A of every layer."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.standard_normal((m, rank)).astype("<f4"),
            rng.standard_normal((rank, n)).astype("<f4"),
        )
        for name, (m, n) in layers.items()
    }


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None):
    """A safetensors file."""
    header: dict = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, value in tensors.items():
        end = place + value.nbytes
        dtype = DTYPES[value.dtype.str]
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [place, end]}
        place = end
    return write_raw(
        path, json.dumps(header).encode(), b"".join(t.tobytes() for t in tensors.values())
    )


def write_raw(path: Path, header: bytes, data: bytes = b"", length: int | None = None):
    """A file with any header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def kohya(pairs, alpha: float | None = None):
    """Tensors under kohya's names."""
    tensors = {}
    for name, (B, A) in pairs.items():
        stem = "lora_unet_" + name.replace(".", "_")
        tensors[f"{stem}.lora_up.weight"], tensors[f"{stem}.lora_down.weight"] = B, A
        if alpha is not None:
            tensors[f"{stem}.alpha"] = np.array(alpha, "<f4")
    return tensors


def peft(pairs):
    """Tensors under PEFT's names."""
    tensors = {}
    for name, (B, A) in pairs.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = A
        tensors[f"base_model.model.{name}.lora_B.weight"] = B
    return tensors


def diffusers(pairs):
    """Tensors under the names of diffusers today."""
    tensors = {}
    for name, (B, A) in pairs.items():
        tensors[f"unet.{name}.lora_A.weight"], tensors[f"unet.{name}.lora_B.weight"] = A, B
    return tensors


def diffusers_old(pairs):
    """Tensors under the names of diffusers before 0.22, for attention; newer ones elsewhere."""
    tensors = {}
    for name, (B, A) in pairs.items():
        if ".attn" in name:
            stem = name.replace(".to_", ".processor.to_") + "_lora"
        else:
            stem = f"{name}.lora"
        tensors[f"unet.{stem}.down.weight"], tensors[f"unet.{stem}.up.weight"] = A, B
    return tensors
