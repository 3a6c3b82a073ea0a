"""Adapters that are really trained, in styles that are known, are found by their weights alone."""

import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's own code."""
    sys.path.insert(0, SCRIPTS)
    try:
        import benchmark_loras

        yield benchmark_loras
    finally:
        sys.path.remove(SCRIPTS)


@pytest.mark.parametrize("family", ["mlp", "unet"])
def test_styles_are_found_where_concatenation_fails(benchmark, family, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmark.STEPS, family, 120)
    (chosen,) = [s for s in benchmark.SETS if s.name == family]
    plans = benchmark.recipes(chosen, styles=5, digits=4)
    paths = benchmark.make(chosen, plans, tmp_path / chosen.name, base_steps=400)
    found = {
        name: benchmark.judge(similarity, plans)
        for name, similarity in benchmark.similarities(chosen, plans, paths, tmp_path)
    }
    weights, published = found["**fakescan**"], found["concatenation, PCA"]
    assert weights.r_at_1.value >= 0.7
    assert weights.r_at_1.value > published.r_at_1.value + 0.2
    assert weights.p_value < 0.01
    assert weights.content_r_at_1 < 0.4
    assert found["fakescan, `search`"].r_at_1.value >= 0.6
