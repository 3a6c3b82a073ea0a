"""An open image -> what its file says of its origin.

Everything is read from places that the format defines, through the decoder that read the pixels:
a name somewhere in the bytes, or bytes after the image's end, say nothing.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image

from fakescan.provenance.exif import exif_signals, software
from fakescan.provenance.manifest import manifest_signals
from fakescan.provenance.recipe import nodes, parameters, workflow
from fakescan.provenance.signal import Provenance, Signal, combine
from fakescan.provenance.xmp import xmp_signals

Depth = Literal["off", "brief", "full"]
"""How much of the metadata goes into a report; prompts and places only with `full`."""
LOG = logging.getLogger(__name__)
DAMAGE = (
    *(OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError),
    *(ArithmeticError, MemoryError, EOFError, RecursionError, struct.error),
)
"""What Pillow and other readers raise on damaged metadata."""


def read_provenance(
    image: Image.Image, source: Path | bytes, *, is_full: bool = False
) -> Provenance | None:
    """What a file says of its origin; None when it says nothing. Damaged metadata say nothing.

    Args:
        image: loaded from the source, still open; left as it is.
        source: the file or its bytes.
        is_full: prompts and places, too.
    """
    readers: tuple[Callable[[], list[Signal]], ...] = (
        partial(manifest_signals, image, source),
        lambda: xmp_signals(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")),
        partial(exif_signals, image, is_full=is_full),
        partial(_text_signals, image, is_full=is_full),
    )
    signals: list[Signal] = []
    for reader in readers:
        try:
            signals += reader()
        except DAMAGE as e:
            LOG.debug("metadata not read: %r", e)
    return combine(signals)


def _text_signals(image: Image.Image, *, is_full: bool) -> list[Signal]:
    """What the text chunks of a PNG file say."""
    if image.format != "PNG":
        return []
    text = {key: value for key, value in image.info.items() if isinstance(value, str)}
    return [
        *software(text.get("Software"), "png"),
        *parameters(text.get("parameters", ""), "png", is_full=is_full),
        *nodes(text.get("prompt", ""), "png", is_full=is_full),
        *workflow(text.get("workflow", ""), "png"),
    ]
