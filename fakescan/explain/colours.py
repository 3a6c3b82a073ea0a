"""Colours of an explanation: what they mean is the same in every figure.

Red speaks for fake and blue for real. They are laid over a grey picture, the stronger the value the
denser, so that the picture shows where nothing speaks.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)
Colour = tuple[int, int, int]

FAKE: Colour = (200, 30, 30)
REAL: Colour = (25, 90, 200)
EXPERTS: tuple[Colour, ...] = ((230, 159, 0), (0, 158, 115), (150, 90, 180), (86, 180, 233))
"""Source: after Okabe and Ito, "Color Universal Design"; none of them is the red or the blue."""
NO_EXPERT: Colour = (150, 150, 150)
DENSEST = 0.8
"""Share of colour at full strength; the rest is the picture."""
EXPERT_DENSITY = 0.6
PALE = 110
"""What black becomes where no colour lies."""


def heat(picture: NDArray[np.uint8], strength: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Red where strength is positive, blue where it is negative, over a grey picture.

    Args:
        picture: (H, W, 3) RGB; left as it is.
        strength: (H, W); from 1 and -1 on, colours are at their densest.
    """
    colour = np.where(strength[..., np.newaxis] > 0, FAKE, REAL)  # (H, W, 3)
    density = DENSEST * np.minimum(1, np.abs(strength))[..., np.newaxis]  # (H, W, 1)
    return _mixed(_grey(picture), colour, density)


def tinted(picture: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey picture, (H, W, 3), in these colours, (H, W, 3)."""
    return _mixed(_grey(picture), colours, EXPERT_DENSITY)


def expert_colours(names: tuple[str, ...], no_expert: str) -> NDArray[np.uint8]:
    """(W, 3): a colour for every router column."""
    colours = [
        NO_EXPERT if name == no_expert else EXPERTS[i % len(EXPERTS)]
        for i, name in enumerate(names)
    ]
    return np.array(colours, np.uint8)


def cells(values: NDArray[Value], side_px: int) -> NDArray[Value]:
    """(G, G, ...) -> (side_px, side_px, ...), every cell a square of its own value."""
    index = np.arange(side_px) * len(values) // side_px
    return values[index][:, index]


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) -> (H, W, 1) luminance, pale, so that colours can be told apart on it."""
    luminance: NDArray[np.float64] = picture @ np.array([0.299, 0.587, 0.114])
    return (PALE + (1 - PALE / 255) * luminance)[..., np.newaxis]


def _mixed(
    below: NDArray[np.float64],
    above: NDArray[np.integer[Any]],
    density: NDArray[np.float64] | float,
) -> NDArray[np.uint8]:
    mixed: NDArray[np.float64] = below * (1 - density) + above * density
    return mixed.round().astype(np.uint8)
