"""What is drawn: read off the figures, and once rendered."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fakescan.evaluate.evaluation import RAW
from fakescan.evaluate.pictures import pictures
from fakescan.evaluate.plots.canvas import png
from fakescan.evaluate.plots.curves import draw_precision, draw_roc
from fakescan.evaluate.plots.robustness import draw_robustness
from fakescan.evaluate.plots.scores import draw_histograms, draw_reliability
from fakescan.evaluate.record import Report

ALL = ["roc", "precision-recall", "histograms", "reliability", "robustness"]


@pytest.fixture(scope="module")
def evaluation(report):
    return report.evaluations[0]


def test_every_picture_is_a_png_with_ink(report):
    found = list(pictures(report))
    assert [picture.name for picture in found] == ALL
    for picture in found:
        image = Image.open(io.BytesIO(picture.png)).convert("L")
        assert min(image.size) > 300
        assert np.asarray(image).std() > 10


def test_only_what_scores_can_show_is_drawn(report, evaluation):
    bare = replace(evaluation, is_calibrated=False, conditions={RAW: evaluation.conditions[RAW]})
    both = Report(report.conditions, report.plan, (bare, bare))
    names = [f"{i}-{name}" for i in (1, 2) for name in ALL[:3]]
    assert [picture.name for picture in pictures(both)] == names


def test_the_area_under_a_drawn_roc_curve_is_the_stated_auc(report, evaluation):
    figure = draw_roc(evaluation, report.plan.comparisons)
    for panel, row in zip(figure.get_axes(), evaluation.raw.rows, strict=False):
        (line,) = [drawn for drawn in panel.get_lines() if drawn.get_label() == RAW]
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(row.figures.auc.value)
        assert f"AUC {100 * row.figures.auc.value:.1f}, 12 fakes" in panel.get_title(loc="left")


def test_the_area_under_a_drawn_precision_curve_is_the_stated_ap(report, evaluation):
    figure = draw_precision(evaluation, report.plan.comparisons)
    for panel, row in zip(figure.get_axes(), evaluation.raw.rows, strict=False):
        (line,) = [drawn for drawn in panel.get_lines() if drawn.get_label() == RAW]
        x, y = line.get_data()
        assert np.diff(x) @ y[1:] == pytest.approx(row.figures.ap.value)


def test_histograms_hold_every_image_and_both_thresholds(report, evaluation):
    figure = draw_histograms(evaluation, report.plan.comparisons)
    assert len(figure.get_axes()) == 4  # all images and three rows
    for panel in figure.get_axes():
        assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(2)  # a 1 per class
        assert {line.get_xdata()[0] for line in panel.get_lines()} == {0.8, 0.3}


def test_the_reliability_diagram_has_the_share_of_fakes_in_each_bin(evaluation):
    figure = draw_reliability(evaluation)
    top, bottom = figure.get_axes()
    assert sum(bar.get_height() for bar in bottom.patches) == pytest.approx(1)
    points = top.get_lines()[1].get_xydata()
    condition = evaluation.conditions[RAW]
    labels = np.array([s.label for s in condition.table.samples])
    scores = condition.called.scores
    last = scores >= 14 / 15
    fakes = labels[last].sum() / 36
    reals = (1 - labels[last]).sum() / 12
    assert points[-1] == pytest.approx(
        (np.average(scores[last], weights=np.where(labels[last], 1 / 36, 1 / 12)),
         fakes / (fakes + reals))
    )  # fmt: skip


def test_robustness_has_a_line_per_family_and_the_mean(evaluation):
    figure = draw_robustness(evaluation)
    blur, jpeg = figure.get_axes()
    assert [t.get_text() for t in blur.get_xticklabels()] == ["none", "1", "2", "3", "4"]
    assert [t.get_text() for t in jpeg.get_xticklabels()][:2] == ["none", "90"]
    *families, mean = jpeg.get_lines()
    assert [line.get_label() for line in families] == ["<b>diffusion</b>", "GAN"]
    ap = evaluation.conditions["jpeg:50"].benchmark.mean.ap.value
    assert mean.get_ydata()[5] == pytest.approx(ap)
    assert png(figure)[:4] == b"\x89PNG"


def test_a_dollar_in_a_name_is_no_formula(report, evaluation):
    rows = tuple(replace(c, name="a $x^{ b") for c in report.plan.comparisons[:1])
    benchmark = replace(evaluation.raw, rows=(replace(evaluation.raw.rows[0], source="a $x^{ b"),))
    condition = replace(evaluation.conditions[RAW], benchmark=benchmark)
    assert png(draw_roc(replace(evaluation, conditions={RAW: condition}), rows))
