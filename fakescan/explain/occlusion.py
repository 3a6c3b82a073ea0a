"""What each part of a crop adds to the logit, found by covering it: any detector will do.

    value(cell) = mean over windows over the cell of (logit(crop) - logit(covered)) / cells of it

so that a part which speaks for fake has a positive value. Windows are larger than cells, since
a covered spot of few pixels is an odd thing in itself, and overlap, to tell cells apart.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv
1311.2901, section 4.2. Differs from the paper: the cover is the crop's mean colour instead of
grey, which would be a signal on a dark image.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from fakescan.records import Scorer

CELLS = 14
"""Along a side; as many as CLIP's patches of 16 pixels."""
WINDOW = 4
"""Cells along the side of what is covered."""
STEP = 2
"""Cells from one window to the next: 36 windows in all, and as many scores."""


def occlusion(scorer: Scorer, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S, S, 3) RGB -> (G, G): what each cell adds to the logit.

    Args:
        scorer: asked once, for all windows.
        crop: left as it is.
    """
    cells = min(CELLS, len(crop))
    edges = np.linspace(0, len(crop), cells + 1).round().astype(int)  # (G + 1,)
    windows = list(itertools.product(_starts(cells), repeat=2))
    looks = [crop, *(_covered(crop, edges, *window) for window in windows)]
    whole, *rest = scorer.logits(np.stack(looks)).tolist()
    width = min(WINDOW, cells)
    total, count = np.zeros((cells, cells)), np.zeros((cells, cells))
    for (row, column), logit in zip(windows, rest, strict=True):
        place = np.s_[row : row + width, column : column + width]
        total[place] += (whole - logit) / width**2
        count[place] += 1
    return (total / count).astype(np.float32)


def _starts(cells: int) -> list[int]:
    last = max(0, cells - WINDOW)
    return [*range(0, last, STEP), last]


def _covered(
    crop: NDArray[np.uint8], edges: NDArray[np.int64], row: int, column: int
) -> NDArray[np.uint8]:
    """The crop with one window in its mean colour."""
    end = len(edges) - 1
    top, bottom = edges[row], edges[min(end, row + WINDOW)]
    left, right = edges[column], edges[min(end, column + WINDOW)]
    covered = crop.copy()
    covered[top:bottom, left:right] = crop.mean(axis=(0, 1)).round()
    return covered
