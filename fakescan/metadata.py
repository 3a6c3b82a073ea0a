"""What an exported detector says of itself: one JSON text inside the ONNX file.

Written by export, read by every scan; torch-free.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from fakescan.config import from_dict, to_dict
from fakescan.errors import ConfigError, WeightsError
from fakescan.image import Preprocess
from fakescan.records import Band, Calibration

KEY = "fakescan"
"""Key of the JSON text among the ONNX file's metadata properties."""
FORMAT_VERSION = 2
"""Grows when an older fakescan could not use the file."""

INPUT = "pixels"
"""(B, 3, S, S) float32, normalised."""
IMAGE = "image"
"""(H, W, 3) uint8 RGB, upright, of any size: the input in place of `pixels` of a file that cuts its
squares itself. B is then their number, K, and the logit their mean, (1,)."""
OUTPUT_LOGIT = "logit"
"""(B,) float32."""
OUTPUT_ROUTER = "router_logits"
"""(B, adapted blocks, N, router width) float32; only with routed experts."""
OUTPUT_PATCH = "patch_logit"
"""(B, N - 1) float32, what each patch adds to the logit; with a `levels` head, and in files that
explain."""
OUTPUT_REMAINDER = "remainder_logit"
"""(B,) float32: the logit without the sum of its patches; only in files that explain."""
OUTPUT_CHOSEN = "chosen_expert"
"""(B, adapted blocks, N) int64: the router column that each token takes; as above, with routed
experts."""

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-static"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneInfo:
    """Where the frozen tower came from."""

    name: str
    """open_clip architecture, such as ViT-B-16-quickgelu."""
    pretrained: str = ""
    """open_clip tag, or the file the weights came from."""
    sha256: str = ""
    """Of the tower's tensors, by name, float32."""
    licence: str = ""
    tower: dict[str, Any] = field(default_factory=dict)
    """Sizes of the tower: `fakescan.model.tower.TowerConfig` as a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorMetadata:
    """All that a scan needs besides the graph."""

    format_version: int = FORMAT_VERSION
    name: str = "unnamed"
    precision: Precision = "fp32"
    preprocess: Preprocess = field(default_factory=Preprocess)
    calibration: Calibration = field(default_factory=Calibration)
    band: Band = field(default_factory=Band)
    backbone: BackboneInfo
    model: dict[str, Any] = field(default_factory=dict)
    """Depth, head, levels, adapters: `fakescan.model.detector.ModelConfig` as a table."""
    training: dict[str, Any] = field(default_factory=dict)
    """Counts of the training data by source, seed, versions."""
    licences: tuple[str, ...] = ()
    """Notes on what the weights were made from."""

    def to_json(self) -> str:
        """Text for the ONNX file's metadata properties."""
        return json.dumps(to_dict(self), sort_keys=True, ensure_ascii=True)


def from_json(text: str, where: str) -> DetectorMetadata:
    """Read what `DetectorMetadata.to_json` wrote.

    Raises:
        WeightsError: not such a text, or of a newer format.
    """
    try:
        values = json.loads(text)
        version = values["format_version"]
    except (ValueError, KeyError, TypeError) as e:
        raise WeightsError(f"{where}: its fakescan metadata cannot be read") from e
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise WeightsError(
            f"{where}: detector format {version}; this fakescan reads up to {FORMAT_VERSION}: "
            "update fakescan"
        )
    try:
        return from_dict(DetectorMetadata, values, where)
    except ConfigError as e:
        raise WeightsError(str(e)) from e
