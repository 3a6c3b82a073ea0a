"""A sheet of paper that words and pictures are put on."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fakescan.explain.colours import Colour

PAPER: Colour = (255, 255, 255)
INK: Colour = (27, 29, 33)
QUIET: Colour = (102, 107, 116)
LINE: Colour = (214, 214, 210)


class Sheet:
    """A growing picture; places are pixels from the left and the top."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def picture(self, place: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
        """Put (H, W, 3) RGB pixels down, with a fine line around them."""
        height, width = pixels.shape[:2]
        self._image.paste(Image.fromarray(pixels), place)
        self.outline((*place, place[0] + width, place[1] + height), LINE)

    def outline(self, box: tuple[int, int, int, int], colour: Colour, width: int = 1) -> None:
        """Draw a rectangle around what lies inside the box."""
        left, top, right, bottom = box
        outer = (left - width, top - width, right + width - 1, bottom + width - 1)
        self._draw.rectangle(outer, outline=colour, width=width)

    def fill(self, box: tuple[int, int, int, int], colour: Colour) -> None:
        """Draw a rectangle in one colour."""
        left, top, right, bottom = box
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        size_px: int = 13,
        colour: Colour = INK,
        anchor: str = "la",
    ) -> None:
        """Write one line; the anchor is Pillow's, `la` for left and top."""
        self._draw.text(place, text, colour, _font(size_px), anchor=anchor)

    def png(self) -> bytes:
        """The sheet as a file."""
        stream = io.BytesIO()
        self._image.save(stream, "PNG")
        return stream.getvalue()


def text_width(text: str, size_px: int) -> float:
    """Pixels that a line takes."""
    return _font(size_px).getlength(text)


def printable(text: str) -> str:
    """Text in the letters that the font is sure to have; others as escapes."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def shortened(text: str, size_px: int, width: int) -> str:
    """The end of a text, as much of it as there is room for."""
    if text_width(text, size_px) <= width:
        return text
    start = next(
        (i for i in range(len(text)) if text_width("..." + text[i:], size_px) <= width), len(text)
    )
    return "..." + text[start:]


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)  # comes with Pillow, so that every machine has it
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType")
    return font
