"""What happens to a picture on its way through the web."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fakescan.data.augment import generator
from fakescan.data.degrading import Degradation, degrade
from fakescan.errors import ConfigError

NEVER = {"shrink": 0.0, "blur": 0.0, "encode": 0.0}


def views(image, count=12, **settings):
    config = Degradation(**(NEVER | settings))
    return [degrade(image, generator(0, "k", n), config) for n in range(count)]


def test_without_any_of_it_the_picture_stays_as_it_is(photo):
    image = photo(60, 50)
    assert all(np.array_equal(view, image) for view in views(image))


def test_the_shorter_side_shrinks_into_its_range_and_never_grows(photo):
    found = {min(v.size) for v in views(photo(90, 60), 40, shrink=1.0, short_px=(40, 44))}
    assert found == {40, 41, 42, 43, 44}
    assert {v.size for v in views(photo(30, 39), shrink=1.0, short_px=(40, 44))} == {(30, 39)}


def test_blur_is_the_gaussian_of_the_range(photo):
    image = photo(40, 40)
    expected = np.asarray(image.filter(ImageFilter.GaussianBlur(2.0)))
    assert all(np.array_equal(v, expected) for v in views(image, blur=1.0, sigma_px=(2.0, 2.0)))


@pytest.mark.parametrize(("webp_share", "kind"), [(0.0, "JPEG"), (1.0, "WEBP")])
def test_the_encoder_and_its_quality_are_those_asked_for(photo, webp_share, kind):
    image, buffer = photo(40, 40), io.BytesIO()
    image.save(buffer, format=kind, quality=40)
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    found = views(image, encode=1.0, quality=(40, 40), webp_share=webp_share)
    assert all(np.array_equal(view, expected) for view in found)


def test_by_default_some_pictures_stay_and_some_go_through_all_of_it(photo):
    image = photo(640, 600)
    same = shrunk = 0
    for n in range(60):
        view = degrade(image, generator(0, "k", n), Degradation())
        same += view.size == image.size and np.array_equal(view, image)
        shrunk += view.size != image.size
    assert 3 <= same <= 25  # 18 % are expected
    assert 10 <= shrunk <= 32  # 35 %


def test_members_of_a_pair_go_through_the_same(photo):
    image = photo(100, 90)
    for n in range(10):
        a, b = (degrade(i, generator(1, "pair", n), Degradation()) for i in (image, image.copy()))
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shrink": 1.1},
        {"blur": -0.1},
        {"short_px": (0, 100)},
        {"short_px": (300, 224)},
        {"sigma_px": (2.0, 1.0)},
        {"quality": (30, 101)},
    ],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="degradation"):
        Degradation(**wrong)
