"""A run folder is evaluated as the file that is exported from it."""

import hashlib
import json

import numpy as np
import pytest

from fakescan.cli import main
from fakescan.errors import ConfigError
from fakescan.image import open_picture, view
from fakescan.session import OnnxSession
from fakescan.train.scorer import RunScorer


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "run.onnx"
    assert main(["export", str(finished), "--out", str(path), "-q"]) == 0
    return path


def test_logits_and_facts_are_those_of_the_exported_file(finished, exported, data):
    scorer, session = RunScorer(finished, device="cpu"), OnnxSession(exported, device="cpu")
    assert scorer.metadata.preprocess == session.metadata.preprocess
    assert scorer.metadata.band == session.metadata.band
    assert scorer.metadata.calibration == session.metadata.calibration
    images = sorted(data.rglob("*.png"))[::5]
    crops = np.stack([view(open_picture(p).image, scorer.metadata.preprocess) for p in images])
    assert scorer.logits(crops) == pytest.approx(session.logits(crops), abs=1e-3)
    digest = hashlib.sha256((finished / "checkpoint.safetensors").read_bytes()).hexdigest()
    assert scorer.fingerprint == f"run@{digest[:12]}"


def test_both_give_the_same_figures(finished, exported, data, tmp_path):
    out = tmp_path / "x.json"
    arguments = ["--model", finished, "--model", exported, "-j", 1, "--resamples", 20, "-o", out]
    assert main(["evaluate", *map(str, (data, *arguments, "--device", "cpu"))]) == 0
    run, file = json.loads(out.read_text())["detectors"]
    assert (run["detector"][:4], file["detector"][:4]) == ("run@", "run@")
    assert file["difference"]["raw"]["value"] == pytest.approx(0, abs=0.02)
    auc, same = (d["results"]["raw"]["mean"]["auc"]["value"] for d in (run, file))
    assert auc == pytest.approx(same, abs=0.02)


def test_a_folder_that_is_no_run_is_one_clear_line(tmp_path, data, capsys):
    assert main(["evaluate", str(data), "--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"fakescan: {tmp_path}: no finished run; it has no checkpoint.safetensors\n"
    )


def test_a_gpu_that_is_not_there_is_one_clear_line(finished, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU"):
        RunScorer(finished, device="cuda")
