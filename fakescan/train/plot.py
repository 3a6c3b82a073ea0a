"""loss.png: what the journal says, at one look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fakescan.train.journal import Record

INK, QUIET = "#222222", "#b8b8b8"
REAL_COLOURS = ("#1f6f8b", "#d1495b", "#edae49", "#66a182", "#7b5ea7", "#8d6e63")


def draw_losses(records: Sequence[Record], path: Path) -> None:
    """Write the picture; nothing is drawn of what the journal lacks."""
    steps = [r for r in records if r["kind"] == "step"]
    epochs = [r for r in records if r["kind"] == "epoch"]
    routers = list(steps[-1]["usage"]) if steps else []
    columns = max(2, len(routers))
    figure = Figure(figsize=(max(9.0, 3.2 * columns), 8.4 if routers else 4.6))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    rows = figure.subfigures(2 if routers else 1, 1, squeeze=False)[:, 0]
    top = rows[0].subplots(1, 3 if routers else 2)
    _draw_bce(top[0], steps, epochs)
    _draw_validation(top[1], epochs)
    if routers:
        _draw_balance(top[2], steps, len(routers))
        rows[1].suptitle("Tokens by expert, for each router", color=INK, fontsize=10)
        axes = rows[1].subplots(1, len(routers), sharey=True, squeeze=False)[0]
        for axis, router in zip(axes, routers, strict=True):
            _draw_usage(axis, steps, router)
    partial = path.with_suffix(".partial")
    figure.savefig(partial, dpi=110, format="png")
    partial.replace(path)


def _draw_bce(axis: Axes, steps: Sequence[Record], epochs: Sequence[Record]) -> None:
    x, y = _series(steps, "bce")
    axis.plot(x, y, color=QUIET, linewidth=0.7, label="each step")
    axis.plot(x, _smooth(y), color=REAL_COLOURS[0], linewidth=1.8, label="running mean")
    if epochs:
        at = [r["step"] for r in epochs]
        axis.plot(
            at,
            [r["validation"]["loss"] for r in epochs],
            "o-",
            color=REAL_COLOURS[1],
            markersize=4,
            label="held-out sources",
        )
    axis.set_ylim(bottom=0)
    _finish(axis, "BCE")


def _draw_validation(axis: Axes, epochs: Sequence[Record]) -> None:
    at = [r["step"] for r in epochs]
    names = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "pair_auc": "AUC, pairs"}
    for (key, label), colour in zip(names.items(), REAL_COLOURS, strict=False):
        values = [r["validation"].get(key) for r in epochs]
        if any(value is not None for value in values):
            axis.plot(at, values, "o-", color=colour, markersize=4, label=label)
    for record in [r for r in epochs if r["is_best"]][-1:]:
        axis.axvline(record["step"], color=QUIET, linestyle=":", label="kept")
    _finish(axis, "Held-out sources")


def _draw_balance(axis: Axes, steps: Sequence[Record], routers: int) -> None:
    x, y = _series(steps, "load_balance")
    axis.plot(x, y, color=QUIET, linewidth=0.7)
    axis.plot(x, _smooth(y), color=REAL_COLOURS[0], linewidth=1.8)
    axis.axhline(routers, color=INK, linestyle=":", linewidth=1, label="all experts used alike")
    _finish(axis, "Load balance")


def _draw_usage(axis: Axes, steps: Sequence[Record], router: str) -> None:
    x = np.array([r["step"] for r in steps])
    shares = np.array([r["usage"][router] for r in steps]).T  # (W, steps)
    smooth = np.stack([_smooth(share) for share in shares])
    labels = [f"expert {i + 1}" for i in range(len(smooth))]
    axis.stackplot(x, smooth, colors=REAL_COLOURS, alpha=0.85, labels=labels)
    axis.set_ylim(0, 1)
    _finish(axis, f"block {router}", legend=router == next(iter(steps[-1]["usage"])))
    axis.grid(visible=False)


def _series(steps: Sequence[Record], key: str) -> tuple[list[int], NDArray[np.float64]]:
    return [r["step"] for r in steps], np.array([r[key] for r in steps], np.float64)


def _smooth(values: NDArray[Any]) -> NDArray[np.float64]:
    """Centred running mean over a twentieth of the run; shorter at the ends."""
    half = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    out: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return out


def _finish(axis: Axes, title: str, *, legend: bool = True) -> None:
    axis.set_title(title, loc="left", fontsize=10, color=INK)
    axis.set_xlabel("step", fontsize=8, color=INK)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.tick_params(labelsize=8, colors=INK)
    axis.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if legend and axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False, loc="best")
