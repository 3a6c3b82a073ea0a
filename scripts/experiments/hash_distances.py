"""How far perceptual hashes of copies lie from their originals, and those of other images apart.

`MAX_BITS` of near-duplicates was chosen by this. For each number of bits it prints how many copies
(of every seventh image: half the size and JPEG 75, JPEG 30, a quarter of the size and JPEG 60) and
how many pairs of files differ in it.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from fakescan.data.duplicates import perceptual_hash
from fakescan.data.samples import read_samples
from fakescan.errors import ImageError
from fakescan.image import open_picture, to_rgb

COPIES = ((0.5, 75), (1.0, 30), (0.25, 60))
"""Scale and JPEG quality."""
EVERY = 7


def copy(image: Image.Image, scale: float, quality: int) -> Image.Image:
    """The image, scaled and compressed."""
    size = tuple(max(1, int(side * scale)) for side in image.size)
    stream = io.BytesIO()
    image.resize((size[0], size[1])).save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def main() -> None:
    """Print the two counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    samples = read_samples(parser.parse_args().data)
    looks: list[int] = []
    copies: Counter[int] = Counter()
    for i, sample in enumerate(samples):
        try:
            image = to_rgb(open_picture(sample.path).image)
        except ImageError:
            continue
        if (look := perceptual_hash(image)) is None:
            continue
        looks.append(look)
        for scale, quality in COPIES if i % EVERY == 0 else ():
            other = perceptual_hash(copy(image, scale, quality))
            copies[(look ^ other).bit_count() if other is not None else 64] += 1
    table = np.array(looks, dtype=np.uint64)
    pairs = sum(
        (Counter(np.bitwise_count(table[i + 1 :] ^ look).tolist()) for i, look in enumerate(table)),
        Counter[int](),
    )
    print(f"{len(looks)} images, {copies.total()} copies\nbits  copies   pairs")
    for bits in sorted(set(copies) | {b for b in pairs if b <= 16}):
        print(f"{bits:>4}{copies[bits]:>8}{pairs[bits]:>8}")


if __name__ == "__main__":
    main()
