"""ONNX Runtime's options: the same scores everywhere, and no safeguard where none is due."""

import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fakescan import runtime
from needs import need

EXACT = np.full((runtime.ROWS, runtime.COLUMNS), 255 * 127 * runtime.DEPTH)
LARGEST = np.full((runtime.ROWS, runtime.DEPTH), 255, np.uint8)
PRODUCT = """
import sys
import numpy as np
from fakescan import runtime
session = runtime.onnxruntime().InferenceSession(
    runtime._product(), runtime.session_options(), providers=[runtime.CPU]
)
largest = np.full((runtime.ROWS, runtime.DEPTH), 255, np.uint8)
print(runtime.sums_overflow(), *np.unique(session.run(None, {"x": largest})[0]))
"""


def test_the_largest_product_is_exact_here():
    options = runtime.session_options(1)
    session = runtime.onnxruntime().InferenceSession(
        runtime._product(), options, providers=[runtime.CPU]
    )
    np.testing.assert_array_equal(session.run(None, {"x": LARGEST})[0], EXACT)
    assert options.intra_op_num_threads == 1


@pytest.mark.parametrize("overflow", [True, False])
def test_the_safeguard_is_set_where_sums_overflow_only(monkeypatch, overflow):
    monkeypatch.setattr(runtime, "sums_overflow", lambda: overflow)
    options = runtime.session_options()
    if overflow:
        assert options.get_session_config_entry(runtime.NO_OVERFLOW) == "1"
    else:
        with pytest.raises(RuntimeError, match=runtime.NO_OVERFLOW):
            options.get_session_config_entry(runtime.NO_OVERFLOW)


def test_the_runtime_has_a_name_and_a_version():
    assert runtime.described() == f"ONNX Runtime {runtime.version()}"
    assert runtime.version().startswith("1.")


def test_the_product_that_is_tried_is_an_onnx_file():
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_model_from_string(runtime._product()), full_check=True)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="emulates x86 on Linux"
)
def test_without_vnni_sums_overflow_and_the_safeguard_makes_them_exact():
    """On an emulated Haswell, which is the first that has AVX2."""
    emulator = shutil.which("qemu-x86_64")
    need(emulator, "qemu-user")
    command = [emulator, "-cpu", "Haswell", sys.executable, "-c", PRODUCT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == f"True {255 * 127 * runtime.DEPTH}\n"
