"""From an exported file back to torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fakescan.errors import ConfigError, WeightsError
from fakescan.export.graph import build_graph
from fakescan.model.backbone import BackboneConfig, load_backbone
from fakescan.model.builtin import load_builtin, load_exported
from fakescan.model.checkpoint import load_checkpoint, restore, save_checkpoint
from fakescan.model.detector import DetectorModel, ModelConfig
from towers import PREPROCESS, tiny_metadata, tiny_model, tiny_pixels, tiny_tower


@pytest.fixture
def write(tmp_path):
    def write(detector, precision="fp32", **changes):
        path = tmp_path / "detector.onnx"
        onnx.save(build_graph(detector, tiny_metadata(detector, precision, **changes)), path)
        return path

    return write


@pytest.mark.parametrize(
    "settings",
    [{}, {"head": "final", "site": "both"}, {"depth": 1}, {"alpha": 2.0, "router_width": 5}],
    ids=str,
)
def test_a_detector_comes_back_whole(write, settings):
    model = tiny_model(**settings)
    again, metadata = load_exported(write(model))
    assert metadata.name == "tiny"
    assert again.config == model.config
    assert again.tower.sha256() == model.tower.sha256()
    torch.testing.assert_close(
        again(tiny_pixels()).logit, model(tiny_pixels()).logit, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_smaller_file_comes_back_as_it_computes(write, run_graph, precision):
    model = tiny_model(gate="dense")
    again, _ = load_exported(write(model, precision))
    found = run_graph(model, tiny_pixels(), precision)["logit"]
    atol = 1e-5 if precision == "int8" else 1e-2  # fp16 rounds activations as well
    np.testing.assert_allclose(again(tiny_pixels()).logit.detach(), found, atol=atol)


def test_exporting_what_came_back_changes_nothing(write):
    once, metadata = load_exported(write(tiny_model(), "int8"))
    proto = build_graph(once, metadata)
    twice, _ = load_exported(write(once, "int8"))
    assert twice.tower.sha256() == once.tower.sha256()
    assert proto.ByteSize() == build_graph(twice, metadata).ByteSize()


def test_the_tower_is_a_backbone_as_deep_as_it_is(write):
    path = write(tiny_model(depth=1))
    backbone = load_backbone(BackboneConfig(weights=path))
    assert backbone.tower.sha256() == tiny_tower().cut(1).sha256() == backbone.info.sha256
    with pytest.raises(ConfigError, match="level 2: this backbone has blocks 1 to 1"):
        DetectorModel(backbone.tower, ModelConfig(head="levels", levels=(2,)))


def test_a_checkpoint_of_the_source_tower_fits_the_tower_of_the_file(write, tmp_path):
    model = tiny_model(depth=1)
    save_checkpoint(tmp_path / "c", model, tiny_metadata(model).backbone, PREPROCESS, {})
    again = restore(load_checkpoint(tmp_path / "c"), load_builtin(write(model)))
    assert torch.equal(again(tiny_pixels()).logit, model(tiny_pixels()).logit)


def test_files_that_are_no_detectors_are_refused(write, tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_builtin(tmp_path / "none.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 64)
    with pytest.raises(WeightsError, match="not an ONNX file"):
        load_builtin(tmp_path / "noise.onnx")
    onnx.save(onnx.ModelProto(), tmp_path / "empty.onnx")
    with pytest.raises(WeightsError, match="without fakescan metadata"):
        load_builtin(tmp_path / "empty.onnx")


def test_weights_without_the_name_of_their_backbone_are_one_clear_line():
    with pytest.raises(ConfigError, match=r"clip\.safetensors: backbone 'builtin' .* --backbone"):
        load_backbone(BackboneConfig(weights=Path("clip.safetensors")))


def test_metadata_that_do_not_fit_the_tensors_are_refused(write):
    model = tiny_model()
    info = tiny_metadata(model).backbone
    deeper = replace(info, tower={**info.tower, "blocks": 3})
    with pytest.raises(WeightsError, match=r"no tensor 'transformer\.resblocks\.2"):
        load_builtin(write(model, backbone=deeper))
    with pytest.raises(WeightsError, match="no tensor 'experts"):
        load_exported(write(tiny_model(blocks=(2,)), model={"head": "levels", "levels": [1, 2]}))
    with pytest.raises(WeightsError, match="unknown setting 'colour'"):
        load_exported(write(model, model={"colour": 1}))
