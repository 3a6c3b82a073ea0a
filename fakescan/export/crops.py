"""The images that parity is measured on: those in the package, or a folder of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.data.samples import read_samples
from fakescan.errors import DatasetError, ImageError
from fakescan.image import Preprocess, open_picture, to_rgb, view, views
from fakescan.perturb import blur, jpeg

MAX_CHECKED = 500
"""Images of a folder that are looked at, evenly spread over its names."""
POSES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: image,
    lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    lambda image: image.transpose(Image.Transpose.ROTATE_90),
)
DEGRADATIONS: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: image,
    lambda image: jpeg(image, 70),
    lambda image: blur(image, 1.0),
)


def fixture_crops(preprocess: Preprocess) -> NDArray[np.uint8]:
    """The package's twelve fixtures, each in nine variants, (108, S, S, 3)."""
    folder = resources.files("fakescan.export") / "fixtures"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".jpg"))
    images = [to_rgb(open_picture((folder / name).read_bytes()).image) for name in names]
    variants = (
        view(degrade(pose(image)), preprocess)
        for image in images
        for pose in POSES
        for degrade in DEGRADATIONS
    )
    return np.stack(list(variants))


@dataclass(frozen=True, slots=True)
class Looks:
    """What the detector sees of some images."""

    squares: NDArray[np.uint8]
    """(n, S, S, 3), image after image."""
    counts: tuple[int, ...]
    """Squares of each image."""
    labels: tuple[int, ...] | None
    """0 real, 1 fake; None where not every image has one."""

    @property
    def starts(self) -> list[int]:
        """Where the squares of each image begin."""
        return [0, *np.cumsum(self.counts)[:-1].tolist()]


def fixture_looks(preprocess: Preprocess) -> Looks:
    """One square of each variant of the package's fixtures; what is made of them has no label."""
    squares = fixture_crops(preprocess)
    return Looks(squares, (1,) * len(squares), None)


def folder_looks(folder: Path, preprocess: Preprocess) -> Looks:
    """What the detector sees of the images below a folder, with their labels if it is labelled.

    Files that are no images are passed over.

    Raises:
        DatasetError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    known = _labels(folder)
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    seen = list(_readable(paths, preprocess))
    if not seen:
        raise DatasetError(f"{folder}: no image that can be read")
    labels = tuple(known[path] for path, _ in seen if path in known)
    return Looks(
        squares=np.concatenate([look for _, look in seen]),
        counts=tuple(len(look) for _, look in seen),
        labels=labels if len(labels) == len(seen) else None,
    )


def _labels(folder: Path) -> dict[Path, int]:
    try:
        return {sample.path: sample.label for sample in read_samples(folder)}
    except DatasetError:  # not labelled, which is fine here
        return {}


def _readable(
    paths: list[Path], preprocess: Preprocess
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Path and squares (K, S, S, 3) of each image that is looked at."""
    step = max(1, -(-len(paths) // MAX_CHECKED))
    for path in paths[::step]:
        try:
            yield path, views(open_picture(path).image, preprocess)
        except ImageError:
            continue
