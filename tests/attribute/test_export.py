"""The exported graph says what torch says; stale or foreign files do not pass."""

import numpy as np
import onnx
import pytest
import torch

from attributors import DESIGN
from fakescan.attribute.answer import ClassRecord, Rules
from fakescan.attribute.attributor import Attributor
from fakescan.attribute.design import Design
from fakescan.attribute.export import export
from fakescan.attribute.extractors import SharedTrunk
from fakescan.attribute.graph import build_graph
from fakescan.attribute.session import Exported, OnnxNamer, open_namer
from fakescan.attribute.softmax import Linear
from fakescan.attribute.store import init, open_bundle
from fakescan.errors import AttributorError, ParityError
from fakescan.image import Preprocess, normalise
from towers import tiny_tower

CLASSES = (
    ClassRecord(task="a", kind="real", name="real", images=1),
    ClassRecord(task="a", kind="fake", name="one", images=1),
    ClassRecord(task="b", kind="fake", name="two", images=1),
)
PREPROCESS = Preprocess(image_px=16)
EXPORTED = Exported(
    name="x", digest="d", preprocess=PREPROCESS, classes=CLASSES, rules=Rules(temperature=2.0)
)


def attributor(tasks=3, **design):
    torch.manual_seed(5)
    extractors = SharedTrunk(tiny_tower(blocks=4, has_layer_scale=True), Design(**design))
    for _ in range(tasks):
        extractors.grow()
        for parameter in extractors.parameters_of(-1):
            torch.nn.init.normal_(parameter, std=0.2)
    width = extractors.frozen_features + tasks * extractors.own_features
    rng = np.random.default_rng(0)
    linear = Linear(rng.normal(size=(3, width)) / width**0.5, rng.normal(size=3))
    return Attributor(extractors, CLASSES, linear)


DESIGNS = [
    {"head": head, "levels": levels, "site": site, "last_blocks": k, "alpha": alpha}
    for head, levels in (("levels", (2, 3, 4)), ("final", ()))
    for site in ("mlp", "attention", "both")
    for k, alpha in ((1, None), (2, 4.0))
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: "-".join(map(str, d.values())))
@pytest.mark.parametrize("tasks", [1, 3])
def test_the_graph_computes_what_torch_computes(design, tasks, tmp_path):
    known = attributor(tasks, **design)
    path = tmp_path / "a.onnx"
    onnx.save(build_graph(known, EXPORTED), path)
    onnx.checker.check_model(onnx.load(path))
    crops = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    trunk = known.extractors.base.trunk(torch.from_numpy(normalise(crops, PREPROCESS)))
    expected = known.logits(known.extractors.naive(trunk).detach().numpy())
    namer = OnnxNamer(path, device="cpu")
    assert np.abs(namer.logits(crops) - expected).max() < 1e-4
    whole = namer._session.run(None, {"pixels": normalise(crops, PREPROCESS)})[0]
    assert np.abs(whole - expected).max() < 1e-4  # a batch at once, too


def test_a_file_carries_all_that_naming_needs(tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save(build_graph(attributor(levels=(4,), last_blocks=1), EXPORTED), path)
    namer = OnnxNamer(path, device="cpu")
    assert namer.exported == EXPORTED
    assert namer.classes == CLASSES


def test_a_bundle_is_exported_and_out_of_date_once_it_learns(known, teach):
    with pytest.raises(AttributorError, match="not exported yet; run: fakescan attribute export"):
        open_namer(known)
    report = export(open_bundle(known), known / "attributor.onnx")
    assert report.images == 12
    assert report.max_difference < 1e-4
    assert report.flips == 0
    assert open_namer(known).classes == open_bundle(known).attributor.classes
    teach(known, "third", "green")
    assert (known / "attributor.onnx").exists()
    with pytest.raises(AttributorError, match="is out of date; run again"):
        open_namer(known)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_files_say_the_same(known, tmp_path, precision):
    whole = export(open_bundle(known), tmp_path / "whole.onnx")
    small = export(open_bundle(known), tmp_path / "small.onnx", precision)
    assert small.bytes < whole.bytes
    assert small.flips == 0


def test_a_file_that_computes_something_else_is_not_kept(known, tmp_path, monkeypatch):
    def spoilt(attributor, exported):
        proto = build_graph(attributor, exported)
        for tensor in proto.graph.initializer:
            if tensor.name == "classifier.bias":
                value = onnx.numpy_helper.to_array(tensor) + 1
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        return proto

    monkeypatch.setattr("fakescan.attribute.export.build_graph", spoilt)
    with pytest.raises(ParityError, match="logits differ from torch by up to"):
        export(open_bundle(known), tmp_path / "a.onnx")
    assert list(tmp_path.glob("*.onnx*")) == []


def test_what_is_no_attributor_is_refused(tmp_path, tiny, backbone):
    with pytest.raises(AttributorError, match="not an attributor; `fakescan attribute export`"):
        open_namer(tiny)
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises(AttributorError, match="not a model that can be loaded"):
        open_namer(tmp_path / "x.onnx")
    with pytest.raises(AttributorError, match="no such model file"):
        open_namer(tmp_path / "gone.onnx")
    init(tmp_path / "new", backbone, DESIGN)
    with pytest.raises(AttributorError, match="knows no generator yet"):
        export(open_bundle(tmp_path / "new"), tmp_path / "y.onnx")
