"""Where in an image the square lies that the detector sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.image import MAX_ASPECT, Preprocess

WHOLE_PX = 336
"""Longer side of the whole image as it is kept, at most."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The whole image, and the square's place in it."""

    whole: NDArray[np.uint8]
    """(h, w, 3) RGB: the whole image, upright and small."""
    box: Box
    """Of the square, as fractions of width and height; beyond [0, 1] where it was padded."""


def square_box(size: tuple[int, int], preprocess: Preprocess) -> Box:
    """Where `fakescan.image.view` cuts an image, as fractions of its width and height.

    Args:
        size: width and height of the image, upright.
        preprocess: as given to `view`.
    """
    px, short = preprocess.image_px, min(size)
    is_scaled = preprocess.geometry == "resize" or (preprocess.geometry == "crop" and short < px)
    sides = [_ends(side, short, px, is_scaled=is_scaled) for side in size]
    (left, right), (top, bottom) = sides
    return left, top, right, bottom


def _ends(side: int, short: int, px: int, *, is_scaled: bool) -> tuple[float, float]:
    """Where the square begins and ends along one side of the image."""
    kept = min(side, MAX_ASPECT * short) if is_scaled else side
    scaled = max(px, round(kept * px / short)) if is_scaled else side
    start, step = (scaled - px) // 2, kept / scaled
    before = (side - kept) // 2
    return (before + start * step) / side, (before + (start + px) * step) / side
