"""Open an image safely and cut what the detector sees. Pillow and NumPy only.

Training and scanning both come through here, so that what is scored is what was trained on.
How pixels of every kind become 8-bit RGB:

    EXIF orientation   applied
    animation          first frame
    alpha              composed on white (palette transparency too)
    16-bit             the high byte
    CMYK, YCbCr, LAB   Pillow's conversion; embedded colour profiles are ignored
    32-bit float       refused: such files have no agreed range
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import (  # the plugins register themselves; Pillow's own search would load all
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from fakescan.errors import ConfigError, ImageTooLarge, ImageUnsupported
from fakescan.reasons import pillow, reasons

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
"""Pillow plugins that may open a file (JPEG covers MPO); all others (EPS, PSD, FITS, ...)
never run."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel statistics of CLIP's training images: Radford et al., arXiv 2103.00020, code."""

FAST_MARGIN = 2
"""Times what is needed that `fast` decoding leaves, so that the last step of scaling is smooth."""
FAST_LEAST_PX = 256
"""Of the shorter side, whatever is needed: reports show a small picture."""
MAX_ASPECT = 16
"""Longer images lose their ends before they are enlarged; the centre crop is far inside."""

MAX_CROPS, MAX_SHARED = 5, 0.5
"""The middle and four corners; from which share of the middle on a corner is left out. On the
development images that gives what all corners give, at two thirds of the cost."""

Geometry = Literal["crop", "resize", "pad"]
Decoding = Literal["fast", "exact"]
"""`fast`: large JPEGs are scaled down while they are decoded, where the geometry is `resize`; the
others look at native pixels. `exact`: never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is refused before pixels are decoded."""

    max_megapixels: float = 250.0
    """Millions of pixels, from the header."""
    max_megabytes: float | None = None
    """Of a file, in 10^6 bytes; checked where files are opened, before any byte is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """How an image becomes the detector's input; part of every checkpoint and exported file."""

    image_px: int = 224
    """Side of the square input."""
    geometry: Geometry = "crop"
    """`crop`: centre crop of native pixels, shorter sides enlarged to fit; `resize`: shorter
    side to `image_px`, then centre crop; `pad`: centre crop, short sides padded with black
    (the UnivFD protocol, which the MoLE paper follows)."""
    crops: int = 1
    """Squares of one image at most, whose logits are averaged: the middle, then the corners (upper
    left, lower right, upper right, lower left), unless those share half of the middle or more."""
    mean: tuple[float, float, float] = CLIP_MEAN
    """Subtracted per channel, on [0, 1]."""
    std: tuple[float, float, float] = CLIP_STD
    """Divided by, per channel."""

    def __post_init__(self) -> None:
        if self.image_px < 1 or self.geometry not in ("crop", "resize", "pad"):
            raise ConfigError(
                f"preprocess: need image_px >= 1 and geometry crop, resize or pad, "
                f"got {self.image_px} and {self.geometry!r}"
            )
        if not 1 <= self.crops <= MAX_CROPS:
            raise ConfigError(f"preprocess: crops lies in 1 to {MAX_CROPS}, got {self.crops}")


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image, upright, in its own mode."""

    image: Image.Image
    width: int
    height: int
    format: str


def open_picture(source: Path | bytes | IO[bytes], limits: Limits | None = None) -> Picture:
    """Decode one image, upright.

    Args:
        source: a file, its bytes, or a seekable binary stream.
        limits: checked against the header before any pixel is decoded.

    Raises:
        ImageUnreadable: damaged, truncated, empty, gone, or no permission.
        ImageUnsupported: not one of `FORMATS`, or pixels without an agreed range.
        ImageTooLarge: more pixels than allowed.
    """
    with opened(source, limits) as (_, picture):
        return picture


@contextmanager
def opened(
    source: Path | bytes | IO[bytes], limits: Limits | None = None, short_px: int | None = None
) -> Iterator[tuple[Image.Image, Picture]]:
    """One image, decoded and with its file still open, for its metadata; and the picture in it.

    Args:
        source: as `open_picture`.
        limits: as `open_picture`.
        short_px: a JPEG may be scaled down while it is decoded, until its shorter side is about
            to be less; None: never.

    Raises:
        ImageError: as `open_picture`.
    """
    limits = limits or Limits()
    with pillow.limited(limits.max_megapixels), ExitStack() as stack:
        with reasons(FORMATS, limits.max_megapixels):
            stream = io.BytesIO(source) if isinstance(source, bytes) else source
            image = stack.enter_context(Image.open(stream, formats=_formats()))
            picture = _decoded(image, limits, short_px)
        yield image, picture


def needed_px(preprocess: Preprocess, decoding: Decoding) -> int | None:
    """The `short_px` with which to open what is then cut; None where native pixels are seen."""
    is_scaled = decoding == "fast" and preprocess.geometry == "resize"
    return max(FAST_LEAST_PX, FAST_MARGIN * preprocess.image_px) if is_scaled else None


def picture_of(image: Image.Image, limits: Limits | None = None) -> Picture:
    """A PIL image that the caller holds (left as it is), upright, as if read from a file.

    Raises:
        ImageError: as `open_picture`.
    """
    limits = limits or Limits()
    with reasons(FORMATS, limits.max_megapixels):
        return _decoded(image, limits)


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image in any mode that `open_picture` lets through."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16-bit grey, or 32-bit that carries 16
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8  # (H, W)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def view(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The square in the middle, which is all that most detectors see, (S, S, 3) RGB."""
    middle: NDArray[np.uint8] = views(image, replace(preprocess, crops=1))[0]
    return middle


