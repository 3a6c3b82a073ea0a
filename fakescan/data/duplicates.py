"""Near-duplicates by a hash of 64 bits: which images show the same picture.

Training groups images by the difference hash of 8 rows of 9 grey pixels: a bit says whether
brightness rises to the right. Checks use the perceptual hash of `imagehash`, of the lowest
frequencies of 32 by 32 grey pixels. Re-encoding and rescaling move a few bits of either, another
picture about 32. Neither recognises a crop or a mirrored copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fakescan.errors import ImageError
from fakescan.image import open_picture, to_rgb

MAX_BITS = 6
"""Bits in which two near-duplicates differ at most."""
PHASH_PX = 32
"""Side at which `imagehash.phash` looks at a picture."""
FLAT = 2.0
"""Standard deviation of grey values, of 255, below which a picture has nothing to compare."""
CHUNK = 256
"""Rows of the distance table held at once."""


def difference_hash(image: Image.Image) -> int:
    """64-bit hash of an image in any mode."""
    small = to_rgb(image).convert("L").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)  # (8, 9)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])  # (8,)
    return int.from_bytes(bits.tobytes(), "big")


def perceptual_hash(image: Image.Image) -> int | None:
    """64-bit hash of an image in any mode; None for one without structure, such as a blank page.

    Source: imagehash, `phash`.
    """
    import imagehash  # an extra's; it loads scipy

    size = (PHASH_PX, PHASH_PX)
    grey = to_rgb(image).convert("L").resize(size, Image.Resampling.LANCZOS)
    if np.asarray(grey).std() < FLAT:
        return None
    return int(str(imagehash.phash(grey)), 16)


def hash_files(files: Iterable[Path | bytes]) -> list[int | None]:
    """Hash of every image, by its path or its bytes; None where it cannot be read."""
    return [_hash_file(file) for file in files]


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


def _hash_file(file: Path | bytes) -> int | None:
    try:
        return difference_hash(open_picture(file).image)
    except ImageError:
        return None
