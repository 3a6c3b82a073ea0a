"""What scores look like: histograms by row, and the reliability diagram."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fakescan.evaluate.benchmark import places_of
from fakescan.evaluate.evaluation import RAW, Condition, Evaluation
from fakescan.evaluate.metrics import ECE_BINS, even_classes, weighted_ece
from fakescan.evaluate.pairing import Comparison
from fakescan.evaluate.plots.canvas import (
    FAKE,
    INK,
    PALETTE,
    QUIET,
    REAL,
    UNCERTAIN,
    blank,
    finish,
    grid,
)
from fakescan.evaluate.record import percent

BINS = 20
Floats = NDArray[np.float64]


def draw_histograms(evaluation: Evaluation, comparisons: tuple[Comparison, ...]) -> Figure:
    """Scores of fakes and reals, all of them first, then row by row; thresholds drawn."""
    condition = evaluation.conditions[RAW]
    rows = {row.source for row in evaluation.raw.rows}
    labels, scores = _labels(condition), condition.called.scores
    parts = [("all images", np.arange(len(labels)))]
    for comparison in comparisons:
        places = places_of(condition.table, comparison)
        if comparison.name in rows and places is not None:
            parts.append((comparison.name, places))
    parts = parts[1:] if len(parts) == 2 else parts  # one row is all there is
    is_share = condition.called.is_probability
    low, high = (0.0, 1.0) if is_share else (float(scores.min()), float(scores.max()))
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    figure, panels = grid(len(parts))
    for panel, (name, places) in zip(panels, parts, strict=True):
        _histogram(panel, labels[places], scores[places], edges)
        _thresholds(panel, evaluation)
        fakes = int(labels[places].sum())
        finish(panel, name, subtitle=f"{fakes} fakes, {len(places) - fakes} reals")
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper right", ncols=4, fontsize=8, frameon=False)
    figure.supxlabel("score", fontsize=8.5, color=INK)
    figure.supylabel("share of the class", fontsize=8.5, color=INK)
    return figure


def draw_reliability(evaluation: Evaluation) -> Figure:
    """Share of fakes among images of a like score, over that score; classes weighed alike."""
    condition = evaluation.conditions[RAW]
    labels, scores = _labels(condition), condition.called.scores
    weights = even_classes(labels, np.ones((1, len(labels))))
    place = np.minimum((scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    total, fakes, sums = (
        np.bincount(place, weights=weights[0] * values, minlength=ECE_BINS)
        for values in (np.ones(len(labels)), labels, scores)
    )
    is_full = total > 0
    figure = blank(5.2, 5.6)
    top, bottom = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    top.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1, label="calibrated")
    top.plot(
        sums[is_full] / total[is_full],
        fakes[is_full] / total[is_full],
        "o-",
        color=PALETTE[0],
        markersize=5,
        label=f"{ECE_BINS} bins of equal width",
    )
    top.set_ylim(-0.02, 1.02)
    top.set_ylabel("share of fakes", fontsize=8.5, color=INK)
    top.legend(fontsize=8, frameon=False, loc="lower right")
    error = float(weighted_ece(labels, scores, weights)[0])
    finish(top, "Reliability", subtitle=f"ECE {percent(error)} over all images, classes 1:1")
    shares, middles = total / total.sum(), (np.arange(ECE_BINS) + 0.5) / ECE_BINS
    bottom.bar(middles, shares, width=0.9 / ECE_BINS, color=PALETTE[0], alpha=0.6)
    bottom.set_xlabel("score", fontsize=8.5, color=INK)
    bottom.set_ylabel("share of images", fontsize=8.5, color=INK)
    bottom.set_xlim(-0.02, 1.02)
    finish(bottom, "")
    return figure


def _histogram(panel: Axes, labels: NDArray[np.int_], scores: Floats, edges: Floats) -> None:
    for label, colour, name in ((0, REAL, "reals"), (1, FAKE, "fakes")):
        own = scores[labels == label]
        weights = np.full(len(own), 1 / max(1, len(own)))
        panel.hist(own, edges.tolist(), weights=weights, color=colour, alpha=0.55, label=name)


def _thresholds(panel: Axes, evaluation: Evaluation) -> None:
    t_fake, t_real = evaluation.t_fake, evaluation.t_real
    if t_fake is None or t_real is None:
        return
    panel.axvline(t_fake, color=INK, linewidth=1, label="fake from here")
    if t_real < t_fake:
        panel.axvline(t_real, color=UNCERTAIN, linewidth=1, linestyle="--", label="uncertain from")


def _labels(condition: Condition) -> NDArray[np.int_]:
    return np.array([s.label for s in condition.table.samples])
