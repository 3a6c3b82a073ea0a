"""Exported tiny detectors, run in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from fakescan.export.graph import build_graph
from towers import tiny_metadata


@pytest.fixture
def run_graph(tmp_path):
    """Export a model, run the file, give outputs by name."""

    def run(model, given, precision="fp32", form=None, **changes):
        path = tmp_path / f"{precision}.onnx"
        proto = build_graph(model, tiny_metadata(model, precision, **changes), form)
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, path)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        (name,) = (given.name for given in session.get_inputs())
        values = session.run(names, {name: np.asarray(given)})
        return dict(zip(names, values, strict=True))

    return run
