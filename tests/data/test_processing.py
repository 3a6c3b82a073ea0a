"""Processing changes pixels the way editors do, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan.data import processing
from fakescan.data.augment import Augmentation, draw, generator
from fakescan.data.processing import OPERATIONS, process

SAMPLE = Path(__file__).parents[2] / "samples/real/coffee.jpg"


@pytest.fixture(scope="module")
def photo():
    return Image.open(SAMPLE).convert("RGB").crop((100, 100, 340, 290))


def name(operation):
    return operation.__name__


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_an_operation_keeps_size_and_mode_and_changes_pixels_a_little(operation, photo):
    out = operation(photo, np.random.default_rng(0))
    assert (out.size, out.mode) == (photo.size, "RGB")
    difference = np.abs(np.asarray(out).astype(float) - np.asarray(photo).astype(float))
    assert 0.3 < difference.mean() < 40


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_an_operation_depends_on_its_random_numbers_only(operation, photo):
    first, again, other = (operation(photo, np.random.default_rng(s)).tobytes() for s in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_an_operation_takes_the_smallest_image(operation):
    dot = Image.new("RGB", (1, 1), (200, 10, 30))
    assert operation(dot, np.random.default_rng(0)).size == (1, 1)


def sharpness(image):
    """Mean squared step between neighbours."""
    grey = np.asarray(image.convert("L")).astype(float)
    return float((np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean())


def test_sharpening_sharpens_and_denoising_and_resizing_smooth(photo):
    rng = np.random.default_rng(1)
    assert sharpness(processing.sharpen(photo, rng)) > 1.2 * sharpness(photo)
    noisy = processing.grain(photo, rng)
    assert sharpness(noisy) > sharpness(photo)
    assert sharpness(processing.denoise(noisy, rng)) < sharpness(noisy)
    assert sharpness(processing.resize_to_and_fro(photo, rng)) < sharpness(photo)


def test_every_operation_is_drawn(photo, monkeypatch):
    met = []
    stand_ins = [lambda image, _, i=i: met.append(i) or image for i in range(len(OPERATIONS))]
    monkeypatch.setattr(processing, "OPERATIONS", tuple(stand_ins))
    rng = np.random.default_rng(0)
    for _ in range(100):
        process(photo, rng)
    assert set(met) == set(range(len(OPERATIONS)))


def test_both_members_of_a_pair_are_processed_alike(photo):
    """The same name gives the same operation with the same strength: only contents differ."""
    config = Augmentation(processing=1.0)
    members = (photo, photo.copy())
    views = [draw(m, generator(0, "pair", 1), config, 64) for m in members]
    np.testing.assert_array_equal(*views)


def test_without_processing_the_draws_are_those_of_before(photo):
    plain = draw(photo, generator(0, "x", 0), Augmentation(), 64)
    unused = draw(photo, generator(0, "x", 0), Augmentation(processing=0.0), 64)
    processed = draw(photo, generator(0, "x", 0), Augmentation(processing=1.0), 64)
    np.testing.assert_array_equal(plain, unused)
    assert not np.array_equal(plain, processed)
