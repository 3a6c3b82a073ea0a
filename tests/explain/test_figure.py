import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fakescan.explain.colours import FAKE, REAL, cells, heat
from fakescan.explain.explanation import Explanation, Routing
from fakescan.explain.figure import COLUMNS_PX, FULL_LOGIT, PANEL_PX, TOP_PX, UNSEEN, figure
from fakescan.explain.frame import Frame
from fakescan.explain.sheet import shortened, text_width
from fakescan.records import Finding, Verdict

FINDING = Finding(
    path="a.png", verdict=Verdict.FAKE, score=0.9, logit=2.0, width=80, height=40, detector="tiny@0"
)
CROP = np.full((16, 16, 3), 128, np.uint8)
FRAME = Frame(np.full((40, 80, 3), 200, np.uint8), (0.25, 0.0, 0.75, 1.0))
ROUTING = Routing("block 1", ("rank 4", "none"), (0.25, 0.75), np.array([[0, 1], [1, 1]]))


def explanation(patches=((0.0, 0.0), (0.0, 0.0)), method="graph", routings=(), squares=1):
    patches = np.array(patches, np.float32)
    return Explanation(patches, method, tuple(routings), logit=FINDING.logit, squares=squares)


def drawn(explained, finding=FINDING, frame=FRAME):
    image = Image.open(io.BytesIO(figure(finding, CROP, frame, explained)))
    assert image.format == "PNG"
    assert image.info == {}  # no metadata
    return np.asarray(image).astype(int)


def patch(pixels, row, column):
    """Mean colour of the middle of one of 2 x 2 patches of the heatmap."""
    half = PANEL_PX // 2
    top, left = TOP_PX + row * half, COLUMNS_PX[2] + column * half
    return pixels[top + 40 : top + half - 40, left + 40 : left + half - 40].mean(axis=(0, 1))


def test_red_speaks_for_fake_and_blue_for_real():
    full = FULL_LOGIT / 4  # of 2 x 2 patches
    pixels = drawn(explanation(((full, -full), (0, full / 4))))
    red, blue, none, pale = (patch(pixels, *place) for place in ((0, 0), (0, 1), (1, 0), (1, 1)))
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80
    assert np.ptp(none) == 0
    assert 0 < pale[0] - pale[2] < (red[0] - red[2]) / 2


def test_a_figure_of_one_of_several_squares_says_so():
    assert not np.array_equal(drawn(explanation()), drawn(explanation(squares=3)))


def test_the_same_value_has_the_same_colour_in_every_figure():
    alone = patch(drawn(explanation(((0.5, 0), (0, 0)))), 0, 0)
    beside = patch(drawn(explanation(((0.5, 2), (-2, 2)))), 0, 0)
    np.testing.assert_array_equal(alone, beside)


def test_colours_do_not_grow_beyond_full_strength():
    grey = np.full((2, 2, 3), 128, np.uint8)
    strength = np.array([[1.0, 50.0], [-1.0, -50.0]])
    shown = heat(grey, strength)
    np.testing.assert_array_equal(shown[:, 0], shown[:, 1])
    assert np.abs(shown[0, 0].astype(int) - FAKE).max() < 40
    assert np.abs(shown[1, 0].astype(int) - REAL).max() < 40


def test_what_was_not_seen_is_dark():
    pixels = drawn(explanation())
    row = pixels[TOP_PX + 80, COLUMNS_PX[0] : COLUMNS_PX[0] + PANEL_PX]
    assert row[20].tolist() == [int(200 * UNSEEN)] * 3
    assert row[PANEL_PX // 2].tolist() == [200] * 3
    assert row[-20].tolist() == [int(200 * UNSEEN)] * 3


@pytest.mark.parametrize("box", [(-0.5, -2.0, 1.5, 3.0), (0.0, 0.4999, 1.0, 0.5), (1, 1, 1, 1)])
def test_a_padded_or_a_thin_box_can_be_drawn(box):
    drawn(explanation(), frame=Frame(np.zeros((1, 300, 3), np.uint8), box))


def test_experts_are_drawn_below_and_only_when_there_are_any():
    without = drawn(explanation())
    one = drawn(explanation(routings=[ROUTING]))
    many = drawn(explanation(routings=[ROUTING] * 15))
    assert len(without) < len(one) < len(many)
    np.testing.assert_array_equal(one[: len(without) - 50], without[: len(without) - 50])


def test_many_experts_fit_in_a_row():
    width = 12
    routing = Routing("r", ("rank 1",) * width, (1 / width,) * width, np.zeros((2, 2), int))
    drawn(explanation(routings=[routing]))


def test_a_figure_is_the_same_every_time():
    arguments = FINDING, CROP, FRAME, explanation(routings=[ROUTING])
    assert figure(*arguments) == figure(*arguments)


def test_the_method_shows():
    graph, occlusion = drawn(explanation()), drawn(explanation(method="occlusion"))
    assert (graph != occlusion).any()


@pytest.mark.parametrize("path", ["new\nline\x1b[31m", "caf\udce9.png", "中文.png", "x" * 500, ""])
def test_any_path_can_be_written(path):
    drawn(explanation(), replace(FINDING, path=path))


def test_of_a_long_text_the_end_stays():
    short = shortened("a/" * 200 + "end.png", 22, 300)
    assert short.startswith("...")
    assert short.endswith("end.png")
    assert text_width(short, 22) <= 300
    assert shortened("end.png", 22, 300) == "end.png"


@pytest.mark.parametrize("side", [1, 5, 14, 30])
def test_every_cell_is_shown(side):
    values = np.arange(side * side).reshape(side, side)
    shown = cells(values, PANEL_PX)
    assert shown.shape == (PANEL_PX, PANEL_PX)
    assert set(shown.ravel()) == set(range(side * side))
    assert shown[0, -1] == side - 1
