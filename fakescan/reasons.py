"""What Pillow raises on bad files -> one reason that a person understands."""

from __future__ import annotations

import re
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from fakescan.errors import ImageTooLarge, ImageUnreadable, ImageUnsupported

DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error),
    *(OverflowError, MemoryError, ZeroDivisionError, AttributeError),
    RuntimeError,  # the AVIF decoder's
)
"""What Pillow raises on damaged files."""


class _Pillow:
    """How Pillow behaves while any thread decodes: without warnings, and with our limit as its own.

    `fakescan.image` looks at the header; Pillow's limit is for what comes behind it, such as a
    frame that is larger than its image. It refuses from twice its limit on.
    `warnings.catch_warnings` on its own restores the wrong filters when two threads overlap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        self._max_pixels: int | None = None

    @contextmanager
    def limited(self, max_megapixels: float) -> Iterator[None]:
        """Of several threads' limits, the largest holds."""
        self._enter(int(min(max_megapixels * 1e6, sys.maxsize)))
        try:
            yield
        finally:
            self._leave()

    def _enter(self, max_pixels: int) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                max_pixels = max(max_pixels, Image.MAX_IMAGE_PIXELS or 0)
            else:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._max_pixels = Image.MAX_IMAGE_PIXELS
            Image.MAX_IMAGE_PIXELS = max_pixels

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._max_pixels


pillow = _Pillow()


@contextmanager
def reasons(formats: tuple[str, ...], max_megapixels: float) -> Iterator[None]:
    """Run Pillow on a file; what it raises becomes an `ImageError`.

    Args:
        formats: that can be read, as the reason names them.
        max_megapixels: millions of pixels that are let through.
    """
    try:
        with pillow.limited(max_megapixels):
            yield
    except (ImageUnreadable, ImageUnsupported, ImageTooLarge):
        raise
    except UnidentifiedImageError as e:
        raise ImageUnsupported(f"not an image that fakescan reads ({', '.join(formats)})") from e
    except FileNotFoundError as e:
        raise ImageUnreadable("the file is gone") from e
    except PermissionError as e:
        raise ImageUnreadable("no permission to read it") from e
    except DAMAGED as e:
        raise ImageUnreadable(f"damaged: {_one_line(e)}") from e
    except Image.DecompressionBombError as e:
        raise ImageTooLarge(_too_many_pixels(e, max_megapixels)) from e


def _too_many_pixels(e: Image.DecompressionBombError, max_megapixels: float) -> str:
    counted = re.search(r"\((\d+) pixels\)", str(e))
    many = f"{round(int(counted[1]) / 1e6, 2):.10g}" if counted else "too many"
    return f"{many} megapixels; the limit is {max_megapixels:g} (--max-megapixels)"


def _one_line(e: BaseException) -> str:
    text = " ".join(str(e).split())[:200]
    if text.startswith("decoder error"):  # Pillow's numbers
        return "its pixel data make no sense"
    return text or type(e).__name__
