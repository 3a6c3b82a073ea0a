"""Near-duplicates by a perceptual hash: which images show the same picture.

The hash is the difference hash of 8 rows of 9 grey pixels: a bit says whether brightness rises
to the right. Re-encoding and rescaling move a few of its 64 bits, another picture about 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fakescan.errors import ImageError
from fakescan.image import open_picture, to_rgb

MAX_BITS = 6
"""Bits in which two near-duplicates differ at most."""
CHUNK = 256
"""Rows of the distance table held at once."""


def difference_hash(image: Image.Image) -> int:
    """64-bit hash of an image in any mode."""
    small = to_rgb(image).convert("L").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)  # (8, 9)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])  # (8,)
    return int.from_bytes(bits.tobytes(), "big")


def hash_files(paths: Sequence[Path]) -> list[int | None]:
    """Hash of every image; None where it cannot be read."""
    return [_hash_file(path) for path in paths]


def near_duplicates(hashes: Sequence[int], *, max_bits: int = MAX_BITS) -> list[tuple[int, int]]:
    """Every pair of places whose hashes differ in at most `max_bits` bits.

    Compares all with all, a chunk at a time: 20,000 images take seconds.
    """
    table = np.asarray(hashes, dtype=np.uint64)  # (N,)
    found: list[tuple[int, int]] = []
    for start in range(0, len(table), CHUNK):
        rows = table[start : start + CHUNK, None]
        distances = np.bitwise_count(rows ^ table[None, start:])  # (<= CHUNK, N - start)
        first, second = np.nonzero(distances <= max_bits)
        is_once = first < second
        found += zip(
            (first[is_once] + start).tolist(), (second[is_once] + start).tolist(), strict=True
        )
    return found


def _hash_file(path: Path) -> int | None:
    try:
        return difference_hash(open_picture(path).image)
    except ImageError:
        return None
