"""What a file says without its pictures: size, format, encoder, metadata.

The standing check of labelled data: if these alone separate the classes, a detector may have
learnt nothing else. Their AUC belongs beside every reported figure.

Source: Grommelt et al., "Fake or JPEG? Revealing common biases in generated image detection
datasets", arXiv 2403.17608.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from fakescan.image import FORMATS, Limits, Picture, opened

MODES = ("L", "RGB", "RGBA", "P", "CMYK")
BITS_PER_PIXEL = "bits_per_pixel"
"""The one property that also tells what is on a picture: smooth ones compress better."""
NAMES = (
    "width",
    "height",
    "aspect",
    *(f"is_{name.lower()}" for name in FORMATS),
    *(f"mode_{name}" for name in MODES),
    "jpeg_quality",
    "chroma_subsampling",
    "has_exif",
    "has_icc",
    "has_text",
    BITS_PER_PIXEL,
)
"""What each place of the vector holds."""

IJG_LUMINANCE_SUM = 3688
"""Sum of the luminance table of ITU-T T.81, annex K.1, which quality 50 uses as it is."""
NOT_JPEG = -1.0


def properties(path: Path, limits: Limits | None = None) -> NDArray[np.float64]:
    """The file's properties, (P,), in the order of `NAMES`.

    Raises:
        ImageError: it cannot be read.
    """
    with opened(path, limits) as (image, picture):
        return properties_of(image, picture, path.stat().st_size)


def properties_of(image: Image.Image, picture: Picture, size: int) -> NDArray[np.float64]:
    """As `properties`, of a file that is open.

    Args:
        image: as `fakescan.image.opened` gives it, for what its file says.
        picture: the same, decoded.
        size: of the file, in bytes.
    """
    values = {**_shape(picture), **_storage(image)}
    values[BITS_PER_PIXEL] = 8 * size / (picture.width * picture.height)
    return np.array([values[name] for name in NAMES])


def jpeg_quality(luminance: list[int]) -> float:
    """IJG quality, 1 to 100, that the sum of a luminance quantisation table corresponds to.

    Tables hold at most 255, so that qualities below 25 read a few points high.
    """
    scale = 100 * sum(luminance) / IJG_LUMINANCE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return float(np.clip(quality, 1, 100))


def _shape(picture: Picture) -> dict[str, float]:
    mode = picture.image.mode
    return {
        "width": picture.width,
        "height": picture.height,
        "aspect": picture.width / picture.height,
        **{f"is_{name.lower()}": float(picture.format == name) for name in FORMATS},
        **{f"mode_{name}": float(mode == name) for name in MODES},
    }


def _storage(header: Image.Image) -> dict[str, float]:
    quality, subsampling = NOT_JPEG, NOT_JPEG
    if isinstance(header, JpegImagePlugin.JpegImageFile):
        quality = jpeg_quality(header.quantization[min(header.quantization)])
        subsampling = JpegImagePlugin.get_sampling(header)
    texts = {"comment", "xmp", "XML:com.adobe.xmp", *_text_keys(header)}
    return {
        "jpeg_quality": quality,
        "chroma_subsampling": subsampling,
        "has_exif": float("exif" in header.info),
        "has_icc": float("icc_profile" in header.info),
        "has_text": float(bool(texts & set(header.info))),
    }


def _text_keys(header: Image.Image) -> list[str]:
    """Keys of a PNG's text; those behind its pixels are lost when a later frame is damaged."""
    try:
        return list(getattr(header, "text", {}))
    except (OSError, SyntaxError, ValueError, EOFError):
        return []
