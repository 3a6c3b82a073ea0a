"""What happens to a picture on its way through the web: shrunk, blurred, saved again.

A detector that reads fine traces must have seen what is left of them. Each of the three happens by
its own chance, so that a part of the pictures stays as it is and another goes through all of them;
both members of an aligned pair go through the same.

Source, why: the MoLE paper, section 4.1, blurs and compresses one training image in ten, after
CNNDetection (Wang et al., arXiv 1912.11035), and figure 4 measures the same two.
Differs: more of it, shrinking too, and the square is the one that a scan would cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from fakescan.data.augment import FILTERS, through
from fakescan.errors import ConfigError
from fakescan.image import resize_short


@dataclass(frozen=True, kw_only=True, slots=True)
class Degradation:
    """Chances and ranges of what happens to a picture, in this order."""

    shrink: float = 0.35
    """How often the shorter side is scaled down to one of `short_px`, where it is longer."""
    short_px: tuple[int, int] = (224, 512)
    """Range of the shorter side."""
    blur: float = 0.3
    """How often the picture is blurred."""
    sigma_px: tuple[float, float] = (0.3, 3.0)
    """Range of the Gaussian's sigma."""
    encode: float = 0.6
    """How often the picture is saved again."""
    quality: tuple[int, int] = (30, 96)
    """Range of the encoder's quality."""
    webp_share: float = 0.15
    """Share of WebP among the encodings; the rest is JPEG."""

    def __post_init__(self) -> None:
        if any(not 0 <= p <= 1 for p in (self.shrink, self.blur, self.encode, self.webp_share)):
            raise ConfigError("degradation: chances and shares lie in [0, 1]")
        for name, smallest, largest in (
            ("short_px", 1, 100_000),
            ("sigma_px", 0, 100),
            ("quality", 1, 100),
        ):
            low, high = getattr(self, name)
            if not smallest <= low <= high <= largest:
                raise ConfigError(
                    f"degradation: {name} must rise within {smallest} to {largest}, "
                    f"got {(low, high)}"
                )


def degrade(image: Image.Image, rng: np.random.Generator, config: Degradation) -> Image.Image:
    """An RGB image after what happens to it; as many random numbers are drawn whatever happens."""
    shrinks, blurs, encodes, is_webp = rng.random(4) < (
        config.shrink,
        config.blur,
        config.encode,
        config.webp_share,
    )
    short_px = int(rng.integers(config.short_px[0], config.short_px[1] + 1))
    resample = FILTERS[int(rng.integers(len(FILTERS)))]
    sigma_px = float(rng.uniform(*config.sigma_px))
    quality = int(rng.integers(config.quality[0], config.quality[1] + 1))
    if shrinks and min(image.size) > short_px:
        image = resize_short(image, short_px, resample)
    if blurs:
        image = image.filter(ImageFilter.GaussianBlur(sigma_px))
    if encodes:
        image = through(image, "WEBP" if is_webp else "JPEG", quality)
    return image
