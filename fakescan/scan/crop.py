"""One image -> the squares that the detector sees, with what a report says of the image."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fakescan.data.properties import properties
from fakescan.errors import ImageError, ImageTooLarge, ImageUnreadable, ImageUnsupported
from fakescan.explain.frame import WHOLE_PX, Frame, square_box
from fakescan.image import (
    Decoding,
    Limits,
    Picture,
    Preprocess,
    needed_px,
    opened,
    to_rgb,
    views,
)
from fakescan.perturb import PLAIN, parse
from fakescan.provenance.read import Depth, read_provenance
from fakescan.provenance.signal import Provenance
from fakescan.scan.formats import HEAD_BYTES, sniff

HEIF_HINT = "HEIC needs an extra: pip install fakescan[heif]"
THUMBNAIL_PX = 128
"""Longer side; twice what a report shows, for dense screens."""
THUMBNAIL_QUALITY = 60
"""Of WebP: about 3 kB, so that 5,000 make a page that opens at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What some reports want of an image besides its score; each costs time."""

    hashes: bool = False
    """The sha256 of the file."""
    thumbnails: bool = False
    """A small picture."""
    provenance: Depth = "off"
    """What the file says of its origin."""
    perturbations: tuple[str, ...] = ()
    """Degradations to be scored, too, such as jpeg:75."""
    squares: bool = False
    """The squares, though the score may be known from an earlier scan."""
    frames: bool = False
    """The whole image, small, and where the square lies in it."""
    properties: bool = False
    """What the file says without its pictures; of files only, not of bytes."""


@dataclass(frozen=True, slots=True)
class Crop:
    """What is left of an image once it is decoded."""

    pixels: NDArray[np.uint8]
    """(K, S, S, 3) RGB: the squares that the detector sees, the middle one first."""
    width: int
    """Of the whole image, upright."""
    height: int
    """Of the whole image, upright."""
    format: str | None
    """What the bytes say; None for pixels that were never a file."""
    sha256: str | None = None
    """Of the file, when asked for."""
    thumbnail: bytes | None = None
    """A small WebP, when asked for."""
    provenance: Provenance | None = None
    """What the file says of its origin, when asked for; read last."""
    perturbed: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """(K, S, S, 3) each: the image's squares after each perturbation, by its name; one that makes
    the image smaller may leave fewer."""
    frame: Frame | None = None
    """Where the middle square lies in the image, when asked for."""
    properties: tuple[float, ...] | None = None
    """Of the file, as `fakescan.data.properties`, when asked for."""

    @property
    def looks(self) -> dict[str, NDArray[np.uint8]]:
        """All squares to be scored, (K, S, S, 3) by perturbation, the unperturbed first."""
        return {PLAIN: self.pixels, **self.perturbed}


Announce = Callable[[Crop], None]


def crop_file(
    path: Path,
    preprocess: Preprocess,
    limits: Limits,
    extras: Extras | None = None,
    decoding: Decoding = "exact",
    announce: Announce | None = None,
) -> Crop:
    """Decode and cut one regular file; anything else (FIFO, device, socket) is never opened.

    Args:
        path: of the file.
        preprocess: of the detector.
        limits: beyond which it is refused.
        extras: what is wanted besides the pixels.
        decoding: whether a JPEG may be scaled while it is decoded.
        announce: called with the crop once all but its provenance is there, since that is read by
            libraries that may crash on it.

    Raises:
        ImageError: with the reason why it cannot be scored.
    """
    _refuse(path, limits)
    try:
        return _cropped(path, preprocess, limits, extras or Extras(), decoding, announce)
    except ImageUnsupported as e:
        raise _explained(e, _head(path)) from e


def crop_bytes(
    data: bytes,
    preprocess: Preprocess,
    limits: Limits,
    extras: Extras | None = None,
    decoding: Decoding = "exact",
    announce: Announce | None = None,
) -> Crop:
    """Decode and cut what the bytes of a file hold; all else as `crop_file`.

    Raises:
        ImageError: with the reason why it cannot be scored.
    """
    try:
        return _cropped(data, preprocess, limits, extras or Extras(), decoding, announce)
    except ImageUnsupported as e:
        raise _explained(e, data[:HEAD_BYTES]) from e


def cut(picture: Picture, preprocess: Preprocess) -> Crop:
    """Cut the squares out of a decoded picture.

    Raises:
        ImageError: its pixels have no way to RGB, or do not fit into memory.
    """
    try:
        pixels = views(picture.image, preprocess)
    except (ValueError, OSError) as e:  # Pillow: conversion from ... to RGB not supported
        raise ImageUnsupported(f"pixels of the kind {picture.image.mode} are not read") from e
    except MemoryError as e:
        raise ImageTooLarge("not enough memory to decode it") from e
    return Crop(pixels, picture.width, picture.height, picture.format or None)


def thumbnail(image: Image.Image) -> bytes:
    """A WebP of the image, at most `THUMBNAIL_PX` on its longer side, without any metadata.

    Args:
        image: upright, in any mode that can be cut; left as it is.
    """
    stream = io.BytesIO()
    small = _shrunk(image, THUMBNAIL_PX)
    small.save(stream, "WEBP", quality=THUMBNAIL_QUALITY, method=2, exif=b"", icc_profile=b"")
    return stream.getvalue()


def _shrunk(image: Image.Image, longest_px: int) -> Image.Image:
    """RGB with a longer side of at most that."""
    scale = max(1.0, max(image.size) / longest_px)
    size = _divided(image.size, scale)
    if scale > 4:  # coarsely first, so that only a small image is converted and smoothed
        image = image.resize(_divided(image.size, scale / 4), Image.Resampling.NEAREST)
    return to_rgb(image).resize(size)


def _divided(size: tuple[int, int], divisor: float) -> tuple[int, int]:
    return max(1, round(size[0] / divisor)), max(1, round(size[1] / divisor))


def sha256_of(source: Path | bytes) -> str | None:
    """Hash of a file's bytes, in hex; None when they cannot be read."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            return None
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _cropped(
    source: Path | bytes,
    preprocess: Preprocess,
    limits: Limits,
    extras: Extras,
    decoding: Decoding,
    announce: Announce | None,
) -> Crop:
    with opened(source, limits, needed_px(preprocess, decoding)) as (image, picture):
        crop = replace(
            cut(picture, preprocess),
            perturbed=_perturbed(picture, preprocess, extras.perturbations),
            sha256=sha256_of(source) if extras.hashes else None,
            thumbnail=thumbnail(picture.image) if extras.thumbnails else None,
            frame=_frame(picture.image, preprocess) if extras.frames else None,
            properties=_properties(source, limits) if extras.properties else None,
        )
        if announce is not None:
            announce(crop)
        if extras.provenance == "off":
            return crop
        said = read_provenance(image, source, is_full=extras.provenance == "full")
        return replace(crop, provenance=said)


