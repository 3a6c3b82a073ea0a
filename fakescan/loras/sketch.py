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
"""Of random bits, as float32, that are kept for the next file."""

Half = NDArray[np.float16]


class Projector:
    """Makes sketches of one size; threads may share one.

    Random bits of the first modules that it meets are kept, since most files have the same ones.
    """

    def __init__(self, size: int = SIZE) -> None:
        """Fix q.

        Args:
            size: q.
        """
        self.size = size
        self._kept: dict[str, Matrix] = {}
        self._kept_bytes = 0

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
        shape = f"{len(spectrum.U)}x{len(spectrum.V)}"
        left = self._project(f"{name} {shape} out", spectrum.U)  # (q, k)
        right = self._project(f"{name} {shape} in", spectrum.V)
        power = ((left * np.sqrt(spectrum.S)) @ right.T).ravel()
        covariance = (left * spectrum.S**2) @ left.T  # (q, q)
        covariance -= np.eye(self.size) * np.trace(covariance) / self.size
        places = np.triu_indices(self.size)
        folded = covariance[places] * np.where(places[0] == places[1], 1.0, np.sqrt(2.0))
        return np.concatenate([_unit(power), _unit(folded)])

    def _project(self, key: str, factor: Matrix) -> Doubles:
        """Random signs (q, m) times a factor (m, k)."""
        product: Matrix = self._bits(key, len(factor)) @ factor
        out: Doubles = 2.0 * product.astype(np.float64) - factor.sum(axis=0, dtype=np.float64)
        return out

    def _bits(self, key: str, width: int) -> Matrix:
        """Zeros and ones, (q, width); 2 x - 1 of them are the signs."""
        if (kept := self._kept.get(key)) is not None:
            return kept
        count = self.size * width
        raw = hashlib.shake_128(f"{VERSION} {self.size} {key}".encode()).digest((count + 7) // 8)
        ones = np.unpackbits(np.frombuffer(raw, np.uint8), count=count)
        bits: Matrix = ones.astype(np.float32).reshape(self.size, width)
        if self._kept_bytes + bits.nbytes <= KEPT_BYTES:
            self._kept[key] = bits
            self._kept_bytes += bits.nbytes
        return bits


def _unit(values: Doubles) -> Doubles:
    length = np.sqrt((values**2).sum())
    return values / length if length > 0 else values
