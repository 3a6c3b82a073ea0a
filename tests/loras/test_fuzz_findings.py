"""Files that scripts/fuzz_loras.py has found to end badly, and a little of its work."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fakescan.errors import LoraError
from fakescan.loras.describe import describe
from fakescan.loras.reading import sketch_of
from fakescan.loras.sketch import Projector
from loras_made import write

SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")
HUGE = np.full((2, 2), 3e38, "<f4")
OVERFLOWS = {
    "factors of LoHa": {f"x.hada_w{i}_{side}": HUGE for i in "12" for side in "ab"},
    "a core of LoCon": {
        "x.lora_up.weight": HUGE,
        "x.lora_mid.weight": np.full((2, 2, 3, 3), 3e38, "<f4"),
        "x.lora_down.weight": HUGE,
    },
    "factors of LoKr": {
        "x.lokr_w1": HUGE,
        "x.lokr_w2_a": HUGE,
        "x.lokr_w2_b": HUGE,
        "x.lokr_t2": np.full((2, 2, 3, 3), 3e38, "<f4"),
    },
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_a_product_is_left_out_that_overflows_through(name, tmp_path):
    path = write(tmp_path / "a.safetensors", OVERFLOWS[name])
    (module,) = describe(path).modules
    assert "product of its factors is too large" in module.reason
    with pytest.raises(LoraError, match="nothing to compare"):
        sketch_of(path, Projector(16))


def test_plain_factors_at_the_limit_of_their_type_are_compared(tmp_path):
    tensors = {"x.lora_up.weight": HUGE, "x.lora_down.weight": HUGE}
    sketch = sketch_of(write(tmp_path / "a.safetensors", tensors), Projector(16))
    assert np.isfinite(sketch.values).all()


@pytest.mark.parametrize(
    ("dtype", "bits"), [("<f8", 0x7FF0000000000001), ("<f4", 0x7F800001), ("<u2", 0x7F81)]
)
def test_a_signalling_nan_is_refused_as_any_other(dtype, bits, tmp_path):
    values = np.zeros((2, 2), dtype)
    values.view(f"<u{values.itemsize}")[0, 0] = bits
    tensors = {"x.lora_up.weight": values, "x.lora_down.weight": np.ones((2, 2), "<f4")}
    (module,) = describe(write(tmp_path / "a.safetensors", tensors)).modules
    assert "holds NaN or infinity" in module.reason


@pytest.fixture
def fuzzer():
    pytest.importorskip("resource")
    sys.path.insert(0, SCRIPTS)
    try:
        import fuzz_loras

        yield fuzz_loras
    finally:
        sys.path.remove(SCRIPTS)


def test_damaged_files_end_with_a_description_or_a_reason(fuzzer, tmp_path):
    chance = random.Random(11)
    files = list(fuzzer.seeds(chance))
    path, ends = tmp_path / "a.safetensors", set()
    with threadpool_limits(1):
        for _ in range(300):
            path.write_bytes(fuzzer.damaged(*chance.choice(files), chance))
            ends.add(fuzzer._end(path, Projector(16)))
    assert ends == {"described", "refused"}
