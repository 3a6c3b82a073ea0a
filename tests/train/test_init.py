"""Fine-tuning an exported detector."""

from dataclasses import replace

import pytest
import torch

from fakescan.errors import ConfigError, WeightsError
from fakescan.model.backbone import load_backbone
from fakescan.model.builtin import load_exported
from fakescan.model.checkpoint import load_checkpoint, restore
from fakescan.train.folder import read_run
from fakescan.train.journal import read_journal
from fakescan.train.run import train


@pytest.fixture
def detector(tmp_path, write_detector):
    return write_detector(tmp_path / "start.onnx", adapted=(2, 3))


def tuned(shared_config, detector, **changes):
    return replace(shared_config, model=None, init=str(detector), monitor="loss", **changes)


def test_fine_tuning_begins_at_the_detector(shared_config, detector, tmp_path):
    out = tmp_path / "run"
    train(tuned(shared_config, detector, lr=0.0), out)
    resolved = read_run(out)
    assert resolved.model.levels == (1, 2, 3)
    assert resolved.model.mole.blocks == (2, 3)
    model = restore(
        load_checkpoint(out / "checkpoint.safetensors"), load_backbone(resolved.backbone)
    )
    begun, _ = load_exported(detector)
    pixels = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).logit, begun(pixels).logit, atol=1e-4, rtol=1e-4)


def test_fine_tuning_lowers_the_loss(shared_config, detector, tmp_path):
    out = tmp_path / "run"
    train(tuned(shared_config, detector, epochs=6), out)
    found = [
        r["validation"]["loss"] for r in read_journal(out / "metrics.jsonl") if "validation" in r
    ]
    assert min(found) < 0.8 * found[0]


def test_fine_tuning_resumes(shared_config, detector, tmp_path):
    out = tmp_path / "run"
    train(tuned(shared_config, detector), out)
    before = (out / "checkpoint.safetensors").read_bytes()
    train(read_run(out), out, resume=True)
    assert (out / "checkpoint.safetensors").read_bytes() == before


def test_another_model_than_the_detectors_is_refused(shared_config, detector, tmp_path):
    with pytest.raises(ConfigError, match="are fixed"):
        train(replace(shared_config, init=str(detector)), tmp_path / "run")


def test_a_file_that_is_gone_is_one_line(shared_config, tmp_path):
    gone = tmp_path / "gone.onnx"
    with pytest.raises(WeightsError, match=r"gone\.onnx"):
        train(tuned(shared_config, gone), tmp_path / "run")