def views(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """All squares that the detector sees, the middle one first, (K, S, S, 3) RGB.

    K is `preprocess.crops`, or 1 where corners would show little new.
    """
    px = preprocess.image_px
    image = _fitted(image, preprocess)
    (x, left, right), (y, top, bottom) = (_starts(side - px) for side in image.size)
    shared = max(0.0, 1 - (right - x) / px) * max(0.0, 1 - (bottom - y) / px)
    places = [(x, y), (left, top), (right, bottom), (right, top), (left, bottom)]
    count = preprocess.crops if shared < MAX_SHARED else 1
    boxes = [(x, y, x + px, y + px) for x, y in places[:count]]
    return np.stack([np.asarray(to_rgb(image.crop(box))) for box in boxes])  # black outside


def _starts(space: int) -> tuple[int, int, int]:
    """Where the middle, the first and the last square begin along a side with that much room."""
    return (space // 2, 0, space) if space > 0 else (space // 2,) * 3


def _fitted(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Scaled as the geometry says, before squares are cut."""
    px, short = preprocess.image_px, min(image.size)
    if preprocess.geometry == "resize" or (preprocess.geometry == "crop" and short < px):
        return resize_short(to_rgb(_middle(image)), px)
    return image


def _middle(image: Image.Image) -> Image.Image:
    """The image; of one longer than `MAX_ASPECT`, as much around its middle as a crop can need.

    Enlarged whole, a strip of 1 by 30,000 pixels would take gigabytes.
    """
    longest = MAX_ASPECT * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def resize_short(
    image: Image.Image, short_px: int, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Scale so that the shorter side is `short_px`; the longer one is rounded, at least that."""
    scale = short_px / min(image.size)
    size = tuple(max(short_px, round(side * scale)) for side in image.size)
    return image.resize((size[0], size[1]), resample)


def normalise(crops: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """(B, S, S, 3) RGB bytes -> (B, 3, S, S) float32, per channel (x / 255 - mean) / std."""
    scale = np.float32(1 / 255) / np.asarray(preprocess.std, np.float32)  # (3,)
    shift = np.asarray(preprocess.mean, np.float32) / np.asarray(preprocess.std, np.float32)
    planes = crops.transpose(0, 3, 1, 2).astype(np.float32)  # (B, 3, S, S)
    return np.ascontiguousarray(planes * scale[:, None, None] - shift[:, None, None])


def _decoded(image: Image.Image, limits: Limits, short_px: int | None = None) -> Picture:
    megapixels = image.width * image.height / 1e6
    if megapixels > limits.max_megapixels:
        raise ImageTooLarge(
            f"{image.width}x{image.height} is {round(megapixels, 2):.10g} megapixels; "
            f"the limit is {limits.max_megapixels:g} (--max-megapixels)"
        )
    if image.mode == "F":
        raise ImageUnsupported("32-bit float pixels have no agreed range")
    whole = image.size
    if short_px is not None and image.format in ("JPEG", "MPO"):
        image.draft(None, (short_px, short_px))
    is_scaled = image.size != whole
    image.load()
    orientation = _orientation(image)
    upright = _upright(image, orientation)
    name = "JPEG" if image.format == "MPO" else image.format or ""
    if not is_scaled:
        return Picture(upright, upright.width, upright.height, name)
    width, height = reversed(whole) if orientation > 4 else whole  # 5 to 8: on its side
    return Picture(upright, width, height, name)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation != 1:
        return ImageOps.exif_transpose(image)
    # A JPEG is its own and never changes; a copy of 200 megapixels would take 800 MB. Pixels of
    # other formats may still be in the file, or belong to the first of many frames.
    return image if image.format == "JPEG" else image.copy()


def _formats() -> tuple[str, ...]:
    return (*FORMATS, "HEIF") if _register_heif() else FORMATS


@cache  # to look for a package that is not there takes a tenth of a photograph's time
def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _orientation(image: Image.Image) -> int:
    """As EXIF has it: 1 is upright, and so is what makes no sense."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError):  # a broken EXIF block
        return 1
    return orientation if orientation in range(2, 9) else 1
