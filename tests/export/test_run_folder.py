"""`fakescan export`: from a run folder to a file, on the command line."""

import json

import onnx
import onnxruntime
import pytest
from safetensors.torch import save_file

from fakescan.cli import main
from fakescan.config import dump
from fakescan.errors import ConfigError
from fakescan.export.graph import build_graph
from fakescan.export.run import read_run
from fakescan.model.backbone import BackboneConfig
from fakescan.model.builtin import load_exported
from fakescan.model.checkpoint import save_checkpoint
from fakescan.session import OnnxSession
from towers import PREPROCESS, tiny_metadata, tiny_model, tiny_pixels, tiny_tower


@pytest.fixture
def source(tmp_path):
    """A detector file that serves as the builtin backbone."""
    import onnx

    model = tiny_model(tower=tiny_tower(), blocks=())
    onnx.save(build_graph(model, tiny_metadata(model)), tmp_path / "source.onnx")
    return tmp_path / "source.onnx"


@pytest.fixture
def run(tmp_path, source):
    """What `fakescan train` leaves."""
    folder = tmp_path / "run"
    folder.mkdir()
    model = tiny_model()
    info = tiny_metadata(model).backbone
    save_checkpoint(folder / "checkpoint.safetensors", model, info, PREPROCESS, {})
    backbone = dump(BackboneConfig(weights=source)).replace("\n\n", "\n")
    (folder / "config.toml").write_text(f"epochs = 1\n\n[backbone]\n{backbone}")
    (folder / "calibration.json").write_text(
        json.dumps(
            {
                "calibration": {"slope": 1.5, "intercept": 0.25},
                "band": {"t_fake": 0.75, "t_real": 0.25},
                "validation": {"auc": 0.9},
            }
        )
    )
    (folder / "training.json").write_text(json.dumps({"seed": 7}))
    return folder


def test_a_run_becomes_a_detector_file(run, tmp_path, capsys):
    out = tmp_path / "mine.onnx"
    assert main(["export", str(run), "--out", str(out), "--precision", "int8"]) == 0
    metadata = OnnxSession(out, device="cpu").metadata
    assert metadata.name == "mine"
    assert metadata.precision == "int8"
    assert metadata.calibration.slope == 1.5
    assert metadata.band.t_fake == 0.75
    assert metadata.training["seed"] == 7
    assert metadata.model["levels"] == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{out}: int8, ")
    assert "compared with torch on 108 images" in captured.err
    assert "tokens that take the same expert" in captured.err


