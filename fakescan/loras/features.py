"""Descriptors from elsewhere, such as embeddings of training images, judged beside the weights."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.errors import ConfigError
from fakescan.loras.labels import MAX_BYTES


def read_similarity(path: Path, files: Sequence[str]) -> NDArray[np.float32]:
    """Cosines of centred features, (N, N), for N files in the order given.

    Args:
        path: CSV with a header: path, then one column per number.
        files: paths below the indexed folder; each must have a row.

    Raises:
        ConfigError: it cannot be read, a file has no row, or a cell is no number.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = {
                row[0]: [float(cell) for cell in row[1:]] for row in list(csv.reader(stream))[1:]
            }
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({e.strerror})") from e
    except (ValueError, IndexError, csv.Error) as e:
        raise ConfigError(f"{path}: not a path and numbers in each row ({e})") from e
    if missing := [name for name in files if name not in rows]:
        raise ConfigError(f"{path}: no row for {missing[0]} (and {len(missing) - 1} more)")
    chosen = [rows[name] for name in files]
    if len({len(row) for row in chosen}) != 1 or not chosen[0]:
        raise ConfigError(f"{path}: rows must have the same number of numbers")
    return cosines(np.array(chosen))


def cosines(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Of rows (N, numbers), each column first brought to mean 0 and deviation 1: (N, N)."""
    points = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1.0)
    out: NDArray[np.float32] = (points @ points.T).astype(np.float32)
    return out
