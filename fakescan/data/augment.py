"""Random views for training: what may happen to a picture on its way to a folder.

Three recipes. `varied`: a region is re-encoded, processed, rescaled, cut at native pixels, flipped
and re-encoded again, real and fake alike, so that size, format and compression carry no label.
`paper`: shorter side to 256, Gaussian blur and JPEG with probability 0.1 each, random crop, flip.
`crop`: native pixels at a random place, no more; small pictures are enlarged until they fit.

Source: `paper`, the MoLE paper, section 4.1, with ranges and order of CNNDetection (Wang et al.,
arXiv 1912.11035); `crop`, LoRAX, arXiv 2504.08149; `varied`, why: Grommelt et al., "Fake or
JPEG?", arXiv 2403.17608.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fakescan.errors import ConfigError
from fakescan.image import MAX_ASPECT, resize_short

FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)
PAPER_SHORT_PX = 256
PAPER_BLUR_SIGMA_PX = 3.0
PAPER_QUALITY = (30, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Ranges of the random views."""

    recipe: Literal["varied", "paper", "crop"] = "varied"
    """What happens to a picture: see above; ranges below say to which recipe they belong."""
    scale_probability: float = 0.7
    """`varied`: how often the picture is rescaled; else its native pixels are cut."""
    scale: tuple[float, float] = (0.4, 1.2)
    """`varied`: range of the rescaling."""
    encode_before: float = 0.4
    """`varied`: how often it is re-encoded before rescaling."""
    encode_after: float = 0.7
    """`varied`: how often the crop is re-encoded."""
    webp_share: float = 0.2
    """`varied`: share of WebP among the encodings; the rest is JPEG."""
    quality: tuple[int, int] = (50, 97)
    """`varied`: range of the encoder's quality."""
    processing: float = 0.0
    """`varied`: how often the picture is sharpened, denoised, toned, grained, resized to and fro or
    strongly compressed (`fakescan.data.processing`), one of these, before it is rescaled."""
    blur_probability: float = 0.1
    """Gaussian blur of sigma 0 to 3 px (`paper`) or 0 to 1.5 px (`varied`)."""
    jpeg_probability: float = 0.1
    """`paper`: JPEG of quality 30 to 100."""

    def __post_init__(self) -> None:
        chances = (
            self.scale_probability,
            self.encode_before,
            self.encode_after,
            self.webp_share,
            self.processing,
            self.blur_probability,
            self.jpeg_probability,
        )
        if any(not 0 <= p <= 1 for p in chances):
            raise ConfigError("augmentation: probabilities and shares lie in [0, 1]")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"augmentation: scale must rise from above 0, got {self.scale}")
        if not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise ConfigError(
                f"augmentation: quality must rise within 1 to 100, got {self.quality}"
            )


def generator(seed: int, name: str, number: int) -> np.random.Generator:
    """The random numbers of one draw; `name` is the sample's key, or its pair's name.

    Both members of an aligned pair get the same name, so the same view.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, number, int.from_bytes(digest[:8], "big")])


def draw(
    image: Image.Image, rng: np.random.Generator, config: Augmentation, image_px: int
) -> NDArray[np.uint8]:
    """One random view of an RGB image, (S, S, 3)."""
    if config.recipe == "paper":
        return _draw_paper(image, rng, config, image_px)
    if config.recipe == "crop":
        return _draw_crop(image, rng, image_px)
    scale = float(rng.uniform(*config.scale)) if rng.random() < config.scale_probability else 1.0
    resample = FILTERS[int(rng.integers(len(FILTERS)))]
    image = _random_region(image, rng, round(image_px / scale))
    image = _process(image, rng, config)
    if scale != 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, resample)
    if min(image.size) < image_px:
        image = resize_short(image, image_px)
    if rng.random() < config.blur_probability:
        image = image.filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0, PAPER_BLUR_SIGMA_PX / 2)))
        )
    image = _flip(_random_region(image, rng, image_px), rng)
    if rng.random() < config.encode_after:
        image = _encode(image, rng, config)
    return np.asarray(image, dtype=np.uint8)


def _draw_paper(
    image: Image.Image, rng: np.random.Generator, config: Augmentation, image_px: int
) -> NDArray[np.uint8]:
    short = max(PAPER_SHORT_PX, image_px)
    if max(image.size) > MAX_ASPECT * min(image.size):  # enlarged whole it might fill the memory
        image = _random_region(image, rng, MAX_ASPECT * min(image.size))
    image = resize_short(image, short, Image.Resampling.BILINEAR)
    if rng.random() < config.blur_probability:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, PAPER_BLUR_SIGMA_PX))))
    if rng.random() < config.jpeg_probability:
        image = through(image, "JPEG", int(rng.integers(PAPER_QUALITY[0], PAPER_QUALITY[1] + 1)))
    return np.asarray(_flip(_random_region(image, rng, image_px), rng), dtype=np.uint8)


def _draw_crop(image: Image.Image, rng: np.random.Generator, image_px: int) -> NDArray[np.uint8]:
    if max(image.size) > MAX_ASPECT * min(image.size):
        image = _random_region(image, rng, MAX_ASPECT * min(image.size))
    if min(image.size) < image_px:
        image = resize_short(image, image_px)
    return np.asarray(_random_region(image, rng, image_px), dtype=np.uint8)


def _random_region(image: Image.Image, rng: np.random.Generator, side: int) -> Image.Image:
    """A square of that side, or as much of it as the image has."""
    width, height = min(side, image.width), min(side, image.height)
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _process(image: Image.Image, rng: np.random.Generator, config: Augmentation) -> Image.Image:
    """What happens to a picture before it is rescaled."""
    if rng.random() < config.encode_before:
        image = _encode(image, rng, config)
    if config.processing and rng.random() < config.processing:
        from fakescan.data.processing import process  # OpenCV, which nothing else needs

        image = process(image, rng)
    return image


def _flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _encode(image: Image.Image, rng: np.random.Generator, config: Augmentation) -> Image.Image:
    kind = "WEBP" if rng.random() < config.webp_share else "JPEG"
    return through(image, kind, int(rng.integers(config.quality[0], config.quality[1] + 1)))


def through(image: Image.Image, kind: str, quality: int) -> Image.Image:
    """Save as JPEG or WEBP of that quality, and read it again."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=quality)
    return Image.open(buffer).convert("RGB")
