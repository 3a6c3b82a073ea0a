"""What the tower's linear maps read: measured on calibration images, for products in integers.

The images are those in the package, so that a folder given to `--check` has not been seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fakescan.image import Preprocess, normalise
from fakescan.metadata import INPUT
from fakescan.runtime import CPU, onnxruntime, session_options

QUIET_PER_LOUD = 24
"""One in so many channels stays in float32: 32 of 768. With half as many the error of the logit
grows by a sixth; with twice as many it shrinks by a tenth."""
IMAGES = 27
"""Calibration images: every fourth of the package's."""
HAS_FLOOR = ("mlp.c_proj.weight",)
"""Maps that read what an activation function gives."""


@dataclass(frozen=True, slots=True)
class Range:
    """What one linear map reads."""

    channels: int
    """d_in."""
    loud: tuple[int, ...]
    """Channels with the largest values, rising."""
    low: float
    """Smallest value of the other channels."""
    high: float
    """Largest value of the other channels."""
    has_floor: bool
    """It reads what an activation function gives."""


def measure_ranges(
    float_graph: onnx.ModelProto,
    reads: Mapping[str, str],
    crops: NDArray[np.uint8],
    preprocess: Preprocess,
) -> dict[str, Range]:
    """Run calibration images through a detector in float32.

    Args:
        float_graph: the detector; gets more outputs.
        reads: which tensor each linear map reads, by the name of its matrix.
        crops: (n, S, S, 3).
        preprocess: how they are normalised.
    """
    tensors = list(dict.fromkeys(reads.values()))
    float_graph.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors
    )
    session = onnxruntime().InferenceSession(
        float_graph.SerializeToString(), session_options(), providers=[CPU]
    )
    lowest: dict[str, NDArray[np.float32]] = {}  # (d_in,) each
    highest: dict[str, NDArray[np.float32]] = {}
    for crop in crops[:: max(1, len(crops) // IMAGES)]:
        values = session.run(tensors, {INPUT: normalise(crop[np.newaxis], preprocess)})
        for name, value in zip(tensors, values, strict=True):  # (1, N, d_in)
            low, high = value.min(axis=(0, 1)), value.max(axis=(0, 1))
            lowest[name] = np.minimum(lowest.get(name, low), low)
            highest[name] = np.maximum(highest.get(name, high), high)
    return {
        weight: _range(lowest[name], highest[name], has_floor=weight.endswith(HAS_FLOOR))
        for weight, name in reads.items()
    }


def _range(low: NDArray[np.float32], high: NDArray[np.float32], *, has_floor: bool) -> Range:
    """From the extremes of each channel, (d_in,)."""
    count = len(low) // QUIET_PER_LOUD
    order = np.argsort(-np.maximum(np.abs(low), np.abs(high)), kind="stable")
    quiet = order[count:]
    loud = tuple(sorted(order[:count].tolist()))
    return Range(len(low), loud, float(low[quiet].min()), float(high[quiet].max()), has_floor)