def test_a_file_can_take_images_explain_itself_and_use_a_newer_opset(run, tmp_path, photos, capsys):
    out = tmp_path / "mine.onnx"
    options = ["--with-preprocessing", "--with-explain", "--opset", "20"]
    assert main(["export", str(run), "--out", str(out), *options]) == 0
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("image", ["H", "W", 3])]
    outputs = ["logit", "router_logits", "chosen_expert", "patch_logit", "remainder_logit"]
    assert [o.name for o in session.get_outputs()] == outputs
    assert main(["export", str(run), "--out", str(tmp_path / "plain.onnx"), "-q"]) == 0
    capsys.readouterr()
    scores = []
    for model in (out, tmp_path / "plain.onnx"):
        assert main(["scan", str(photos), "--model", str(model), "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)["findings"]
        scores.append([row["score"] for row in rows if row["score"] is not None])
    assert len(scores[0]) == 3
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_comparison_is_printed_and_written(run, tmp_path, capsys):
    out, parity = tmp_path / "d.onnx", tmp_path / "parity.json"
    options = ["--all-precisions", "--parity", str(parity), "--allow-drift"]
    assert main(["export", str(run), "--out", str(out), *options]) == 0
    figures = json.loads(parity.read_text())["precisions"]
    assert set(figures) == {"fp32", "fp16", "int8", "int8-dynamic", "int8-static"}
    assert figures["fp32"]["max_logit"] < 1e-3
    printed = capsys.readouterr().err
    assert "difference from torch in fp32, by image" in printed
    assert "…" not in printed
    assert all(name in printed for name in figures)


def test_an_opset_that_is_not_tested_is_one_clear_line(run, tmp_path, capsys):
    assert main(["export", str(run), "--out", str(tmp_path / "d.onnx"), "--opset", "7"]) == 2
    assert capsys.readouterr().err == "fakescan: opset: 7; can be 17 to 21\n"


def test_quiet_says_nothing(run, tmp_path, capsys):
    assert main(["export", str(run), "-o", str(tmp_path / "d.onnx"), "-q", "--name", "x"]) == 0
    assert capsys.readouterr() == ("", "")
    assert load_exported(tmp_path / "d.onnx")[1].name == "x"


def test_the_exported_detector_is_the_trained_one(run, tmp_path):
    main(["export", str(run), "-o", str(tmp_path / "d.onnx"), "-q"])
    exported, _ = load_exported(tmp_path / "d.onnx")
    expected = tiny_model()(tiny_pixels()).logit
    assert (exported(tiny_pixels()).logit - expected).abs().max() < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-dynamic", "int8-static"])
def test_a_file_is_exported_again_in_another_form(run, tmp_path, capsys, precision):
    first, again = tmp_path / "first.onnx", tmp_path / "again.onnx"
    assert main(["export", str(run), "-o", str(first), "--precision", precision, "-q"]) == 0
    options = ["--with-preprocessing", "--allow-drift", "--precision", "int8"]
    assert main(["export", str(first), "-o", str(again), *options]) == 0
    said = OnnxSession(again, device="cpu").metadata
    assert (said.name, said.precision, said.training["seed"]) == ("first", "int8", 7)
    assert said.calibration.slope == 1.5
    assert "verdicts changed 0" in capsys.readouterr().err
    assert onnxruntime.InferenceSession(again).get_inputs()[0].name == "image"
    assert main(["verify", str(again)]) == 0


def test_a_file_that_was_int8_is_int8_again_bit_by_bit(run, tmp_path):
    first, single, again = (tmp_path / f"{name}.onnx" for name in ("first", "single", "again"))
    assert main(["export", str(run), "-o", str(first), "--precision", "int8", "-q"]) == 0
    assert main(["export", str(first), "-o", str(single), "-q"]) == 0
    assert main(["export", str(single), "-o", str(again), "--precision", "int8", "-q"]) == 0
    tensors = [onnx.load(file).graph.initializer for file in (first, again)]
    assert len(tensors[0]) > 20
    assert {t.name: t.raw_data for t in tensors[0]} == {t.name: t.raw_data for t in tensors[1]}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("none", "none: no such model file; known names: fakescan-vit-b16"),
        ("broken.onnx", "broken.onnx: not an ONNX file"),
    ],
)
def test_what_is_no_detector_is_one_clear_line(tmp_path, capsys, monkeypatch, source, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 100)
    assert main(["export", source, "-o", "d.onnx"]) == 3
    assert capsys.readouterr().err == f"fakescan: {line}\n"


def test_a_file_needs_no_backbone(source, capsys):
    options = ["-o", "d.onnx", "--backbone-weights", "clip.safetensors"]
    assert main(["export", str(source), *options]) == 2
    assert capsys.readouterr().err == (
        "fakescan: backbone-weights: for run folders; a file has its backbone inside\n"
    )


def test_backbone_weights_that_have_moved_can_be_named(run, source, tmp_path):
    moved = source.rename(tmp_path / "moved.onnx")
    model, _ = read_run(run, name="d", precision="fp32", weights=moved)
    assert model.depth == 2


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("checkpoint.safetensors", "no finished run"),
        ("calibration.json", "calibration.json: cannot be read"),
        ("config.toml", "config.toml: cannot be read"),
    ],
)
def test_an_unfinished_run_is_one_clear_line(run, tmp_path, capsys, missing, words):
    (run / missing).unlink()
    assert main(["export", str(run), "--out", str(tmp_path / "d.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_run_without_training_facts_can_be_exported(run):
    (run / "training.json").unlink()
    _, metadata = read_run(run, name="d", precision="fp32")
    assert metadata.training == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"band": {}}', '{"calibration": {"slop": 1}}'])
def test_a_broken_calibration_is_refused(run, text):
    (run / "calibration.json").write_text(text)
    with pytest.raises(ConfigError, match=r"calibration\.json"):
        read_run(run, name="d", precision="fp32")


def test_another_backbone_exits_with_3(run, source, tmp_path, capsys):
    import onnx

    other = tiny_model(tower=tiny_tower(width=16), blocks=())
    onnx.save(build_graph(other, tiny_metadata(other)), source)
    assert main(["export", str(run), "--out", str(tmp_path / "d.onnx")]) == 3
    assert "not on this backbone" in capsys.readouterr().err


def test_a_foreign_checkpoint_exits_with_3(run, tmp_path, capsys):
    import torch

    save_file({"a": torch.zeros(1)}, run / "checkpoint.safetensors")
    assert main(["export", str(run), "--out", str(tmp_path / "d.onnx")]) == 3
    assert "not a checkpoint" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named_before_anything_is_computed(run, tmp_path, capsys):
    assert main(["export", str(run), "--out", str(tmp_path / "no" / "d.onnx")]) == 2
    assert "its folder does not exist" in capsys.readouterr().err