def _perturbed(
    picture: Picture, preprocess: Preprocess, names: tuple[str, ...]
) -> dict[str, NDArray[np.uint8]]:
    if not names:
        return {}
    image = to_rgb(picture.image)
    try:
        return {name: views(parse(name)(image), preprocess) for name in names}
    except (ValueError, OSError) as e:  # a side that JPEG cannot have
        raise ImageUnsupported("too long or too wide to be perturbed") from e
    except MemoryError as e:
        raise ImageTooLarge("not enough memory to perturb it") from e


def _properties(source: Path | bytes, limits: Limits) -> tuple[float, ...] | None:
    return None if isinstance(source, bytes) else tuple(properties(source, limits).tolist())


def _frame(image: Image.Image, preprocess: Preprocess) -> Frame:
    whole = np.asarray(_shrunk(image, WHOLE_PX), np.uint8)
    return Frame(whole, square_box(image.size, preprocess))


def _refuse(path: Path, limits: Limits) -> None:
    try:
        status = path.stat()
    except PermissionError as e:
        raise ImageUnreadable("no permission to read it") from e
    except (OSError, ValueError) as e:  # ValueError: a null character in the name
        raise ImageUnreadable("the file is gone") from e
    if not stat.S_ISREG(status.st_mode):
        raise ImageUnreadable("not a regular file")
    if limits.max_megabytes is not None and status.st_size > limits.max_megabytes * 1e6:
        raise ImageTooLarge(
            f"{status.st_size / 1e6:.3g} MB; the limit is {limits.max_megabytes:g} (--max-filesize)"
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as e:
        raise ImageUnreadable("the file changed while it was read") from e


def _explained(error: ImageUnsupported, head: bytes) -> ImageError:
    """The same error, or a better reason when the first bytes give one."""
    if not head:
        return ImageUnreadable("the file is empty")
    name = sniff(head)
    if name == "HEIF" and not _has_heif():
        return ImageUnsupported(HEIF_HINT)
    is_unidentified = isinstance(error.__cause__, UnidentifiedImageError)
    return (
        ImageUnreadable(f"damaged: only its start is {name}") if name and is_unidentified else error
    )


def _has_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None
