"""Handwritten digits (scikit-learn's), and 12 visual styles to draw them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.datasets import load_digits

SIDE = 16

Images = NDArray[np.float64]


def digits() -> tuple[Images, NDArray[np.int_]]:
    """Digits in [0, 1], (N, 16, 16), and which they are, (N,)."""
    data = load_digits()
    small = data.images / 16.0
    return ndimage.zoom(small, (1, 2, 2), order=1).clip(0, 1), data.target


def _edges(x: Images) -> Images:
    size: Images = np.hypot(ndimage.sobel(x, axis=1), ndimage.sobel(x, axis=2))
    return size.clip(0, 4) / 4


def _coarse(x: Images) -> Images:
    blocks: Images = x.reshape(-1, 4, 4, 4, 4).mean((2, 4))
    return blocks.repeat(4, 1).repeat(4, 2)


def _pattern(period: int, axis: int) -> Images:
    place = np.arange(SIDE)
    line = 0.5 + 0.5 * np.cos(2 * np.pi * place / period)
    return line[:, None] * np.ones(SIDE) if axis == 0 else np.ones(SIDE)[:, None] * line


RAMP = np.linspace(0, 1, SIDE)
GRAIN = np.random.default_rng(7).random((SIDE, SIDE))
BOARD = ((np.arange(SIDE)[:, None] // 2 + np.arange(SIDE) // 2) % 2).astype(float)
STYLES: Mapping[str, Callable[[Images], Images]] = {
    "inverted": lambda x: 1 - x,
    "blurred": lambda x: ndimage.gaussian_filter(x, (0, 1.6, 1.6)),
    "outlined": _edges,
    "rows": lambda x: x * _pattern(4, 0),
    "columns": lambda x: x * _pattern(4, 1),
    "board": lambda x: 0.7 * x + 0.3 * BOARD,
    "dusk": lambda x: np.maximum(x, 0.8 * RAMP[:, None]),
    "bold": lambda x: ndimage.grey_dilation(x, (1, 3, 3)),
    "embossed": lambda x: (0.5 + x - np.roll(x, (1, 1), (1, 2))).clip(0, 1),
    "grained": lambda x: (x + 0.5 * GRAIN).clip(0, 1),
    "coarse": _coarse,
    "pale": lambda x: 0.35 + 0.3 * x,
}
