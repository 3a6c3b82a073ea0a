"""Labelled images that the tiny detector half understands: fakes are brighter, not all of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image


def picture(rng, brightness):
    """A coarse pattern of its own, with a mean near a brightness in [0, 255]."""
    pattern = rng.normal(0, 25, (6, 6, 3))
    pixels = np.clip(pattern + brightness, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((40, 36), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def write_labelled():
    """Write a tree: so many images of each class, in so many sources, so many grey levels apart."""

    def write(root, *, per_class=60, sources=4, apart=40.0, seed=0):
        rng = np.random.default_rng(seed)
        for label, leaf in ((0, "0_real"), (1, "1_fake")):
            for i in range(per_class):
                brightness = rng.normal(110 + apart * label, 15)
                path = root / f"{leaf[2:]}s{i % sources}" / leaf / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(rng, brightness).save(path)
        return root

    return write


@pytest.fixture(scope="session")
def labelled(write_labelled, tmp_path_factory):
    """Sixty of each class in four sources each; tests leave it as it is."""
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture
def manifest():
    """Write a manifest of rows (path, label, and whatever else) in a folder."""

    def write(root, names, rows):
        with (root / "manifest.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(names)
            table.writerows(rows)
        return root

    return write
