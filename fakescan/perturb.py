"""Deterministic degradations of an image at test time: the same strength, the same pixels.

The counterpart at training, drawn at random, is `fakescan.data.augment`.
Source: strengths and meaning as in Wang et al., "CNN-generated images are surprisingly easy to
spot... for now", arXiv 1912.11035, section 4.3.
Differs from the paper: the blur is Pillow's, three box filters that approximate the Gaussian.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageFilter

from fakescan.errors import ConfigError
from fakescan.image import resize_short, to_rgb

ROBUSTNESS = (
    *(f"blur:{sigma_px}" for sigma_px in (1, 2, 3, 4)),
    *(f"jpeg:{quality}" for quality in (90, 80, 70, 60, 50, 40, 30)),
)
"""Strengths that the literature reports, weakest first."""
PLAIN = ""
"""Among names of perturbations, the image as it is."""
MAX_SIGMA_PX = 100.0
"""Nothing is left of an image long before."""
EQUAL_QUALITY = 96
"""As Grommelt et al., "Fake or JPEG? Revealing common biases in generated image detection
datasets", arXiv 2403.17608, compress both classes."""
MAX_SCALE = 4.0
"""Larger images would only cost time and memory."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One degradation of a fixed strength."""

    name: str
    strength: float

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image, degraded."""
        return FUNCTIONS[self.name](image, self.strength)

    def __str__(self) -> str:
        """The one way to write it, which names its column: jpeg:75, not jpeg:75.0."""
        is_whole = self.strength == int(self.strength)
        return f"{self.name}:{int(self.strength) if is_whole else self.strength}"


@cache
def parse(text: str) -> Perturbation:
    """A perturbation as it is written: its name, in any case, and its strength, such as jpeg:75.

    Raises:
        ConfigError: not so written, or a strength out of range.
    """
    name, _, number = text.partition(":")
    try:
        perturbation = Perturbation(name.strip().lower(), float(number))
    except ValueError:
        perturbation = Perturbation("", math.nan)
    if perturbation.name not in FUNCTIONS or not math.isfinite(perturbation.strength):
        raise ConfigError(
            f"perturbation {text!r}: write a name and a strength, such as jpeg:75; "
            f"known: {', '.join(FUNCTIONS)}"
        )
    perturbation(Image.new("RGB", (8, 8)))  # knows its range
    return perturbation


def canonical(texts: Iterable[str]) -> tuple[str, ...]:
    """Each perturbation once, in order, by the one way to write it.

    Raises:
        ConfigError: as `parse`.
    """
    return tuple(dict.fromkeys(str(parse(text)) for text in texts))


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    """Encode as JPEG and decode again; quality 1 to 100, colour at half resolution (4:2:0)."""
    if not 1 <= quality <= 100 or quality != int(quality):
        raise ConfigError(f"jpeg: quality must be a whole number from 1 to 100, got {quality:g}")
    stream = io.BytesIO()
    to_rgb(image).save(stream, "JPEG", quality=int(quality), subsampling="4:2:0")
    return Image.open(stream, formats=("JPEG",)).convert("RGB")


def blur(image: Image.Image, sigma_px: float) -> Image.Image:
    """Gaussian blur; 0 leaves the image as it is."""
    if not 0 <= sigma_px <= MAX_SIGMA_PX:
        raise ConfigError(f"blur: sigma must lie between 0 and {MAX_SIGMA_PX:g}, got {sigma_px:g}")
    return to_rgb(image).filter(ImageFilter.GaussianBlur(sigma_px))


def resize(image: Image.Image, scale: float) -> Image.Image:
    """Scale both sides, bicubic; a side never shrinks below one pixel."""
    if not 0 < scale <= MAX_SCALE:
        raise ConfigError(f"resize: scale must lie between 0 and {MAX_SCALE:g}, got {scale}")
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return to_rgb(image).resize(size, Image.Resampling.BICUBIC)


def crop(image: Image.Image, fraction: float) -> Image.Image:
    """Keep the centre: this fraction of each side."""
    if not 0 < fraction <= 1:
        raise ConfigError(f"crop: fraction must lie in (0, 1], got {fraction}")
    width, height = (max(1, round(side * fraction)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return to_rgb(image).crop((left, top, left + width, top + height))


def equalise(image: Image.Image, short_px: float) -> Image.Image:
    """Scale a longer shorter side down to this, bicubic, then encode as JPEG of quality 96.

    What was done to both classes alike cannot tell them apart: their formats and sizes.
    """
    if short_px < 1 or short_px != int(short_px):
        raise ConfigError(f"equalise: pixels must be a whole number from 1, got {short_px:g}")
    rgb = to_rgb(image)
    if min(rgb.size) > short_px:
        rgb = resize_short(rgb, int(short_px))
    return jpeg(rgb, EQUAL_QUALITY)


FUNCTIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "jpeg": jpeg,
    "blur": blur,
    "resize": resize,
    "crop": crop,
    "equalise": equalise,
}
"""By the name that `parse` takes."""
