"""A few numbers in place of one update, whose inner products are the kernels on average.

Random signs P (q, m) and Q (q, n) that belong to the module turn U S^(1/2) V^T into the q x q
matrix (P U) S^(1/2) (Q V)^T, and U S^2 U^T into (P U) S^2 (P U)^T. Each is scaled to length 1.
From the second, the mean of its diagonal is taken away first: both factors are the same, so that
any two would seem alike by tr(C_i) tr(C_j) / q otherwise. It is symmetric, and only its upper
triangle is kept, with sqrt(2) off the diagonal. Inner products of two sketches then estimate the
two kernels, with an error that falls as 1 / q.

The signs are bits of SHAKE128 over module name, shape and version, so that any machine and any
version of NumPy gives the same sketch. Source for signs in place of Gaussians: Achlioptas,
"Database-friendly random projections" (2003).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from fakescan.loras.spectrum import Doubles, Matrix, Spectrum

VERSION = "fakescan lora sketch 1"
SIZE = 32
"""q of a new index; half of it loses a tenth of the rank-1 hits where layers are few."""
SIZES = (16, 32, 64)

KEPT_BYTES = 64_000_000
"""Of random signs, as float32, that are kept for the next file."""

Half = NDArray[np.float16]


class Projector:
    """Makes sketches of one size; threads may share one.

    Random signs of the first modules that it meets are kept, since most files have the same ones.
    """

    def __init__(self, size: int = SIZE) -> None:
        """Fix q.

        Args:
            size: q.
        """
        self.size = size
        self._kept: dict[str, Matrix] = {}
        self._kept_bytes = 0
        places = np.triu_indices(size)
        self._upper = np.ravel_multi_index(places, (size, size))
        self._weights = np.where(places[0] == places[1], 1.0, np.sqrt(2.0))

    @property
    def length(self) -> int:
        """Numbers in one module's sketch."""
        return self.size**2 + self.size * (self.size + 1) // 2

    def sketch(self, name: str, spectrum: Spectrum) -> Doubles:
        """(length,): both kernels' parts, each of length 1, together of length sqrt(2).

        Args:
            name: canonical, of the module.
            spectrum: of its update.
        """
        rows, columns = spectrum.shape
        left = spectrum.project_left(self._signs(f"{name} {rows}x{columns} out", rows))  # (q, k)
        right = spectrum.project_right(self._signs(f"{name} {rows}x{columns} in", columns))
        power = ((left * np.sqrt(spectrum.S)) @ right.T).ravel()
        covariance = (left * spectrum.S**2) @ left.T  # (q, q)
        diagonal = covariance.ravel()[:: self.size + 1]  # a view
        diagonal -= diagonal.mean()
        folded = covariance.ravel()[self._upper] * self._weights
        return np.concatenate([_unit(power), _unit(folded)])

    def _signs(self, key: str, width: int) -> Matrix:
        """-1 and 1, (q, width)."""
        if (kept := self._kept.get(key)) is not None:
            return kept
        count = self.size * width
        raw = hashlib.shake_128(f"{VERSION} {self.size} {key}".encode()).digest((count + 7) // 8)
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count)
        signs: Matrix = bits.astype(np.float32).reshape(self.size, width)
        signs *= 2.0
        signs -= 1.0
        if self._kept_bytes + signs.nbytes <= KEPT_BYTES:
            self._kept[key] = signs
            self._kept_bytes += signs.nbytes
        return signs


def _unit(values: Doubles) -> Doubles:
    length = float(np.sqrt(values @ values))
    return values / length if length > 0 else values
