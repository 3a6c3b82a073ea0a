"""An exported file -> the torch model that it was made from.

The shipped detector is a complete source of a frozen tower, as deep as it is, so that training
works offline; and of a whole detector, so that it can be trained further.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from fakescan import weights
from fakescan.config import from_dict, to_dict
from fakescan.errors import ConfigError, WeightsError
from fakescan.metadata import KEY, DetectorMetadata, from_json
from fakescan.model.backbone import Backbone, fill
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.layout import SCALE_SUFFIX, dequantise, swap
from fakescan.model.tower import Tower, TowerConfig


def load_builtin(path: Path | None) -> Backbone:
    """Take the frozen tower out of an exported detector.

    Args:
        path: a file that `fakescan export` wrote; None takes the shipped detector.

    Raises:
        WeightsError: not such a file.
    """
    path = path or weights.resolve(None)
    tensors, metadata = _read(path)
    tower = _tower(tensors, metadata, path)
    info = replace(metadata.backbone, sha256=tower.sha256(), tower=to_dict(tower.config))
    return Backbone(tower, info)


def load_exported(path: Path) -> tuple[DetectorModel, DetectorMetadata]:
    """The whole detector of a file: tower, experts, routers, head (standardisation folded in).

    Raises:
        WeightsError: not a file that `fakescan export` wrote.
    """
    tensors, metadata = _read(path)
    try:
        config = from_dict(ModelConfig, metadata.model, f"{path}: model")
        model = DetectorModel(_tower(tensors, metadata, path), config)
        fresh = ("head.mean", "head.std")  # 0 and 1: the file's head reads raw features
        state = {k: v if k in fresh else tensors[k] for k, v in model.trained_state().items()}
        model.load_trained_state(state, str(path))
    except KeyError as e:
        raise WeightsError(f"{path}: no tensor {e}") from e
    except ConfigError as e:
        raise WeightsError(str(e)) from e
    return model.eval(), metadata


def _tower(tensors: dict[str, Tensor], metadata: DetectorMetadata, path: Path) -> Tower:
    try:
        config = from_dict(TowerConfig, metadata.backbone.tower, f"{path}: tower")
    except ConfigError as e:
        raise WeightsError(str(e)) from e
    tower = Tower(config)
    fill(tower, tensors, str(path))
    return tower


def _read(path: Path) -> tuple[dict[str, Tensor], DetectorMetadata]:
    """Parameters in torch's layout, float32, by name; and the metadata."""
    try:
        proto = onnx.load(path, load_external_data=False)
    except OSError as e:
        raise WeightsError(f"{path}: cannot be read ({e.strerror})") from e
    except DecodeError as e:
        raise WeightsError(f"{path}: not an ONNX file") from e
    text = {p.key: p.value for p in proto.metadata_props}.get(KEY)
    if text is None:
        raise WeightsError(
            f"{path}: an ONNX file without fakescan metadata; `fakescan export` writes it"
        )
    metadata = from_json(text, str(path))
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in proto.graph.initializer):
        raise WeightsError(
            f"{path}: it keeps tensors in a second file; fakescan reads single files"
        )
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    return {name: torch.from_numpy(_plain(name, stored)) for name in stored}, metadata


def _plain(name: str, stored: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    value, scale = stored[name], stored.get(name + SCALE_SUFFIX)
    if scale is not None:
        value = dequantise(value.astype(np.int8), scale.astype(np.float32))
    return swap(name, np.array(value, np.float32))  # a copy: what protobuf gives is read-only
