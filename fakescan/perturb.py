"""Deterministic degradations of an image at test time: the same strength, the same pixels.

The counterpart at training, drawn at random, is `fakescan.data.augment`.
Source: strengths and meaning as in Wang et al., "CNN-generated images are surprisingly easy to
spot... for now", arXiv 1912.11035, section 4.3.
Differs from the paper: the blur is Pillow's, three box filters that approximate the Gaussian.
"""

from __future__ import annotations

import io

from PIL import Image, ImageFilter

from fakescan.errors import ConfigError
from fakescan.image import to_rgb


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG and decode again; quality 1 to 100, colour at half resolution (4:2:0)."""
    if not 1 <= quality <= 100:
        raise ConfigError(f"jpeg: quality must lie between 1 and 100, got {quality}")
    stream = io.BytesIO()
    to_rgb(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(stream, formats=("JPEG",)).convert("RGB")


def blur(image: Image.Image, sigma_px: float) -> Image.Image:
    """Gaussian blur; 0 leaves the image as it is."""
    if sigma_px < 0:
        raise ConfigError(f"blur: sigma must not be negative, got {sigma_px}")
    return to_rgb(image).filter(ImageFilter.GaussianBlur(sigma_px))


def resize(image: Image.Image, scale: float) -> Image.Image:
    """Scale both sides, bicubic; a side never shrinks below one pixel."""
    if scale <= 0:
        raise ConfigError(f"resize: scale must be positive, got {scale}")
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return to_rgb(image).resize(size, Image.Resampling.BICUBIC)


def crop(image: Image.Image, fraction: float) -> Image.Image:
    """Keep the centre: this fraction of each side."""
    if not 0 < fraction <= 1:
        raise ConfigError(f"crop: fraction must lie in (0, 1], got {fraction}")
    width, height = (max(1, round(side * fraction)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return to_rgb(image).crop((left, top, left + width, top + height))
