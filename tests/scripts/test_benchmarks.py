"""Scripts that measure: they run, on sizes that say nothing."""

import runpy
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from fakescan.export.graph import build_graph
from towers import tiny_metadata, tiny_model

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_an_image_of_vit_l_takes_162_billion_operations():
    script = runpy.run_path(str(SCRIPTS / "benchmark_gpu.py"))
    operations = script["_operations"](script["TOWERS"]["ViT-L/14"])
    assert operations / 1e9 == pytest.approx(162, abs=1)


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_tiny_sizes_without_a_gpu():
    run = [sys.executable, str(SCRIPTS / "benchmark_gpu.py"), "--smoke"]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "| tiny | bf16 | torch | 2 |" in printed
    assert "| tiny | fp16 | ONNX Runtime | 2 |" in printed
    assert "with the trunk cached" in printed


@pytest.mark.slow
def test_the_comparison_of_runtimes_runs_on_a_tiny_detector(tmp_path):
    detector = tmp_path / "tiny.onnx"
    model = tiny_model()
    onnx.save(build_graph(model, tiny_metadata(model)), detector)
    run = [str(SCRIPTS / "bench"), "--model", str(detector), "--rounds", "2", "--images", "2"]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    for name in ("int8-dynamic", "bare dynamic int8", "int4", "OpenVINO bfloat16", "torch"):
        assert f"| {name}" in printed
    assert "| one by one |" in printed
