"""Files to measure with: the user's, or made ones that are as much work as photographs.

A made one is noise whose amplitude falls with the frequency as it does in photographs, 1 / f, with
colours that vary less than brightness; so its JPEG file is about as large, and takes about as long
to decode.

Source: Field, "Relations between the statistics of natural images and the response properties of
cortical cells" (1987).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from fakescan.scan.walk import walk

WIDTH, HEIGHT = 500, 375
"""Of made photographs: the usual size of ImageNet."""
QUALITY = 85
"""Gives files of 99 kB; photographs of that size on the web have 95 kB (median of 207)."""
BRIGHTNESS_STD, COLOUR_STD = 50.0, 12.0
"""Spread of the channels Y, Cb and Cr, of 255."""


def make_photos(folder: Path, count: int) -> list[str]:
    """Write so many JPEG files, all different, the same ones every time; gives their paths."""
    chance = np.random.default_rng(0)
    paths = []
    for i in range(count):
        path = folder / f"{i:05}.jpg"
        planes = [_plane(chance, std) for std in (BRIGHTNESS_STD, COLOUR_STD, COLOUR_STD)]
        Image.merge("YCbCr", planes).save(path, quality=QUALITY)
        paths.append(str(path))
    return paths


def choose_photos(targets: Sequence[str], count: int) -> list[str]:
    """The first so many images among files and folders, as a scan meets them."""
    return list(islice(walk(targets, Counter()), count))


def _plane(chance: np.random.Generator, std: float) -> Image.Image:
    """One channel of noise, 8 bits deep."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :])
    frequency[0, 0] = np.inf  # no share in the mean
    phases = np.exp(2j * np.pi * chance.random(frequency.shape))
    noise = np.fft.irfft2(phases / frequency, s=(HEIGHT, WIDTH))
    return Image.fromarray(np.clip(128 + noise * (std / noise.std()), 0, 255).astype(np.uint8))
