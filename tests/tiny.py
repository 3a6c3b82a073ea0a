"""A real detector file of a few hundred bytes: bright images are fake, dark ones real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fakescan.image import Preprocess
from fakescan.metadata import INPUT, KEY, OUTPUT_LOGIT, BackboneInfo, DetectorMetadata
from fakescan.records import Band, Calibration

PX = 16
METADATA = DetectorMetadata(
    name="tiny",
    preprocess=Preprocess(image_px=PX, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    calibration=Calibration(slope=2.0),
    band=Band(t_fake=0.8, t_real=0.3),
    backbone=BackboneInfo(name="none"),
)


def write_tiny(path: Path, metadata: str | None = METADATA.to_json(), px: int = PX) -> Path:
    """A detector whose logit is the mean of its normalised pixels: -2 for black, 2 for white."""
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")
    mean = helper.make_node("ReduceMean", [INPUT, "axes"], [OUTPUT_LOGIT], keepdims=0)
    graph = helper.make_graph(
        [mean],
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["B", 3, px, px])],
        [helper.make_tensor_value_info(OUTPUT_LOGIT, TensorProto.FLOAT, ["B"])],
        [axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is not None:
        helper.set_model_props(model, {KEY: metadata})
    onnx.save(model, path)
    return path
