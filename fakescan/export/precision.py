"""How the tower's matrices are kept in the file: float32, float16, or int8 with scales.

    fp32   as they are
    fp16   float16, multiplied in float16; norms, softmax, residual stream, experts, routers and
           head stay float32
    int8   weight only: w = q * scale, q in [-127, 127], one scale per output channel;
           multiplied in float32
    int8-dynamic, int8-static
           the same weights, multiplied in integers: what they multiply is rounded to 8 bits as
           well, as `fakescan.export.integers` says

Everything else stays float32: vectors, positions, experts, routers, head, and the patch
convolution, which is 2 % of the int8 file and the first to see the traces that matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from fakescan.errors import ExportError
from fakescan.metadata import Precision
from fakescan.model.layout import SCALE_SUFFIX

INT8_MAX = 127
FP16_MAX = 65504.0
SMALLEST = 1e-30
"""A channel whose largest value is below becomes zero; its scale would be no normal float."""
NEIGHBOURS = (-2, -1, 0, 1, 2)
"""Scales tried around max / 127, in units of the last place."""


class Stored(NamedTuple):
    """One matrix as the file keeps it."""

    matrix: TensorProto
    scale: TensorProto | None
    """Per output channel; with int8 only."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How matrices are kept and multiplied."""

    precision: Precision

    @property
    def is_integer(self) -> bool:
        """The blocks' products run in integers."""
        return self.precision in ("int8-dynamic", "int8-static")

    @property
    def compute(self) -> int:
        """ONNX type that the tower's matrix products run in."""
        is_half = self.precision == "fp16"
        return TensorProto.FLOAT16 if is_half else TensorProto.FLOAT

    def store(self, name: str, value: NDArray[np.float32]) -> Stored:
        """Keep one matrix (d_in, d_out).

        Raises:
            ExportError: a value that float16 cannot hold.
        """
        if self.precision.startswith("int8"):
            q, scale = quantise(value)
            return Stored(
                numpy_helper.from_array(q, name),
                numpy_helper.from_array(scale, name + SCALE_SUFFIX),
            )
        if self.precision == "fp16":
            if np.abs(value).max(initial=0) > FP16_MAX:
                raise ExportError(f"{name}: values above {FP16_MAX:g}, which fp16 cannot hold")
            return Stored(numpy_helper.from_array(value.astype(np.float16), name), None)
        return Stored(numpy_helper.from_array(value, name), None)


def quantise(value: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 per output channel: value = q * scale, as close as can be.

    A matrix that was made of int8 values and scales, with 127 in every channel, comes back bit
    by bit: among scales that differ in the last places, each channel takes the best.

    Args:
        value: (d_in, d_out).

    Returns:
        q (d_in, d_out) and scales (d_out,).
    """
    largest = np.abs(value).max(axis=0)  # (d_out,)
    scale = np.where(largest > SMALLEST, largest / np.float32(INT8_MAX), np.float32(1))
    q = np.rint(value / scale)  # (d_in, d_out)
    scales = np.stack([scale.view(np.int32) + n for n in NEIGHBOURS]).view(np.float32)
    errors = np.stack([np.abs(q * s - value).sum(axis=0) for s in scales])  # (5, d_out)
    best = np.take_along_axis(scales, errors.argmin(axis=0)[None], axis=0)[0]  # (d_out,)
    return q.astype(np.int8), best
