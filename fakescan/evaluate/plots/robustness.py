"""AP under blur and JPEG: a line per family, and the mean over rows.

Source of the layout: the MoLE paper, figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fakescan.evaluate.benchmark import Benchmark
from fakescan.evaluate.evaluation import RAW, Evaluation
from fakescan.evaluate.plots.canvas import INK, PALETTE, blank, finish, shortened

NAMES = {"blur": "Gaussian blur, sigma in pixels", "jpeg": "JPEG quality"}
NONE = "none"
"""Where the images as they are stand on the axis."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST = 16
"""Lines that can still be told apart; of more families only the mean is drawn."""


def draw_robustness(evaluation: Evaluation) -> Figure:
    """Two panels, weakest perturbation on the left."""
    figure = blank(9.6, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, kind in zip(panels, NAMES, strict=True):
        names = [RAW, *(name for name in evaluation.conditions if name.startswith(f"{kind}:"))]
        _draw(panel, [evaluation.conditions[name].benchmark for name in names])
        labels = [NONE, *(name.partition(":")[2] for name in names[1:])]
        panel.set_xticks(range(len(names)), labels)
        panel.set_xlabel(NAMES[kind], fontsize=8.5, color=INK)
        finish(panel, "")
    panels[0].set_ylabel("AP at as many reals as fakes", fontsize=8.5, color=INK)
    lines = [line for line in panels[0].get_lines() if isinstance(line, Line2D)]
    figure.legend(
        lines, [str(line.get_label()) for line in lines], loc="outside right center", fontsize=8,
        frameon=False,
    )  # fmt: skip
    return figure


def _draw(panel: Axes, benchmarks: Sequence[Benchmark]) -> None:
    families = [row.source for row in benchmarks[0].families]
    if 1 < len(families) <= MOST:
        for i, family in enumerate(families):
            values = [_family_ap(benchmark, family) for benchmark in benchmarks]
            panel.plot(
                values,
                color=PALETTE[i % len(PALETTE)],
                marker=MARKERS[(i // len(PALETTE) + i) % len(MARKERS)],
                markersize=4,
                linewidth=1.2,
                label=shortened(family),
            )
    means = [benchmark.mean.ap for benchmark in benchmarks]
    panel.fill_between(
        range(len(means)), [m.low for m in means], [m.high for m in means], color=INK, alpha=0.08
    )
    panel.plot([m.value for m in means], color=INK, linewidth=2.4, label="mean, with 95 % interval")


def _family_ap(benchmark: Benchmark, family: str) -> float:
    return next(row.figures.ap.value for row in benchmark.families if row.source == family)
