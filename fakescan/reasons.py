"""What Pillow raises on bad files -> one reason that a person understands."""

from __future__ import annotations

import struct
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


class _Quiet:
    """Ignore Pillow's warnings about odd files while any thread decodes one.

    So is its limit on pixels: `fakescan.image.Limits` decides, from the header, as Pillow would.
    `warnings.catch_warnings` on its own restores the wrong filters when two threads overlap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        self._max_pixels: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._max_pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._max_pixels


quiet = _Quiet()


@contextmanager
def reasons(formats: tuple[str, ...]) -> Iterator[None]:
    """Run Pillow on a file; what it raises becomes an `ImageError`.

    Args:
        formats: that can be read, as the reason names them.
    """
    try:
        with quiet:
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
        raise ImageTooLarge(_one_line(e)) from e


def _one_line(e: BaseException) -> str:
    text = " ".join(str(e).split())[:200]
    if text.startswith("decoder error"):  # Pillow's numbers
        return "its pixel data make no sense"
    return text or type(e).__name__
