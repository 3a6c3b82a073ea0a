import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakescan.explain.frame import WHOLE_PX, square_box
from fakescan.image import Limits, Preprocess, view
from fakescan.scan.crop import Extras, crop_file

PX = 16
sides = st.integers(1, 250)


def places(width, height):
    """An image whose pixels say where they are: red is x, green is y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


@given(sides, sides, st.sampled_from(["crop", "resize", "pad"]))
@settings(deadline=None, max_examples=200)
def test_the_box_is_where_the_square_was_cut(width, height, geometry):
    preprocess = Preprocess(image_px=PX, geometry=geometry)
    square = view(places(width, height), preprocess).astype(float)  # (S, S, 3)
    left, top, right, bottom = square_box((width, height), preprocess)
    for channel, start, end, side in ((0, left, right, width), (1, top, bottom, height)):
        step = (end - start) * side / PX
        centres = start * side + (np.arange(PX) + 0.5) * step - 0.5
        inside = (centres >= 0) & (centres <= side - 1)
        seen = square[..., channel].max(axis=channel)  # what was padded is 0
        assert np.abs(seen - centres)[inside].max(initial=0) <= max(1, step)


def test_a_crop_of_native_pixels_is_where_it_is_to_the_pixel():
    left, top, right, bottom = square_box((101, 50), Preprocess(image_px=PX))
    assert (left * 101, top * 50) == pytest.approx((42, 17))
    assert ((right - left) * 101, (bottom - top) * 50) == pytest.approx((PX, PX))


@pytest.mark.parametrize(
    ("size", "shape"),
    [((800, 600), (252, WHOLE_PX)), ((40, 30), (30, 40)), ((1, 3000), (WHOLE_PX, 1))],
)
def test_the_whole_image_comes_small_and_never_enlarged(tmp_path, size, shape):
    Image.new("RGB", size, "white").save(tmp_path / "a.png")
    preprocess = Preprocess(image_px=PX)
    crop = crop_file(tmp_path / "a.png", preprocess, Limits(), Extras(frames=True))
    assert crop.frame.whole.shape == (*shape, 3)
    assert crop.frame.whole.min() == 255
    assert crop.frame.box == square_box(size, preprocess)
    assert crop_file(tmp_path / "a.png", preprocess, Limits()).frame is None
