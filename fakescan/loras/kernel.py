"""How alike two updates of the same layer are.

    power p           <U_i S_i^p V_i^T, U_j S_j^p V_j^T>
                      = sum of (U_i^T U_j) o (V_i^T V_j) o (S_i^p S_j^p)
    left covariance   <dW_i dW_i^T, dW_j dW_j^T> = || (U_i S_i)^T (U_j S_j) ||_F^2

each divided by the root of both self-kernels, so that a positive strength cancels exactly. What is
used is the mean of power 1/2 and left covariance. Factors of r columns are all it takes: dW, of
m x n, is never formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.loras.spectrum import Doubles, Matrix, Spectrum

BLOCK = 1024
"""Columns of stacked factors that are multiplied with all others at once."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Which kernels are averaged."""

    powers: tuple[float, ...] = (0.5,)
    """Of the singular values; 0 compares subspaces alone, 1 is the plain inner product of dW."""
    has_left_covariance: bool = True


DEFAULT = Kernel()


def similarities(
    spectra: Sequence[Spectrum], kernel: Kernel = DEFAULT, *, first: int | None = None
) -> Doubles:
    """All pairs of updates of one layer, (N, N), ones on the diagonal.

    Args:
        spectra: N of them, of equal m and n.
        kernel: which kernels are averaged.
        first: only so many rows, (first, N).
    """
    columns = np.array([len(s.S) for s in spectra])
    U = np.concatenate([s.U for s in spectra], axis=1)  # (m, R), R the sum of all k
    V = np.concatenate([s.V for s in spectra], axis=1)  # (n, R)
    S = np.concatenate([s.S for s in spectra])  # (R,)
    rows = len(spectra) if first is None else first
    total = np.zeros((rows, len(spectra)))
    for block in _blocks(columns[:rows]):
        total[block] = _rows(U, V, S, columns, block, kernel)
    return total / (len(kernel.powers) + kernel.has_left_covariance)


def _rows(
    U: Matrix, V: Matrix, S: Doubles, columns: NDArray[np.int_], block: slice, kernel: Kernel
) -> Doubles:
    """Some rows of the sum of the normalised kernels."""
    starts = np.concatenate([[0], np.cumsum(columns)])
    mine = slice(starts[block.start], starts[block.stop])
    UU, VV = U[:, mine].T @ U, V[:, mine].T @ V  # (b, R)
    total = np.zeros((block.stop - block.start, len(columns)))
    for power in kernel.powers:
        weight = S**power
        raw = _sum_blocks(UU * VV * np.outer(weight[mine], weight), columns, block)
        total += _normalise(raw, np.add.reduceat(S ** (2 * power), starts[:-1]), block)
    if kernel.has_left_covariance:
        raw = _sum_blocks(UU**2 * np.outer(S[mine] ** 2, S**2), columns, block)
        total += _normalise(raw, np.add.reduceat(S**4, starts[:-1]), block)
    return total


def _normalise(raw: Doubles, own: Doubles, block: slice) -> Doubles:
    out: Doubles = raw / np.sqrt(np.outer(own[block], own))
    return out


def _sum_blocks(values: Doubles, columns: NDArray[np.int_], block: slice) -> Doubles:
    """(b, R) -> one number for each pair of updates."""
    starts = np.concatenate([[0], np.cumsum(columns)[:-1]])
    across = np.add.reduceat(values, starts, axis=1)  # (b, N)
    out: Doubles = np.add.reduceat(across, starts[block] - starts[block.start], axis=0)
    return out


def _blocks(columns: NDArray[np.int_]) -> list[slice]:
    """Runs of updates that have about `BLOCK` columns together."""
    blocks, begin, width = [], 0, 0
    for place, count in enumerate(columns):
        if width and width + count > BLOCK:
            blocks.append(slice(begin, place))
            begin, width = place, 0
        width += int(count)
    return [*blocks, slice(begin, len(columns))]
