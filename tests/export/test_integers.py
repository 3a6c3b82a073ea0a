"""Products in integers: close to float32, and the same whatever else is in the batch."""

from dataclasses import replace
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import fakescan.export.ranges as ranges
from fakescan.export.graph import build_graph
from fakescan.metadata import Precision
from fakescan.model.builtin import load_exported
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.tower import Tower, TowerConfig
from towers import loud_model, tiny_metadata, tiny_model, tiny_pixels

INTEGER = ["int8-dynamic", "int8-static"]


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_glaring_neighbour_does_not_change_a_score(run_graph, precision):
    """A scale taken over the whole batch would leave the other images a few steps only."""
    model, pixels = tiny_model(gate="dense"), tiny_pixels(2)
    alone = run_graph(model, pixels[:1], precision)["logit"]
    beside = run_graph(model, torch.cat([pixels[:1], 300 * pixels[1:]]), precision)["logit"]
    np.testing.assert_allclose(beside[:1], alone, atol=1e-5)


@pytest.mark.parametrize("precision", INTEGER)
def test_loud_channels_do_not_drown_the_others(run_graph, monkeypatch, precision):
    model, pixels = loud_model("bias"), tiny_pixels(8)
    with torch.no_grad():
        expected = model(pixels).logit.numpy()
    error = np.abs(run_graph(model, pixels, precision)["logit"] - expected).max()
    monkeypatch.setattr(ranges, "QUIET_PER_LOUD", 10**6)
    drowned = np.abs(run_graph(model, pixels, precision)["logit"] - expected).max()
    assert error < 0.2 * expected.std()
    assert drowned > (3 if precision == "int8-dynamic" else 1.5) * error


@pytest.mark.parametrize("precision", INTEGER)
def test_the_blocks_multiply_in_integers_with_standard_operators(precision):
    model = tiny_model()
    proto = build_graph(model, tiny_metadata(model, precision))
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("MatMulInteger") == 4 * 2 - 1  # the first block's last map stays in float
    assert {node.domain for node in proto.graph.node} == {""}
    assert "DynamicQuantizeLinear" not in kinds


@pytest.mark.parametrize("precision", INTEGER)
def test_the_weights_are_those_of_int8(tmp_path, precision):
    model = tiny_model()
    towers = []
    for name in (precision, "int8"):
        onnx.save(build_graph(model, tiny_metadata(model, name)), tmp_path / "d.onnx")
        towers.append(load_exported(tmp_path / "d.onnx")[0].tower.sha256())
    assert towers[0] == towers[1]


@pytest.mark.slow
@pytest.mark.parametrize("precision", get_args(Precision))
def test_real_sizes_score_alike_in_any_batch(precision):
    torch.manual_seed(0)
    model = DetectorModel(Tower(TowerConfig()), ModelConfig(head="levels", levels=(1, 2))).eval()
    metadata = tiny_metadata(model, precision)
    metadata = replace(metadata, preprocess=replace(metadata.preprocess, image_px=224))
    proto = build_graph(model, metadata)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pixels = tiny_pixels(5, 224).numpy()
    pixels[3] *= 20
    together = session.run(["logit"], {"pixels": pixels})[0]
    alone = [session.run(["logit"], {"pixels": pixels[i : i + 1]})[0][0] for i in range(5)]
    # float32 sums in another order; a scale over the whole batch moves the logit by 1e-1
    np.testing.assert_allclose(together, alone, atol=1e-4 if precision != "fp16" else 1e-2)
