"""The mean sketch of each base-model family: what all its adapters have in common.

It is taken away before adapters are compared, or average linkage finds one big cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import LoraIndexError
from fakescan.loras.store import Sketch, read_sketch, read_tensor, write_tensor

FOLDER = "means"

Rows = Mapping[str, NDArray[Any]]
"""A mean sketch, (numbers,), by module key."""


@dataclass(slots=True)
class _Sum:
    totals: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    whole: dict[tuple[str, ...], NDArray[np.float64]] = field(default_factory=dict)
    """Sums over files with the very same modules, which most have: (modules, numbers)."""
    files: dict[tuple[str, ...], int] = field(default_factory=dict)

    def add(self, sketch: Sketch) -> None:
        values = sketch.values.astype(np.float32)
        if sketch.keys in self.whole:
            self.whole[sketch.keys] += values
            self.files[sketch.keys] += 1
        else:
            self.whole[sketch.keys] = values.astype(np.float64)
            self.files[sketch.keys] = 1

    def means(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        for keys, rows in self.whole.items():
            for key, row in zip(keys, rows, strict=True):
                self.totals[key] = self.totals.get(key, 0) + row
                self.counts[key] = self.counts.get(key, 0) + self.files[keys]
        names = tuple(sorted(self.totals))
        stacked = [self.totals[name] / self.counts[name] for name in names]
        return names, np.stack(stacked).astype("<f4")


def write_means(index: Path, sketches: Sequence[Path]) -> None:
    """Write the mean sketch of every family; those of families that are gone disappear.

    Args:
        index: its folder.
        sketches: files of all contents.

    Raises:
        LoraIndexError: a sketch cannot be read, or a mean cannot be written.
    """
    sums: dict[str, _Sum] = {}
    for path in sketches:
        sketch = read_sketch(path)
        sums.setdefault(sketch.summary.family, _Sum()).add(sketch)
    folder = index / FOLDER
    folder.mkdir(exist_ok=True)
    for family, sum_ in sums.items():
        names, values = sum_.means()
        metadata = {"modules": json.dumps(names), "files": str(sum(sum_.files.values()))}
        write_tensor(_path(index, family), values, metadata)
    for path in folder.glob("*.safetensors"):
        if path.stem not in sums:
            path.unlink(missing_ok=True)


def read_means(index: Path, family: str) -> tuple[Rows, int]:
    """The mean sketch of a family, by module key, and of how many contents it is the mean.

    Raises:
        LoraIndexError: it is damaged.
    """
    path = _path(index, family)
    if not path.exists():
        return {}, 0
    values, metadata = read_tensor(path)
    try:
        names = json.loads(metadata["modules"])
        return dict(zip(names, values, strict=True)), int(metadata["files"])
    except (KeyError, TypeError, ValueError) as e:
        raise LoraIndexError(f"{path}: damaged ({e}); index again") from e


def _path(index: Path, family: str) -> Path:
    return index / FOLDER / f"{family}.safetensors"
