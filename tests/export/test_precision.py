"""Weights as float16 and int8."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.errors import ExportError
from fakescan.export.precision import Storage, quantise
from fakescan.model.layout import dequantise


def int8_made(rng, rows=64, columns=48):
    """A matrix that was int8 with a scale per output channel once, 127 in every channel."""
    q = rng.integers(-127, 128, (rows, columns))
    q[rng.integers(rows, size=columns), np.arange(columns)] = rng.choice([-127, 127], columns)
    scale = rng.uniform(1e-4, 1e-1, columns).astype(np.float32)
    return dequantise(q.astype(np.int8), scale), q


@pytest.mark.parametrize("seed", range(20))
def test_weights_that_were_int8_once_come_back_bit_by_bit(seed):
    value, q = int8_made(np.random.default_rng(seed))
    found, scale = quantise(value)
    np.testing.assert_array_equal(found, q)
    np.testing.assert_array_equal(dequantise(found, scale), value)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(-20, 5),
    st.integers(0, 2**31),
)
def test_rounding_moves_no_weight_by_more_than_half_a_step(rows, columns, magnitude, seed):
    rng = np.random.default_rng(seed)
    value = (rng.standard_normal((rows, columns)) * 10**magnitude).astype(np.float32)
    q, scale = quantise(value)
    assert q.min() >= -127
    error = np.abs(dequantise(q, scale) - value)
    assert (error <= 0.501 * np.abs(value).max(axis=0) / 127).all()


@pytest.mark.parametrize("tiny", [0.0, 1e-38, 1e-44])
def test_channels_of_almost_nothing_become_zero(tiny):
    value = np.full((4, 2), tiny, np.float32)
    q, scale = quantise(value)
    assert (dequantise(q, scale) == 0).all()
    assert np.isfinite(scale).all()


def test_a_weight_that_fp16_cannot_hold_is_refused():
    value = np.full((2, 2), 1e5, np.float32)
    with pytest.raises(ExportError, match=r"proj: values above 65504"):
        Storage("fp16").store("proj", value)
