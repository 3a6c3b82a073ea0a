"""Parity with torch: part of every export, and what fails it leaves nothing behind."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import fakescan.export as export
from fakescan.errors import DatasetError, ExportError, ParityError
from fakescan.evaluate.metrics import roc_auc
from fakescan.export import Check, export_detector, record
from fakescan.export.crops import MAX_CHECKED, fixture_crops, folder_looks
from fakescan.export.graph import build_graph
from fakescan.export.parity import Parity, verify
from fakescan.image import Preprocess
from fakescan.metadata import Precision
from fakescan.records import Band, Calibration, mean_logits
from fakescan.session import OnnxSession
from towers import PREPROCESS, tiny_metadata, tiny_model

PASSED = Parity(
    images=100, max_difference=1e-4, flips=0, near_ties=0.01, agreement=0.999, misrouted=0
)


@pytest.fixture
def corrupted(monkeypatch):
    """Exports whose graph has one wrong weight, as a bug in the exporter would make them."""

    def build(model, metadata, form):
        proto = build_graph(model, metadata, form)
        (bias,) = [t for t in proto.graph.initializer if t.name == "head.bias"]
        bias.raw_data = (onnx.numpy_helper.to_array(bias) + np.float32(1)).tobytes()
        return proto

    monkeypatch.setattr(export, "build_graph", build)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_an_export_is_one_file_that_a_scan_can_use(tmp_path, precision):
    model = tiny_model(gate="dense")
    metadata = tiny_metadata(model, precision)
    progress = []
    report = export_detector(
        model, metadata, tmp_path / "d.onnx", progress=lambda *counts: progress.append(counts)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["d.onnx"]
    assert report.bytes == (tmp_path / "d.onnx").stat().st_size
    assert report.parity.images >= 100
    assert progress[-1] == (report.parity.images, report.parity.images)
    session = OnnxSession(tmp_path / "d.onnx", device="cpu")
    assert session.sha256 == report.sha256
    assert session.metadata.to_json() == metadata.to_json()
    crops = fixture_crops(PREPROCESS)[:4]
    with torch.no_grad():
        pixels = torch.from_numpy(
            np.stack([(c / 255 - PREPROCESS.mean) / PREPROCESS.std for c in crops])
        ).float()
        expected = model(pixels.permute(0, 3, 1, 2)).logit
    tolerance = {"fp32": 1e-3, "fp16": 0.05}.get(precision, 0.3)
    np.testing.assert_allclose(session.logits(crops), expected, atol=tolerance)


def test_routing_figures_are_reported(tmp_path):
    parity = export_detector(*_pair(tiny_model(site="both")), out=tmp_path / "d.onnx").parity
    assert parity.misrouted == 0
    assert parity.agreement > 0.999
    assert 0 <= parity.near_ties < 0.1


def test_a_corrupted_weight_is_a_parity_error_and_leaves_no_file(tmp_path, corrupted):
    with pytest.raises(ParityError, match=r"logits differ from torch by up to 1;"):
        export_detector(*_pair(tiny_model()), out=tmp_path / "d.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_file_that_was_there(tmp_path, corrupted):
    (tmp_path / "d.onnx").write_text("old")
    with pytest.raises(ParityError):
        export_detector(*_pair(tiny_model()), out=tmp_path / "d.onnx")
    assert (tmp_path / "d.onnx").read_text() == "old"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_changed_verdicts_fail_the_smaller_precisions(tmp_path, corrupted, precision):
    model = tiny_model()
    logits = np.sort(_logits(model))
    middle = float(logits[len(logits) // 2])  # half of the crops lie on either side
    metadata = tiny_metadata(
        model,
        precision,
        calibration=Calibration(slope=1000.0, intercept=-1000 * (middle + 0.5)),
        band=Band(),
    )
    with pytest.raises(ParityError, match=rf"verdicts change in {precision}"):
        export_detector(model, metadata, tmp_path / "d.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "changes", "words"),
    [
        ("fp32", {"misrouted": 1}, "1 tokens take another expert"),
        ("fp32", {"max_difference": 1.1e-3}, "up to 0.0011"),
        ("fp32", {"max_difference": float("nan")}, "not a number"),
        ("int8", {"max_difference": float("inf")}, "not a number"),
        ("int8", {"flips": 2}, "2 of 100 verdicts"),
        ("fp16", {"flips": 2}, "2 of 100 verdicts"),
        ("int8-dynamic", {"auc_change": -0.0051}, "AUC falls by 0.51% in int8-dynamic"),
    ],
)
def test_the_limits(precision, changes, words):
    metadata = tiny_metadata(tiny_model(), precision)
    with pytest.raises(ParityError, match=words):
        verify(replace(PASSED, **changes), metadata)


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("fp32", {"max_difference": 1e-3}),
        ("int8", {"flips": 1, "max_difference": 0.5, "misrouted": 9}),
        ("int8", {"auc_change": -0.005, "ap_change": -0.1}),
    ],
)
def test_what_lies_on_the_limits_passes(precision, changes):
    verify(replace(PASSED, **changes), tiny_metadata(tiny_model(), precision))


def test_a_rerouted_near_tie_excuses_its_image_only(tmp_path):
    """Two router rows that agree to the last digits: the file may choose either."""
    model = tiny_model(blocks=(2,))
    router = model.experts["2"]["mlp"].router
    with torch.no_grad():
        router[1] = router[0] * (1 + 1e-7)
    parity = export_detector(*_pair(model), out=tmp_path / "d.onnx").parity
    assert parity.near_ties > 0.3
    assert parity.misrouted == 0
    assert parity.max_difference <= 1e-3


def test_check_takes_any_folder_of_images(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    Image.effect_noise((40, 30), 60).convert("RGB").save(folder / "deep" / "er" / "a.png")
    (folder / "b.jpg").write_text("no image")
    report = export_detector(
        *_pair(tiny_model()), out=tmp_path / "d.onnx", check=Check(folder=folder)
    )
    assert report.parity.images == 1


def test_check_without_images_is_a_data_error(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        export_detector(
            *_pair(tiny_model()), out=tmp_path / "d.onnx", check=Check(folder=tmp_path / "none")
        )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image"):
        export_detector(
            *_pair(tiny_model()), out=tmp_path / "d.onnx", check=Check(folder=tmp_path / "empty")
        )


def test_a_big_folder_is_sampled_evenly(tmp_path):
    for i in range(MAX_CHECKED + 1):
        Image.new("L", (4, 4), i % 256).save(tmp_path / f"{i:04}.bmp")
    crops = folder_looks(tmp_path, Preprocess(image_px=4)).squares
    assert len(crops) == (MAX_CHECKED + 2) // 2
    assert crops[1].mean() == 2


def test_a_place_that_cannot_be_written_is_an_export_error(tmp_path):
    with pytest.raises(ExportError, match="cannot be written"):
        export_detector(*_pair(tiny_model()), out=tmp_path / "none" / "d.onnx")


def test_more_than_a_single_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MAX_BYTES", 10_000)
    with pytest.raises(ExportError, match="a single ONNX file holds 2"):
        export_detector(*_pair(tiny_model()), out=tmp_path / "d.onnx")
    assert list(tmp_path.iterdir()) == []


def test_drift_can_be_allowed_but_not_in_fp32():
    drifted = replace(PASSED, flips=50, auc_change=-0.2, max_difference=0.5)
    verify(drifted, tiny_metadata(tiny_model(), "int8"), allow_drift=True)
    with pytest.raises(ParityError, match=r"at most 0\.001 is allowed in fp32"):
        verify(drifted, tiny_metadata(tiny_model(), "fp32"), allow_drift=True)
    lost = replace(drifted, max_logit=float("nan"))
    with pytest.raises(ParityError, match="not a number"):
        verify(lost, tiny_metadata(tiny_model(), "int8"), allow_drift=True)


@pytest.fixture
def labelled(tmp_path):
    """Eight images of each label, large enough for three squares."""
    for label in ("0_real", "1_fake"):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True)
        for i in range(8):
            noise = Image.effect_noise((60, 60 + i), 20 + 5 * i + 30 * (label == "1_fake"))
            noise.convert("RGB").save(folder / f"{i}.png")
    return tmp_path / "data"


def test_every_precision_is_compared_by_image_and_by_label(tmp_path, labelled):
    model = tiny_model(gate="dense")
    metadata = tiny_metadata(model, "fp32", preprocess=replace(PREPROCESS, crops=3))
    others = ("fp16", "int8", "int8-dynamic", "int8-static")
    out = tmp_path / "d.onnx"
    check = Check(folder=labelled, others=others)
    report = export_detector(model, metadata, out, check=check)
    found = json.loads(record.to_json(report))
    assert found["sha256"] == report.sha256
    assert found["written"] == "fp32"
    assert list(found["precisions"]) == ["fp32", *others]
    assert {p.name for p in tmp_path.iterdir()} == {"d.onnx", "data"}
    looks = folder_looks(labelled, metadata.preprocess)
    assert looks.counts == (3,) * 16
    expected = mean_logits(OnnxSession(out, device="cpu"), np.split(looks.squares, 16))
    session = tmp_path / "int8.onnx"
    onnx.save(build_graph(model, replace(metadata, precision="int8")), session)
    moved = mean_logits(OnnxSession(session, device="cpu"), np.split(looks.squares, 16)) - expected
    figures = found["precisions"]["int8"]
    assert figures["images"] == 16
    assert figures["max_logit"] == pytest.approx(np.abs(moved).max(), abs=1e-4)
    assert figures["mean_logit"] == pytest.approx(np.abs(moved).mean(), abs=1e-4)
    assert figures["max_score"] < figures["max_logit"]
    truth = np.array([0] * 8 + [1] * 8)
    change = roc_auc(truth, (expected + moved).astype(float)) - roc_auc(
        truth, expected.astype(float)
    )
    assert figures["auc_change"] == pytest.approx(change, abs=1e-9)
    assert all(len(row) == len(record.COLUMNS) for row in record.rows(report))


def test_images_without_labels_have_no_ap(tmp_path):
    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "a.png")
    report = export_detector(
        *_pair(tiny_model()), out=tmp_path / "d.onnx", check=Check(folder=tmp_path)
    )
    assert report.parity.ap_change is None
    assert record.rows(report)[0][-2:] == ("", "")


def test_fixtures_are_the_same_every_time():
    first, second = (fixture_crops(Preprocess(image_px=64)) for _ in range(2))
    assert first.shape == (108, 64, 64, 3)
    np.testing.assert_array_equal(first, second)


def _pair(model):
    return model, tiny_metadata(model)


@torch.no_grad()
def _logits(model):
    from fakescan.image import normalise

    pixels = normalise(fixture_crops(PREPROCESS), PREPROCESS)
    return model(torch.from_numpy(pixels)).logit.numpy()
