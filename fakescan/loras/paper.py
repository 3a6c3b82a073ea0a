"""The descriptor as published: A and B of all modules, flattened, one after the other, then PCA.

It compares what two files can hold differently for the same update. It means something only for
adapters that were trained from the same initial A, at one rank, on the same modules.

Source: arXiv 2412.12048 as far as it is known; z-scores after weights2weights, arXiv 2406.09413.
Differs from the paper: its number of components and its calibration are not known; here at most 64
components, and none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fakescan.errors import ConfigError
from fakescan.loras.adapter import Adapter, Module
from fakescan.loras.describe import read_file
from fakescan.loras.matrix import Floats, Similarities
from fakescan.loras.suffixes import Kind

COMPONENTS = 64
CONDITION = (
    "the published descriptor compares A and B themselves: it means something only for adapters "
    "that were trained from the same initial A"
)


def compare_all_as_published(paths: Sequence[Path], *, is_z_scored: bool = False) -> Similarities:
    """Compare N files by concatenation and PCA.

    Args:
        paths: of the files.
        is_z_scored: divide each coordinate by its standard deviation first.

    Raises:
        ConfigError: files differ in modules, ranks or shapes, or are no plain LoRA.
        LoraError: a file cannot be used.
    """
    names = _shared_tensors(paths)
    gram = np.zeros((len(paths), len(paths)))
    for role, module in names:
        rows = []
        for path in paths:
            with read_file(path) as (file, adapter):
                tensor = _modules(adapter)[module].tensors[role]
                rows.append(file.read(tensor).ravel())
        stacked = np.stack(rows).astype(np.float64)  # (N, numbers)
        stacked -= stacked.mean(axis=0)
        if is_z_scored:
            stacked /= np.maximum(stacked.std(axis=0), 1e-12)
        gram += stacked @ stacked.T
    return _cosines(gram)


def _cosines(gram: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Similarities:
    """Centred inner products (N, N) -> cosines on the first components."""
    values, vectors = np.linalg.eigh(gram)
    kept = min(COMPONENTS, len(gram) - 1)
    places = np.argsort(-values)[:kept]
    points = vectors[:, places] * np.sqrt(np.maximum(values[places], 0.0))  # (N, kept)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1.0)
    cosines: Floats = (points @ points.T).astype(np.float32)
    return Similarities(cosines, cosines, np.ones_like(cosines), is_exact=True)


def _shared_tensors(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Role and canonical name of every factor; the same in all files."""
    wanted: dict[tuple[str, str], tuple[int, ...]] | None = None
    for path in paths:
        with read_file(path) as (file, adapter):
            found = {
                (role, module.name): file.header.tensors[module.tensors[role]].shape
                for module in adapter.modules
                if module.kind is Kind.LORA
                for role in ("down", "up")
            }
        if wanted is None:
            wanted = found
        elif found != wanted:
            raise ConfigError(
                f"--descriptor paper: {path} differs from {paths[0]} in modules, rank or shapes; "
                "it needs files that agree in all three"
            )
    return sorted(wanted or {})


def _modules(adapter: Adapter) -> dict[str, Module]:
    return {module.name: module for module in adapter.modules}
