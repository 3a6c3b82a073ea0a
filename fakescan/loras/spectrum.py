"""dW = scale * B A -> its thin singular value decomposition, without forming dW.

    B^T B = E diag(l) E^T              R = diag(l)^(1/2) E^T, so that B = (B E diag(l)^(-1/2)) R
    R (A A^T) R^T = W diag(s^2) W^T    the squared singular values of B A
    U = B E diag(l)^(-1/2) W           V = A^T R^T W diag(1/s)

What is left no longer depends on how dW was cut into B and A: neither on (BG, G^-1 A) nor on zero
columns. Gram matrices in float64 take a quarter of the time of two QR decompositions. They lose
singular values below 1e-7 of the largest, so those below 1e-6 are dropped.

Shapes: dW (m, n), B (m, r), A (r, n); k singular values, k <= min(r, m, n).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Doubles = NDArray[np.float64]

USUAL = (1e-12, 1e12)
"""Frobenius norms of factors that need no care."""
CUT = 1e-6
"""Of the largest singular value; smaller ones are noise."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """dW = top * U diag(S) V^T."""

    B: Matrix
    """(m, r); not orthonormal: see `U`."""
    left_map: Doubles | None
    """(r, k): U = B left_map; None when B is U."""
    S: Doubles
    """(k,), falling from 1 and positive."""
    A: Matrix
    """(r, n)."""
    right_map: Doubles | None
    """(r, k): V = A^T right_map; None when A^T is V."""
    top: float
    """The largest singular value, with the scale."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of dW: (m, n)."""
        return self.B.shape[0], self.A.shape[1]

    @property
    def U(self) -> Matrix:  # noqa: N802  (as everywhere in linear algebra)
        """(m, k), orthonormal; a negative scale is in its sign. Computed anew each time."""
        return _times(self.B, self.left_map)

    @property
    def V(self) -> Matrix:  # noqa: N802
        """(n, k), orthonormal. Computed anew each time."""
        return _times(self.A.T, self.right_map)

    def project_left(self, rows: Matrix) -> Doubles:
        """(q, m) times U, without computing U: (q, k)."""
        product = (rows @ self.B).astype(np.float64)
        return product if self.left_map is None else product @ self.left_map

    def project_right(self, rows: Matrix) -> Doubles:
        """(q, n) times V, without computing V: (q, k)."""
        product = (rows @ self.A.T).astype(np.float64)
        return product if self.right_map is None else product @ self.right_map

    @property
    def norm(self) -> float:
        """Frobenius norm of dW."""
        return self.top * float(np.sqrt((self.S**2).sum()))

    @property
    def effective_rank(self) -> float:
        """Number of directions: exp of the entropy of the squared singular values' shares.

        Source: Roy and Vetterli, "The effective rank" (2007), with squares.
        """
        shares = self.S**2 / (self.S**2).sum()
        return float(np.exp(-(shares * np.log(np.maximum(shares, 1e-300))).sum()))

    @property
    def stable_rank(self) -> float:
        """Squared Frobenius norm over squared spectral norm."""
        return float((self.S**2).sum())


def spectrum(B: Matrix, A: Matrix, scale: float) -> Spectrum | None:
    """Decompose a product; None when it is zero.

    Args:
        B: (m, r), finite.
        A: (r, n), finite.
        scale: of the product; 0 counts as 1 for what is compared, and as no strength.
    """
    # Squares of float32 values, and their products, stay far from the limits of float64.
    B64, A64 = B.astype(np.float64), A.astype(np.float64)
    gram_B, gram_A = B64.T @ B64, A64 @ A64.T  # (r, r)
    sizes = float(np.sqrt(np.trace(gram_B))), float(np.sqrt(np.trace(gram_A)))
    if not all(USUAL[0] < size < USUAL[1] for size in sizes):
        return _rescaled(B64, A64, sizes, scale)
    lengths, E = np.linalg.eigh(gram_B)  # (r,), (r, r)
    keep = lengths > max(lengths[-1], 0.0) * CUT**2 * 1e-2
    root = np.sqrt(lengths[keep])
    R = root[:, None] * E[:, keep].T  # (k, r)
    squares, W = np.linalg.eigh(R @ gram_A @ R.T)
    keep_s = squares > max(squares[-1], 0.0) * CUT**2
    if not keep_s.any():
        return None
    S = np.sqrt(squares[keep_s][::-1])  # (k,)
    W = W[:, keep_s][:, ::-1]  # (k, k)
    sign = -1.0 if scale < 0 else 1.0
    left_map, right_map = sign * (E[:, keep] / root @ W), R.T @ W / S  # (r, k)
    return Spectrum(B, left_map, S / S[0], A, right_map, float(S[0]) * abs(scale))


def _rescaled(B: Doubles, A: Doubles, sizes: tuple[float, float], scale: float) -> Spectrum | None:
    """Decompose a product of factors so large or small that float32 does not sum them up."""
    if 0.0 in sizes:
        return None
    left, right = (B / sizes[0]).astype(np.float32), (A / sizes[1]).astype(np.float32)
    found = spectrum(left, right, scale)
    return None if found is None else replace(found, top=found.top * sizes[0] * sizes[1])


def kronecker(first: Spectrum, second: Spectrum, scale: float) -> Spectrum:
    """The decomposition of scale * kron(first, second), from those of its factors."""
    S = np.outer(first.S, second.S).ravel()  # (k1 * k2,)
    order = np.argsort(-S, kind="stable")
    order = order[S[order] > CUT]
    sign = np.float32(-1.0 if scale < 0 else 1.0)
    U = sign * np.kron(first.U, second.U)[:, order]
    top = abs(scale) * first.top * second.top
    V = np.kron(first.V, second.V)[:, order]
    return Spectrum(U, None, S[order], V.T, None, top)


def transposed(found: Spectrum) -> Spectrum:
    """The decomposition of dW^T."""
    return Spectrum(found.A.T, found.right_map, found.S, found.B.T, found.left_map, found.top)


def _times(factor: Matrix, to: Doubles | None) -> Matrix:
    """In float64: a change of basis may be far from orthogonal."""
    return factor if to is None else (factor.astype(np.float64) @ to).astype(np.float32)
