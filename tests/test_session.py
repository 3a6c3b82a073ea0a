import hashlib
import json
import os
import subprocess
import sys
from threading import Thread

import numpy as np
import onnx
import pytest

from fakescan.errors import ConfigError, WeightsError
from fakescan.gpu import has_gpu
from fakescan.session import OnnxSession
from tiny import METADATA, PX, write_tiny


@pytest.fixture(scope="module")
def session(tiny):
    return OnnxSession(tiny, device="cpu")


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, PX, PX, 3), np.uint8)


def test_a_session_knows_its_file(tiny, session):
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert session.sha256 == digest
    assert session.fingerprint == f"tiny@{digest[:12]}"
    assert session.metadata == METADATA


def test_logits_are_the_mean_of_normalised_pixels(session):
    values = crops(3)
    expected = ((values / 255 - 0.5) / 0.25).mean(axis=(1, 2, 3))
    assert session.logits(values) == pytest.approx(expected, abs=1e-5)
    assert session.logits(values).dtype == np.float32


def test_logits_do_not_depend_on_the_rest_of_the_batch(session):
    values = crops(9)
    together = session.logits(values)
    alone = np.concatenate([session.logits(values[i : i + 1]) for i in range(9)])
    assert np.array_equal(together, alone)
    assert session.logits(values[:0]).shape == (0,)


def test_threads_may_share_a_session(session):
    values = [crops(4, seed) for seed in range(8)]
    expected = [session.logits(v) for v in values]
    found = [None] * 8

    def run(i):
        found[i] = session.logits(values[i])

    threads = [Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, PX, PX, 3)), np.zeros((PX, PX, 3))]
)
def test_crops_of_another_shape_are_a_wrong_call(session, wrong):
    with pytest.raises(ValueError, match="crops must be uint8"):
        session.logits(wrong)


def newer():
    return json.dumps({**json.loads(METADATA.to_json()), "format_version": 99})


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: None, "no such model file"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "not a model that can be loaded"),
        (lambda path: path.write_bytes(os.urandom(5000)), "not a model that can be loaded"),
        (lambda path: write_tiny(path, metadata=None), "without fakescan metadata"),
        (lambda path: write_tiny(path, metadata="{}"), "metadata cannot be read"),
        (lambda path: write_tiny(path, metadata=newer()), "update fakescan"),
        (
            lambda path: write_tiny(path, px=8),
            r"its input must be pixels float32 \(B, 3, 16, 16\) or image uint8",
        ),
    ],
)
def test_a_file_that_is_no_detector_is_one_clear_line(tmp_path, write, reason):
    path = tmp_path / "model.onnx"
    write(path)
    with pytest.raises(WeightsError, match=reason) as caught:
        OnnxSession(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_model_with_a_second_file_is_refused(tmp_path, monkeypatch):
    model = onnx.load(write_tiny(tmp_path / "tiny.onnx"))
    path = tmp_path / "split.onnx"
    onnx.save(
        model, path, save_as_external_data=True, location="split.data", size_threshold=0,
        convert_attribute=False,
    )  # fmt: skip
    assert (tmp_path / "split.data").exists()
    monkeypatch.chdir(tmp_path)  # where a naive loader would find it
    with pytest.raises(WeightsError, match="fakescan reads single files"):
        OnnxSession(path)


def test_an_unknown_device_is_refused(tiny):
    with pytest.raises(ConfigError, match="known: auto, cpu, cuda"):
        OnnxSession(tiny, device="tpu")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_asking_for_a_gpu_where_there_is_none_is_one_clear_line(tiny):
    with pytest.raises(ConfigError, match="use --device cpu"):
        OnnxSession(tiny, device="cuda")


def test_loading_and_scoring_write_nothing_to_the_terminal(tiny):
    code = (
        "import sys, numpy; from pathlib import Path; from fakescan.session import OnnxSession\n"
        "OnnxSession(Path(sys.argv[1])).logits(numpy.zeros((1, 16, 16, 3), numpy.uint8))"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
