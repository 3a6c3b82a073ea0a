"""Contenders take turns, and are compared within each round."""

import numpy as np
import onnx
import pytest

from fakescan.bench.compare import compare, in_turns
from fakescan.bench.contenders import BARE, bare_dynamic, contenders
from fakescan.export.graph import build_graph
from fakescan.session import OnnxSession
from towers import tiny_metadata, tiny_model


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.onnx"
    model = tiny_model(gate="dense")
    onnx.save(build_graph(model, tiny_metadata(model, "int8")), path)
    return path


def test_everybody_runs_in_every_round_and_the_order_changes():
    ran = []
    runs = {name: lambda name=name: ran.append(name) for name in "abc"}
    seconds = in_turns(runs, 2, 4)
    assert ran == list("cba") + list("abc") + list("cba")
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_ratios_and_drift_are_from_the_first_and_the_fastest_stands_first():
    work = {"slow": 400_000, "quick": 1}

    def scoring(name, shift):
        return lambda square: sum(range(work[name])) * 0 + float(square.mean()) + shift

    scores = {"slow": scoring("slow", 0.0), "quick": scoring("quick", 0.25)}
    squares = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2)]
    found = compare(scores, {"idle": lambda: None}, squares, squares, 3)
    names = [result.name for result in found]
    assert names[-1] == "slow"
    slow, quick, idle = (found[names.index(name)] for name in ("slow", "quick", "idle"))
    assert (slow.ratio, slow.drift_max) == (1.0, 0.0)
    assert quick.ratio > 5
    assert (quick.drift_max, quick.drift_mean) == (0.25, 0.25)
    assert idle.drift_max is None


def test_the_bare_file_multiplies_all_of_the_blocks_in_integers(detector, tmp_path):
    path = tmp_path / "bare.onnx"
    path.write_bytes(bare_dynamic(detector.read_bytes()))
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("DynamicQuantizeMatMul") == 8
    assert kinds.count("DequantizeLinear") == 0
    crops = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    before, after = (OnnxSession(p, device="cpu").logits(crops) for p in (detector, path))
    assert 0 < np.abs(after - before).max() < 0.3 * before.std()


def test_contenders_score_the_same_squares(detector, tmp_path):
    scores = {name: make() for name, make in contenders(detector, 1, tmp_path)}
    names = list(scores)
    assert names[:3] == ["as stored", "fast (int8-fast-2)", BARE]
    assert {"OpenVINO float32", "OpenVINO bfloat16"} <= scores.keys()
    square = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    logits = [score(square) for score in scores.values()]
    assert max(logits) - min(logits) < 0.5
