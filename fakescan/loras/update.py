"""One module's tensors -> what it does to its layer, or the reason why that is not known.

    LoRA    dW = scale * up down
    Tucker  down is multiplied by the core `mid` first
    LoHa    dW = scale * (w1_a w1_b) o (w2_a w2_b), elementwise: a product of rank r1 * r2 whose
            factors are the row-wise Khatri-Rao products of theirs
    LoKr    dW = scale * kron(w1, w2), decomposed by its factors

Convolutions are matrices (m, c_in * k * k); a kernel of 1 x 1 is a linear layer.
Sources: LyCORIS, arXiv 2309.14859, for LoHa and LoKr.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fakescan.errors import LoraError
from fakescan.loras.adapter import Adapter, Module
from fakescan.loras.canonical import Group
from fakescan.loras.fused import pieces
from fakescan.loras.read import LoraFile
from fakescan.loras.spectrum import Matrix, Spectrum, kronecker, spectrum, transposed
from fakescan.loras.suffixes import Kind

MAX_SPREAD = 80_000_000
"""Elements of U and V of a Kronecker product; more would not fit in the memory that is promised."""


@dataclass(frozen=True, slots=True)
class Update:
    """What an adapter does to one layer."""

    name: str
    """Canonical."""
    group: Group
    shape: tuple[int, int]
    """Of dW: (m, n)."""
    rank: int
    """Of the factors as they are stored."""
    spectrum: Spectrum | None
    reason: str | None = None
    """Why there is no spectrum: `untrained`, or a fault."""


UNTRAINED = "untrained"
"""dW is zero: nothing was learned here."""


def updates(file: LoraFile, adapter: Adapter) -> Iterator[Update]:
    """Read and decompose a file's modules one by one; a fused one gives several.

    Raises:
        LoraError: the file cannot be read to its end.
    """
    for module in adapter.modules:
        yield from _of_module(file, module, adapter)


def _of_module(file: LoraFile, module: Module, adapter: Adapter) -> Iterator[Update]:
    tensors = {role: file.read(name) for role, name in module.tensors.items() if role != "dora"}
    if bad := [role for role, values in tensors.items() if not _is_finite(values)]:
        reason = f"{module.tensors[bad[0]]!r} holds NaN or infinity"
        yield Update(module.name, module.group, (0, 0), module.rank, None, reason)
        return
    try:
        # What overflows becomes infinite, and is refused where it is found.
        with np.errstate(over="ignore", invalid="ignore"):
            yield from _decomposed(module, tensors, adapter)
    except LoraError as e:
        yield Update(module.name, module.group, (0, 0), module.rank, None, str(e))


def _decomposed(module: Module, tensors: dict[str, Matrix], adapter: Adapter) -> Iterator[Update]:
    scale = _scale(module, tensors, adapter)
    if module.kind is Kind.LOKR:
        found = _lokr(tensors, scale)
        why = None if found else UNTRAINED
        yield Update(module.name, module.group, _shape(found), module.rank, found, why)
        return
    B, A = _loha(tensors) if module.kind is Kind.LOHA else _lora(tensors)  # (m, r), (r, n)
    if not (_is_finite(B) and _is_finite(A)):
        raise LoraError(f"{module.path!r}: the product of its factors is too large")
    if adapter.config.is_transposed and module.kind is Kind.LORA:
        B, A = A.T, B.T
    for piece in pieces(module.name, B.shape[0], A.shape[1]):
        part = B[piece.begin : piece.end]
        found = spectrum(part, A, scale)
        why = None if found else UNTRAINED
        shape = (part.shape[0], A.shape[1])
        yield Update(piece.name, module.group, shape, module.rank, found, why)


def _is_finite(values: Matrix) -> bool:
    with np.errstate(invalid="ignore"):  # NaN may be a signalling one
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))  # NaN is in both


def _shape(found: Spectrum | None) -> tuple[int, int]:
    return found.shape if found else (0, 0)


def _scale(module: Module, tensors: dict[str, Matrix], adapter: Adapter) -> float:
    """As A1111: a `scale` tensor before alpha over rank; else what stands beside the factors.

    Raises:
        LoraError: not one finite number.
    """
    for role in ("scale", "alpha"):
        if role in tensors and tensors[role].size != 1:
            raise LoraError(f"{module.tensors[role]!r} is no single number")
    if "scale" in tensors:
        return float(tensors["scale"].item())
    rank = module.rank
    if module.kind is not Kind.LORA:
        rank = math.isqrt(module.rank) if module.kind is Kind.LOHA else _lokr_rank(tensors, adapter)
    if "alpha" in tensors:
        return float(tensors["alpha"].item()) / max(rank, 1)
    alpha = adapter.config.alpha_of(module.path)
    return 1.0 if alpha is None else adapter.config.scale(alpha, rank)


def _lora(tensors: dict[str, Matrix]) -> tuple[Matrix, Matrix]:
    """B (m, r) and A (r, n)."""
    up = tensors["up"].reshape(len(tensors["up"]), -1)
    if "mid" not in tensors:
        return up, tensors["down"].reshape(len(tensors["down"]), -1)
    down = tensors["down"].reshape(len(tensors["down"]), -1)
    return up, _tucker(tensors["mid"], down)


def _tucker(core: Matrix, down: Matrix) -> Matrix:
    """Core (p, q, *kernel) and down (q, c_in) -> (p, c_in * kernel)."""
    wide: Matrix = np.einsum("pq...,qc->pc...", core, down)
    return wide.reshape(len(core), -1)


def _loha(tensors: dict[str, Matrix]) -> tuple[Matrix, Matrix]:
    """B (m, r1 * r2) and A (r1 * r2, n)."""
    (B1, A1), (B2, A2) = (_loha_pair(tensors, pair) for pair in "12")
    B = (B1[:, :, None] * B2[:, None, :]).reshape(len(B1), -1)
    A = (A1[:, None, :] * A2[None, :, :]).reshape(-1, A1.shape[1])
    return B, A


def _loha_pair(tensors: dict[str, Matrix], pair: str) -> tuple[Matrix, Matrix]:
    """One of the two products as (m, r) and (r, n)."""
    a, b = tensors[f"hada_w{pair}_a"], tensors[f"hada_w{pair}_b"]
    core = tensors.get(f"hada_t{pair}")
    return (a, b) if core is None else (a.T, _tucker(core, b))


def _lokr_rank(tensors: dict[str, Matrix], adapter: Adapter) -> int:
    """What alpha is divided by: the rank of the factored side; LyCORIS ignores alpha without."""
    for role in ("lokr_w1_b", "lokr_w2_b"):
        if role in tensors:
            return len(tensors[role])
    if "alpha" in tensors:
        return max(1, int(np.nan_to_num(tensors["alpha"].item())))
    return adapter.config.rank or 1


def _lokr(tensors: dict[str, Matrix], scale: float) -> Spectrum | None:
    """Decompose scale * kron(w1, w2).

    Raises:
        LoraError: its decomposition would be too large.
    """
    first, second = (_lokr_factor(tensors, pair) for pair in "12")
    if first is None or second is None:
        return None
    rank = len(first.S) * len(second.S)
    rows, columns = np.multiply(first.shape, second.shape).tolist()
    if (rows + columns) * rank > MAX_SPREAD:
        raise LoraError(f"a Kronecker product of {rows} x {columns} and rank {rank} is too large")
    return kronecker(first, second, scale)


def _lokr_factor(tensors: dict[str, Matrix], pair: str) -> Spectrum | None:
    if (whole := tensors.get(f"lokr_w{pair}")) is not None:
        matrix = whole.reshape(len(whole), -1)
        wide = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
        found = spectrum(wide, np.eye(wide.shape[1], dtype=np.float32), 1.0)
        if found is None or wide is matrix:
            return found
        return transposed(found)
    a, b = tensors[f"lokr_w{pair}_a"], tensors[f"lokr_w{pair}_b"]
    core = tensors.get("lokr_t2") if pair == "2" else None
    wide = b.reshape(len(b), -1) if core is None else _tucker(core, b)
    if not _is_finite(wide):
        raise LoraError("the product of its factors is too large")
    return spectrum(a if core is None else a.T, wide, 1.0)
