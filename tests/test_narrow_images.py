"""Strips of pixels: enlarging them whole would fill the memory."""

import numpy as np
import pytest
from PIL import Image

from fakescan.image import MAX_ASPECT, Preprocess, resize_short, to_rgb, view


@pytest.mark.parametrize("geometry", ["crop", "resize", "pad"])
@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1), (3, 50_000)])
def test_a_strip_is_viewed_at_its_middle(geometry, size):
    image = Image.new("L", size, 10)
    middle = tuple(side // 2 for side in size)
    image.paste(200, (middle[0] - 9, middle[1] - 9, middle[0] + 9, middle[1] + 9))
    crop = view(image, Preprocess(image_px=32, geometry=geometry))
    assert crop.shape == (32, 32, 3)
    assert crop.max() == 200


@pytest.mark.parametrize("length", [20 * MAX_ASPECT, 20 * MAX_ASPECT + 2])
def test_losing_the_ends_changes_nothing_that_is_seen(length):
    pixels = np.random.default_rng(0).integers(0, 256, (20, length, 3), dtype=np.uint8)
    whole = resize_short(to_rgb(Image.fromarray(pixels)), 40)
    left = (whole.width - 40) // 2
    expected = np.asarray(whole.crop((left, 0, left + 40, 40)))
    assert np.array_equal(view(Image.fromarray(pixels), Preprocess(image_px=40)), expected)
