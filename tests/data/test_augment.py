"""Random views for training."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakescan.data.augment import Augmentation, draw, generator
from fakescan.errors import ConfigError

RECIPES = ("varied", "paper", "crop")
NOTHING = {"scale_probability": 0.0, "encode_before": 0.0, "encode_after": 0.0}


@pytest.mark.parametrize("recipe", RECIPES)
@given(width=st.integers(1, 90), height=st.integers(1, 90), number=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_any_size_gives_a_square_and_the_same_one_again(recipe, photo, width, height, number):
    config = Augmentation(recipe=recipe)
    image = photo(width, height)
    views = [draw(image, generator(7, "a.png", number), config, 32) for _ in range(2)]
    assert views[0].shape == (32, 32, 3)
    assert views[0].dtype == np.uint8
    assert np.array_equal(*views)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 1), (31, 33)])
def test_the_smallest_and_the_narrowest_images_work(recipe, photo, size):
    for number in range(6):
        view = draw(photo(*size), generator(0, "k", number), Augmentation(recipe=recipe), 32)
        assert view.shape == (32, 32, 3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_members_of_a_pair_with_equal_pixels_get_equal_views(recipe, photo):
    real, fake = photo(120, 90), photo(120, 90).copy()
    config = Augmentation(recipe=recipe)
    for number in range(8):
        views = [draw(image, generator(3, "pair", number), config, 32) for image in (real, fake)]
        assert np.array_equal(*views)


def test_members_of_a_pair_are_cut_at_the_same_place():
    rows = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 100, 3), np.uint8)
    config = Augmentation(**NOTHING, blur_probability=0.0)
    for number in range(8):
        views = [
            draw(Image.fromarray(pixels), generator(0, "p", number), config, 32).astype(int)
            for pixels in (rows, rows + 50)
        ]
        assert np.array_equal(views[0] + 50, views[1])


@pytest.mark.parametrize("other", [(1, "a", 0), (0, "b", 0), (0, "a", 1)])
def test_seed_name_and_number_each_give_another_view(photo, other):
    image = photo(200, 150)
    first = draw(image, generator(0, "a", 0), Augmentation(), 32)
    assert not np.array_equal(first, draw(image, generator(*other), Augmentation(), 32))


def test_a_name_need_not_be_utf8():
    assert generator(0, "caf\udce9", 0).random() == generator(0, "caf\udce9", 0).random()


def test_varied_without_changes_cuts_native_pixels(photo):
    image = photo(100, 80)
    pixels = np.asarray(image)
    config = Augmentation(**NOTHING, blur_probability=0.0)
    view = draw(image, generator(0, "a", 0), config, 32)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (32, 32, 3))[:, :, 0]
    assert any((windows == v).all(axis=(2, 3, 4)).any() for v in (view, view[:, ::-1]))


def test_paper_blurs_and_compresses_within_its_ranges(photo, monkeypatch):
    qualities, sigmas = [], []
    save = Image.Image.save

    def watch(self, stream, format, quality):  # the real encoder still runs
        qualities.append((format, quality))
        save(self, stream, format=format, quality=quality)

    monkeypatch.setattr(Image.Image, "save", watch)
    image_filter = Image.Image.filter

    def watch_filter(self, kernel):
        sigmas.append(kernel.radius)
        return image_filter(self, kernel)

    monkeypatch.setattr(Image.Image, "filter", watch_filter)
    config = Augmentation(recipe="paper")
    image = photo(40, 30)
    for number in range(600):
        draw(image, generator(0, "a", number), config, 8)
    assert all(kind == "JPEG" and 30 <= quality <= 100 for kind, quality in qualities)
    assert all(0 <= sigma <= 3 for sigma in sigmas)
    assert 35 <= len(qualities) <= 90  # 600 x 0.1
    assert 35 <= len(sigmas) <= 90


def test_paper_keeps_the_shorter_side_at_256():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # one pixel wide: gone at half size
    config = Augmentation(recipe="paper", blur_probability=0.0, jpeg_probability=0.0)
    view = draw(Image.fromarray(stripes), generator(0, "a", 0), config, 224)
    assert np.ptp(view) < 10


def test_crop_cuts_native_pixels_at_many_places(photo):
    image = photo(90, 70)
    whole = np.asarray(image.convert("RGB"))
    squares = {whole[y : y + 32, x : x + 32].tobytes() for y in range(39) for x in range(59)}
    config = Augmentation(recipe="crop")
    views = [draw(image, generator(0, "k", number), config, 32).tobytes() for number in range(9)]
    assert squares.issuperset(views)
    assert len(set(views)) == 9


def test_crop_enlarges_what_is_too_small(photo):
    view = draw(photo(16, 16), generator(0, "k", 0), Augmentation(recipe="crop"), 32)
    expected = photo(16, 16).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(view, np.asarray(expected))


def test_varied_uses_both_encoders(photo):
    image = photo(64, 64)
    config = Augmentation(scale_probability=0.0, encode_before=0.0, encode_after=1.0)
    jpegs = 0
    for number in range(40):
        view = draw(image, generator(0, "a", number), config, 64)
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        jpegs += any(is_jpeg_of(view, candidate) for candidate in (image, flipped))
    assert 20 <= jpegs < 40  # four of five, and of those the ones without blur


def is_jpeg_of(view, image):
    for quality in range(50, 98):
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality)
        if np.array_equal(view, np.asarray(Image.open(buffer))):
            return True
    return False


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_probability": 1.1},
        {"webp_share": -0.1},
        {"scale": (0.0, 1.0)},
        {"scale": (1.0, 0.5)},
        {"quality": (0, 90)},
        {"quality": (90, 50)},
        {"quality": (50, 101)},
    ],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="augmentation"):
        Augmentation(**wrong)
