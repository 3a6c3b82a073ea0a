"""What people and programs do to pictures without generating anything: the same to both classes.

Sharpening, denoising, toning, grain, resizing to and fro, strong compression. A detector that has
only seen untouched photographs takes the smoothness of a denoised one, or the halo of a sharpened
one, for a generator's. These operations are drawn for reals and fakes alike, and for both members
of a pair, so that none of them tells the classes apart.

Source, why: Grommelt et al., "Fake or JPEG?", arXiv 2403.17608; Guillaro et al., B-Free, arXiv
2412.17671, on augmentation of both members of a pair.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

Operation = Callable[[Image.Image, np.random.Generator], Image.Image]

NLM_MAX_PX = 512
"""Longer side up to which non-local means is used; above, the bilateral filter, which is faster."""


def process(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One operation, drawn at random, on an RGB image; the size stays."""
    return OPERATIONS[int(rng.integers(len(OPERATIONS)))](image, rng)


def sharpen(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Unsharp mask of radius 0.5 to 2.5 px and strength 40 to 200 %."""
    radius, percent = float(rng.uniform(0.5, 2.5)), int(rng.integers(40, 201))
    return image.filter(ImageFilter.UnsharpMask(radius, percent, threshold=0))


def denoise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Non-local means or a bilateral filter."""
    pixels = np.asarray(image)  # (H, W, 3)
    strength = float(rng.uniform(2, 8))
    if rng.random() < 0.5 and max(image.size) <= NLM_MAX_PX:
        return Image.fromarray(
            cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, 5, 11)
        )
    return Image.fromarray(cv2.bilateralFilter(pixels, 5, 6 * strength, float(rng.uniform(1, 4))))


def tone(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gamma, contrast and saturation, as an editor's sliders or a camera's rendering move them."""
    gamma = float(rng.uniform(0.7, 1.4))
    table = [round(255 * (i / 255) ** gamma) for i in range(256)]
    image = image.point(table * 3)
    image = ImageEnhance.Contrast(image).enhance(float(rng.uniform(0.8, 1.3)))
    return ImageEnhance.Color(image).enhance(float(rng.uniform(0.7, 1.4)))


def grain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise of 1.5 to 10 grey levels, of brightness alone or of each colour."""
    pixels = np.asarray(image).astype(np.float32)  # (H, W, 3)
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.standard_normal((*pixels.shape[:2], channels), np.float32)
    noisy = pixels + float(rng.uniform(1.5, 10)) * noise
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def resize_to_and_fro(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale to 50 to 90 % and back, each with a filter of its own."""
    scale = float(rng.uniform(0.5, 0.9))
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    there, back = (FILTERS[int(i)] for i in rng.integers(len(FILTERS), size=2))
    return image.resize(small, there).resize(image.size, back)


def compress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """JPEG of quality 30 to 60."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=int(rng.integers(30, 61)))
    return Image.open(buffer).convert("RGB")


FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)
OPERATIONS: tuple[Operation, ...] = (
    sharpen,
    denoise,
    tone,
    grain,
    resize_to_and_fro,
    compress,
)
