import numpy as np
import pytest
from PIL import Image

from fakescan import perturb
from fakescan.errors import ConfigError


@pytest.fixture
def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


@pytest.mark.parametrize(
    ("function", "strength"),
    [
        (perturb.jpeg, 50),
        (perturb.blur, 1.5),
        (perturb.resize, 0.5),
        (perturb.crop, 0.5),
        (perturb.equalise, 30),
    ],
)
def test_the_same_strength_gives_the_same_pixels(noise, function, strength):
    before = noise.copy()
    first, second = function(noise, strength), function(noise, strength)
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert np.array_equal(np.asarray(noise), np.asarray(before))
    assert first.mode == "RGB"


def test_more_strength_moves_pixels_further(noise):
    def distance(image):
        return float(np.abs(np.asarray(image, float) - np.asarray(noise, float)).mean())

    assert distance(perturb.jpeg(noise, 95)) < distance(perturb.jpeg(noise, 30))
    assert distance(perturb.blur(noise, 0)) == 0
    assert distance(perturb.blur(noise, 1)) < distance(perturb.blur(noise, 4))


def test_blur_spreads_a_point_as_a_gaussian_does():
    point = Image.new("RGB", (41, 41))
    point.putpixel((20, 20), (255, 255, 255))
    row = np.asarray(perturb.blur(point, 2.0), float)[:, :, 0].sum(0)
    x = np.arange(41) - 20
    assert (row * x**2).sum() / row.sum() == pytest.approx(4.0, rel=0.35)


def test_equalised_images_have_one_size_and_one_compression(noise):
    found = perturb.equalise(noise, 30)
    assert found.size == (40, 30)
    small = perturb.equalise(found, 30)
    assert small.size == (40, 30)  # what is smaller already is only compressed
    assert np.array_equal(np.asarray(small), np.asarray(perturb.jpeg(found, 96)))


def test_sizes(noise):
    assert perturb.resize(noise, 0.5).size == (40, 30)
    assert perturb.resize(noise, 0.001).size == (1, 1)
    assert perturb.crop(noise, 0.5).size == (40, 30)
    assert perturb.crop(noise, 1.0).size == noise.size


@pytest.mark.parametrize(
    ("function", "strength"),
    [(perturb.jpeg, 0), (perturb.jpeg, 101), (perturb.blur, -1), (perturb.blur, 1e300),
     (perturb.resize, 0), (perturb.crop, 0), (perturb.crop, 1.1)],
)  # fmt: skip
def test_strengths_out_of_range_are_refused(noise, function, strength):
    with pytest.raises(ConfigError):
        function(noise, strength)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("jpeg:75", "jpeg:75"),
        ("jpeg:75.0", "jpeg:75"),
        ("JPEG: 7.5e1", "jpeg:75"),
        ("blur:0.50", "blur:0.5"),
        ("blur:-0", "blur:0"),
        ("resize:1e-3", "resize:0.001"),
    ],
)
def test_a_perturbation_has_one_name_however_it_is_written(text, name):
    assert str(perturb.parse(text)) == name
    assert perturb.parse(name) == perturb.parse(text)


def test_each_perturbation_counts_once_in_order():
    texts = ("jpeg:75.0", "blur:1", "JPEG:75", "blur:1.0", "jpeg:74")
    assert perturb.canonical(texts) == ("jpeg:75", "blur:1", "jpeg:74")


@pytest.mark.parametrize("text", ["jpeg", "jpeg:", "jpeg:75.5", "blur:inf", "sharpen:1", ":1"])
def test_what_is_no_perturbation_is_refused(text):
    with pytest.raises(ConfigError):
        perturb.canonical(("jpeg:75", text))
