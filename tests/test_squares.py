"""An image may be looked at in several squares, whose logits are averaged."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakescan import Detector
from fakescan.data.augment import Augmentation
from fakescan.data.degrading import Degradation
from fakescan.data.samples import Sample
from fakescan.errors import ConfigError
from fakescan.evaluate.score import ScoreSettings, score_samples
from fakescan.image import Preprocess, view, views
from fakescan.records import Summary, mean_logits
from fakescan.scan.pipeline import ScanSettings, scan
from fakescan.session import OnnxSession
from fakescan.train.views import CENTRE, DEGRADED, ViewJob, ViewRecipe, make_view
from tiny import METADATA, PX, write_tiny

THREE = replace(METADATA.preprocess, crops=3)


@pytest.fixture
def three(tmp_path):
    """The tiny detector, looking at three squares."""
    return write_tiny(tmp_path / "three.onnx", replace(METADATA, preprocess=THREE).to_json())


@pytest.fixture
def photo(tmp_path):
    """Black above and left of the middle, white below and right, grey between."""
    pixels = np.full((60, 80, 3), 128, np.uint8)
    pixels[:16, :16], pixels[-16:, -16:] = 0, 255
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def image(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels), pixels


def test_the_squares_are_the_middle_and_the_corners():
    picture, pixels = image(50, 40)
    found = views(picture, replace(THREE, crops=5))
    places = [(12, 17), (0, 0), (24, 34), (0, 34), (24, 0)]  # top, left
    expected = [pixels[top : top + PX, left : left + PX] for top, left in places]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((16, 16), 1),
        ((8, 8), 1),  # enlarged to 16 x 16
        ((24, 24), 1),  # corners share (12 / 16) ** 2 = 0.56 of the middle
        ((26, 26), 3),  # (11 / 16) ** 2 = 0.47
        ((16, 33), 3),  # 7 / 16
        ((16, 32), 1),  # 8 / 16
        ((8, 300), 3),
    ],
)
def test_corners_that_show_little_new_are_left_out(size, count):
    assert len(views(image(*size)[0], THREE)) == count


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 5), st.sampled_from(["crop", "pad"]))
def test_the_first_square_is_the_view_whatever_the_size(width, height, crops, geometry):
    preprocess = Preprocess(image_px=PX, crops=crops, geometry=geometry)
    picture = image(width, height)[0]
    found = views(picture, preprocess)
    assert len(found) in (1, crops)
    np.testing.assert_array_equal(found[0], view(picture, preprocess))


def test_a_strip_that_is_padded_has_its_corners_at_its_ends_only():
    preprocess = Preprocess(image_px=PX, crops=5, geometry="pad")
    middle, *corners = views(image(8, 60)[0], preprocess)
    for square in (middle, *corners):
        assert not square[:, :4].any()  # black beside the strip, on both sides alike
        assert not square[:, 12:].any()
    np.testing.assert_array_equal(corners[0], corners[3 - 1])  # upper left, upper right


@pytest.mark.parametrize("crops", [0, 6])
def test_only_one_to_five_squares_can_be_asked_for(crops):
    with pytest.raises(ConfigError, match="crops lies in 1 to 5"):
        Preprocess(crops=crops)


def test_the_mean_is_taken_image_by_image(tiny):
    session = OnnxSession(tiny)
    rng = np.random.default_rng(0)
    looks = [rng.integers(0, 256, (count, PX, PX, 3), np.uint8) for count in (1, 3, 2)]
    expected = [float(session.logits(look).mean()) for look in looks]
    assert mean_logits(session, looks).tolist() == pytest.approx(expected, abs=1e-6)
    assert mean_logits(session, []).shape == (0,)


def test_a_scan_the_library_and_an_evaluation_average_alike(three, photo):
    """Middle grey, corners black and white: logits 0.0, -2 and 2, within rounding."""
    session = OnnxSession(three)
    (found,) = scan([str(photo)], session, ScanSettings(workers=1), Summary())
    squares = session.logits(views(Image.open(photo), THREE))
    assert [round(x) for x in squares.tolist()] == [0, -2, 2]
    assert found.logit == pytest.approx(float(squares.mean()), abs=1e-6)
    (alone,) = Detector(three).score([photo])
    assert alone.logit == found.logit
    sample = Sample(path=photo, key="photo", label=0, source="")
    scored = score_samples([sample], session, THREE, ScoreSettings(workers=1))
    assert scored.plain.logits.tolist() == [found.logit]


def test_a_perturbation_may_leave_fewer_squares(three, photo):
    session = OnnxSession(three)
    settings = ScanSettings(workers=1, perturbations=("resize:0.25", "jpeg:90"))
    (found,) = scan([str(photo)], session, settings, Summary())
    assert [name for name, _ in found.perturbed] == ["resize:0.25", "jpeg:90"]
    score = session.metadata.calibration.score
    assert dict(found.perturbed)["jpeg:90"] == pytest.approx(score(found.logit), abs=0.02)


def test_training_sees_the_squares_of_a_scan_by_number(photo, tmp_path):
    recipe = ViewRecipe(THREE, Augmentation(), seed=0)
    squares = views(Image.open(photo), THREE)
    for k in range(3):
        found = make_view(ViewJob(photo, "photo", CENTRE - k), recipe)
        np.testing.assert_array_equal(found.crop, squares[k])
    Image.new("RGB", (PX, PX), "white").save(tmp_path / "small.png")
    corner = make_view(ViewJob(tmp_path / "small.png", "small", CENTRE - 2), recipe)
    assert corner.crop.min() == 255  # it has one square only: its middle again


def test_degraded_views_are_the_squares_of_a_scan_each_in_its_turn(photo):
    untouched = Degradation(shrink=0.0, blur=0.0, encode=0.0)
    recipe = ViewRecipe(THREE, Augmentation(), 0, untouched)
    squares = views(Image.open(photo), THREE)
    met = set()
    for k in range(20):
        crop = make_view(ViewJob(photo, "photo.png", DEGRADED + k), recipe).crop
        (at,) = [i for i, square in enumerate(squares) if np.array_equal(square, crop)]
        met.add(at)
    assert met == {0, 1, 2}
    blurred = replace(recipe, degradation=replace(untouched, blur=1.0, sigma_px=(3.0, 3.0)))
    crops = [make_view(ViewJob(photo, "photo.png", DEGRADED + k), blurred).crop for k in range(6)]
    assert not any(np.array_equal(crop, squares[1]) for crop in crops)
