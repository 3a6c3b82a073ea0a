"""All pictures of a report, in the order in which pages show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from fakescan.evaluate.evaluation import EQUALISED, RAW, Evaluation
from fakescan.evaluate.pairing import Comparison
from fakescan.evaluate.plots.canvas import png
from fakescan.evaluate.plots.curves import draw_precision, draw_roc
from fakescan.evaluate.plots.robustness import draw_robustness
from fakescan.evaluate.plots.scores import draw_histograms, draw_reliability
from fakescan.evaluate.record import Report


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture."""

    name: str
    """Of its file, without a suffix."""
    title: str
    png: bytes


def pictures(report: Report) -> Iterator[Picture]:
    """Every detector's pictures; with several detectors their number stands in front."""
    is_one = len(report.evaluations) == 1
    for number, evaluation in enumerate(report.evaluations, start=1):
        for picture in pictures_of(evaluation, report.plan.comparisons):
            name = picture.name if is_one else f"{number}-{picture.name}"
            yield Picture(name, picture.title, picture.png)


def pictures_of(evaluation: Evaluation, comparisons: tuple[Comparison, ...]) -> Iterator[Picture]:
    """One detector's pictures; only what its scores can show."""
    for name, title, figure in _figures(evaluation, comparisons):
        yield Picture(name, title, png(figure))


def _figures(
    evaluation: Evaluation, comparisons: tuple[Comparison, ...]
) -> Iterator[tuple[str, str, Figure]]:
    yield "roc", "ROC curves", draw_roc(evaluation, comparisons)
    yield "precision-recall", "Precision and recall", draw_precision(evaluation, comparisons)
    yield "histograms", "Scores of fakes and reals", draw_histograms(evaluation, comparisons)
    if evaluation.is_calibrated:
        yield "reliability", "Reliability of scores", draw_reliability(evaluation)
    if set(evaluation.conditions) - {RAW, EQUALISED}:
        yield "robustness", "AP under blur and compression", draw_robustness(evaluation)
