"""Generators told by their files alone: size, format, quality, metadata, without any pixel.

The check that belongs beside every figure: what this reaches, a classifier may have learnt, too.
The nearest files by rank vote, as in `fakescan.evaluate.audit`; classes count alike. Torch-free.

Shapes: N images, P properties, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.data.properties import properties
from fakescan.evaluate.audit import ranks

NEIGHBOURS = 5


def properties_accuracy(
    paths: Sequence[Path],
    train: NDArray[np.int_],
    tests: Sequence[NDArray[np.int_]],
    labels: NDArray[np.int_],
) -> list[NDArray[np.int_]]:
    """The classes that files are called by their properties, one array for each of `tests`.

    Args:
        paths: of all images, which can be read.
        train: places of those that vote.
        tests: places of those that are called.
        labels: classes, (N,).
    """
    places = np.concatenate([train, *tests])
    values = np.stack([properties(paths[i]) for i in places])
    ranked = np.stack([ranks(column) for column in values.T], axis=1)  # (n, P)
    voters, own = ranked[: len(train)], labels[train]
    counts = np.bincount(own, minlength=int(labels.max()) + 1)
    called = np.array([_vote(row, voters, own, counts) for row in ranked[len(train) :]])
    ends = np.cumsum([len(part) for part in tests])[:-1]
    return list(np.split(called.astype(np.int_), ends))


def _vote(
    row: NDArray[np.float64],
    voters: NDArray[np.float64],
    labels: NDArray[np.int_],
    counts: NDArray[np.int_],
) -> int:
    distance = np.abs(voters - row).sum(axis=1)
    nth = min(NEIGHBOURS, len(voters)) - 1
    near = distance <= np.partition(distance, nth)[nth] + 1e-9
    votes = np.bincount(labels[near], minlength=len(counts)) / np.maximum(counts, 1)
    return int(votes.argmax())
