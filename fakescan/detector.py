"""The public interface: a detector that scores images from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan import weights
from fakescan.errors import ImageError, ImageUnreadable
from fakescan.image import Limits, Preprocess, picture_of
from fakescan.metadata import DetectorMetadata
from fakescan.records import Band, Finding, mean_logits
from fakescan.scan.crop import Crop, crop_bytes, crop_file, cut
from fakescan.scan.judge import Judge
from fakescan.session import Arithmetic, Device, OnnxSession

Item = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a PIL image, or an array of bytes: (H, W) grey, (H, W, 3) RGB or
(H, W, 4) RGBA."""


class Detector:
    """Scores images in this process; safe to share between threads.

        for finding in Detector().score(["photo.jpg", other_image]):
            print(finding.path, finding.verdict, finding.score)

    A folder is scanned with `fakescan scan`, which decodes in child processes: there, a file that
    crashes a decoder costs one finding; here it would end your program.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        threshold: float | None = None,
        device: Device = "auto",
        arithmetic: Arithmetic = "stored",
        offline: bool = False,
        batch_size: int = 8,
    ) -> None:
        """Load a detector.

        Args:
            model: a name in the registry, or a file that `fakescan export` wrote; None takes the
                default detector.
            threshold: score in [0, 1] from which an image is fake, and below which it is real;
                None takes the detector's own two thresholds.
            device: `auto` takes the GPU when there is one that works.
            arithmetic: `fast` multiplies in integers on the CPU, as `scan --arithmetic fast`.
            offline: never fetch a model.
            batch_size: images held and scored together.

        Raises:
            WeightsError: the model cannot be found, fetched or used.
            ConfigError: a setting is out of range, or `cuda` without a GPU.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        file = weights.resolve(model, offline=offline)
        self._session = OnnxSession(file, device=device, arithmetic=arithmetic)
        self._judge = Judge(self.metadata, self.fingerprint, threshold)
        self._batch_size = batch_size

    @property
    def metadata(self) -> DetectorMetadata:
        """What the model file says of itself."""
        return self._session.metadata

    @property
    def fingerprint(self) -> str:
        """The detector's name and the first 12 hex digits of its file's sha256."""
        return self._session.fingerprint

    @property
    def band(self) -> Band:
        """The thresholds in use."""
        return self._judge.band

    def score(self, items: Iterable[Item]) -> Iterator[Finding]:
        """Yield a finding per item, in order; one that cannot be scored has the verdict `error`.

        Items are taken as findings are asked for, `batch_size` at a time, so that there may be
        any number of them; `list(...)` takes all.

        Args:
            items: paths, bytes of files, PIL images, or arrays of bytes: (H, W) grey, (H, W, 3)
                RGB, (H, W, 4) RGBA, which goes on white as in files. What is not a path is called
                `item 0`, `item 1`, ... in its finding.

        Raises:
            TypeError: an item of another type, or one item instead of several.
        """
        if isinstance(items, (str, bytes, os.PathLike, Image.Image, np.ndarray)):
            raise TypeError("score takes several items: write score([item])")
        return self._score_all(enumerate(items))

    def _score_all(self, numbered: Iterator[tuple[int, Item]]) -> Iterator[Finding]:
        while group := list(islice(numbered, self._batch_size)):
            yield from self._score_batch(group)

    def _score_batch(self, group: list[tuple[int, Item]]) -> Iterator[Finding]:
        looks = [(_name(item, i), self._look(item)) for i, item in group]
        crops = [look.pixels for _, look in looks if isinstance(look, Crop)]
        logits = iter(mean_logits(self._session, crops).tolist())
        for name, look in looks:
            if isinstance(look, Crop):
                yield self._judge.scored(name, look, next(logits))
            else:
                yield self._judge.failed(name, look)

    def _look(self, item: Item) -> Crop | ImageError:
        preprocess = self.metadata.preprocess
        try:
            if isinstance(item, bytes):
                return crop_bytes(item, preprocess, Limits())
            if isinstance(item, np.ndarray):
                return cut(picture_of(Image.fromarray(_checked(item))), preprocess)
            if isinstance(item, Image.Image):
                return cut(picture_of(item), preprocess)
            return _crop_path(item, preprocess)
        except ImageError as e:
            return e


def _name(item: Item, index: int) -> str:
    if isinstance(item, (str, os.PathLike)):
        return os.fspath(item)
    return f"item {index}"


def _crop_path(path: str | os.PathLike[str], preprocess: Preprocess) -> Crop:
    if not os.path.lexists(path):  # in a scan, where a walk has seen it, such a file is gone
        raise ImageUnreadable("no such file")
    return crop_file(Path(path), preprocess, Limits())


def _checked(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    has_channels = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not (has_channels and pixels.dtype == np.uint8 and pixels.size):
        raise TypeError(
            "an array must be uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, "
            f"got {pixels.dtype} {pixels.shape}"
        )
    return pixels
