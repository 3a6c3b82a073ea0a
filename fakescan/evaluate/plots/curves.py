"""ROC and precision-recall curves: a small panel per row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fakescan.evaluate.benchmark import Row, ScoreTable, places_of
from fakescan.evaluate.evaluation import EQUALISED, RAW, Evaluation
from fakescan.evaluate.metrics import Steps, ranked
from fakescan.evaluate.pairing import Comparison
from fakescan.evaluate.plots.canvas import FAKE, INK, QUIET, finish, grid
from fakescan.evaluate.record import percent

STYLES = {RAW: (FAKE, "-", 1.6), EQUALISED: (INK, "--", 1.1)}
"""Colour, dashes and width of each condition's curve."""
Draw = Callable[[Axes, Steps, str], None]


def draw_roc(evaluation: Evaluation, comparisons: tuple[Comparison, ...]) -> Figure:
    """Share of fakes found over share of reals called fake."""
    figure = _panels(evaluation, comparisons, _roc, "auc", "AUC")
    figure.supxlabel("share of reals called fake", fontsize=8.5, color=INK)
    figure.supylabel("share of fakes found", fontsize=8.5, color=INK)
    return figure


def draw_precision(evaluation: Evaluation, comparisons: tuple[Comparison, ...]) -> Figure:
    """Precision over the share of fakes found, as if there were as many reals as fakes."""
    figure = _panels(evaluation, comparisons, _precision, "ap", "AP 1:1")
    figure.supxlabel("share of fakes found (recall)", fontsize=8.5, color=INK)
    figure.supylabel("precision at as many reals as fakes", fontsize=8.5, color=INK)
    return figure


def _panels(
    evaluation: Evaluation,
    comparisons: tuple[Comparison, ...],
    draw: Draw,
    figure_name: str,
    label: str,
) -> Figure:
    rows = {row.source: row for row in evaluation.raw.rows}
    chosen = [c for c in comparisons if c.name in rows]
    figure, panels = grid(len(chosen))
    for panel, comparison in zip(panels, chosen, strict=True):
        for name, steps in _steps(evaluation, comparison):
            draw(panel, steps, name)
        panel.set_xlim(-0.02, 1.02)
        panel.set_ylim(-0.02, 1.04)
        finish(
            panel, comparison.name, subtitle=_subtitle(rows[comparison.name], figure_name, label)
        )
    lines, labels = panels[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(lines, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    return figure


def _subtitle(row: Row, name: str, label: str) -> str:
    value = percent(getattr(row.figures, name).value)
    return f"{label} {value}, {row.fakes} fakes, {row.reals} reals"


def _steps(evaluation: Evaluation, comparison: Comparison) -> Iterator[tuple[str, Steps]]:
    for name in STYLES:
        if name in evaluation.conditions:
            table: ScoreTable = evaluation.conditions[name].table
            places = places_of(table, comparison)
            if places is not None:
                labels = np.array([table.samples[i].label for i in places])
                yield name, ranked(labels, table.logits[places], np.ones((1, len(places))))


def _roc(panel: Axes, steps: Steps, name: str) -> None:
    colour, dashes, width = STYLES[name]
    if name == RAW:
        panel.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    x, y = (np.append(0.0, values[0]) for values in (steps.fpr, steps.tpr))
    panel.plot(x, y, color=colour, linestyle=dashes, linewidth=width, label=name)


def _precision(panel: Axes, steps: Steps, name: str) -> None:
    colour, dashes, width = STYLES[name]
    if name == RAW:
        panel.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    tpr, fpr = steps.tpr[0], steps.fpr[0]  # (T,)
    precision = tpr / (tpr + fpr)
    x, y = np.append(0.0, tpr), np.append(precision[:1], precision)
    panel.step(x, y, where="pre", color=colour, linestyle=dashes, linewidth=width, label=name)
