"""The images that parity is measured on: those in the package, or a folder of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.errors import DatasetError, ImageError
from fakescan.image import Preprocess, open_picture, to_rgb, view
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


def folder_crops(folder: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """What the detector sees of the images below a folder, labelled or not, (n, S, S, 3).

    Files that are no images are passed over.

    Raises:
        DatasetError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    crops = list(_readable(sorted(p for p in folder.rglob("*") if p.is_file()), preprocess))
    if not crops:
        raise DatasetError(f"{folder}: no image that can be read")
    return np.stack(crops)


def _readable(paths: list[Path], preprocess: Preprocess) -> Iterator[NDArray[np.uint8]]:
    step = max(1, -(-len(paths) // MAX_CHECKED))
    for path in paths[::step]:
        try:
            yield view(open_picture(path).image, preprocess)
        except ImageError:
            continue
