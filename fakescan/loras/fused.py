"""Layers that one dialect keeps in one piece and another in several, such as query, key and value.

dW = B A of the whole is, row block by row block, B_q A, B_k A and B_v A: splitting B is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SINGLE = "single_transformer_blocks_"


@dataclass(frozen=True, slots=True)
class Piece:
    """One of the layers that a fused one stands for."""

    name: str
    """Canonical."""
    begin: int
    """First row of B."""
    end: int


def pieces(name: str, rows: int, columns: int) -> Sequence[Piece]:
    """The layers that a module stands for; itself when it is not fused.

    Args:
        name: canonical.
        rows: of dW.
        columns: of dW; in a fused layer, the width of query, key and value.
    """
    if name.endswith("_qkv") and rows % 3 == 0:
        stem = name.removesuffix("qkv")
        if stem.endswith("_add_"):
            stem = stem.removesuffix("add_")
            names = [f"{stem}add_{letter}_proj" for letter in "qkv"]
        else:
            names = [f"{stem}to_{letter}" for letter in "qkv"]
        return _cut(names, [rows // 3] * 3)
    if name.endswith("_linear1") and f".{SINGLE}" in name and rows > 3 * columns:
        stem = name.removesuffix("linear1")
        names = [f"{stem}attn_to_{letter}" for letter in "qkv"] + [f"{stem}proj_mlp"]
        return _cut(names, [columns] * 3 + [rows - 3 * columns])
    return (Piece(name, 0, rows),)


def _cut(names: Sequence[str], sizes: Sequence[int]) -> list[Piece]:
    found, place = [], 0
    for name, size in zip(names, sizes, strict=True):
        found.append(Piece(name, place, place + size))
        place += size
    return found
