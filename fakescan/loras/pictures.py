"""Pictures of how files are alike: a tree, a map, and all pairs as a heatmap.

Names are cut to what fits; with more files than can be named, the map and the heatmap go without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram, leaves_list
from sklearn.manifold import TSNE

from fakescan.loras.cluster import Labels, coordinates, distances, tree
from fakescan.report.table import visible

INK, QUIET = "#222222", "#b8b8b8"
COLOURS = (
    "#1f6f8b", "#d1495b", "#edae49", "#66a182", "#7b5ea7", "#8d6e63",
    "#3b8ee0", "#e8825a", "#a3b21f", "#d17fbf", "#39424e", "#58c4bf",
)  # fmt: skip
MAX_NAMED = 80
MAX_LETTERS = 44
MIN_MAPPED = 12
"""Files from which the map is a t-SNE; the first two coordinates below it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all pictures show; N files."""

    names: Sequence[str]
    similarity: NDArray[np.float32]
    """(N, N)."""
    labels: Labels
    """Cluster of each, from 1, (N,)."""
    points: NDArray[np.float64]
    """Place on the map, (N, 2)."""


def scene(names: Sequence[str], similarity: NDArray[np.float32], labels: Labels) -> Scene:
    """Find a place on the map for each of N files."""
    return Scene(names, similarity, labels, _points(similarity))


def draw_all(shown: Scene, folder: Path) -> list[Path]:
    """Write dendrogram.png, map.png and heatmap.png; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"map.png": _map(shown), "heatmap.png": _heatmap(shown)}
    if len(shown.names) > 1:
        figures["dendrogram.png"] = _dendrogram(shown)
    for name, figure in figures.items():
        partial = folder / f".{name}.partial"
        figure.savefig(partial, dpi=120, format="png")
        partial.replace(folder / name)
    return [folder / name for name in sorted(figures)]


def colour(label: int) -> str:
    """Of a cluster."""
    return COLOURS[(label - 1) % len(COLOURS)]


def _points(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    count = len(similarity)
    if count < MIN_MAPPED:
        found = coordinates(similarity, 2)
        return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    perplexity = min(15.0, (count - 1) / 3)
    model = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=0)
    points: NDArray[np.float64] = model.fit_transform(distances(similarity)).astype(np.float64)
    return points


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    return figure, figure.subplots()


def short(name: str) -> str:
    """The end of a name, which tells files apart; never an instruction to the drawing library."""
    shown = visible(name).removesuffix(".safetensors")
    cut = shown if len(shown) <= MAX_LETTERS else "…" + shown[1 - MAX_LETTERS :]
    return cut.replace("$", r"\$")


def _dendrogram(shown: Scene) -> Figure:
    count = len(shown.names)
    figure, axes = _figure(10.0, max(2.5, min(60.0, 0.22 * count + 1.2)))
    joined = tree(shown.similarity)
    names = [short(name) for name in shown.names]
    dendrogram(
        joined, orientation="left", labels=names, ax=axes, link_color_func=lambda _: "#777777"
    )
    axes.set_xlabel("1 - similarity", fontsize=9, color=INK)
    _finish(axes, "Which files are alike: joined further right is more alike")
    for text, place in zip(axes.get_yticklabels(), leaves_list(joined), strict=True):
        text.set_color(colour(int(shown.labels[place])))
        text.set_fontsize(8 if count <= 200 else 4)
    return figure


def _map(shown: Scene) -> Figure:
    figure, axes = _figure(9.0, 8.0)
    for label in np.unique(shown.labels):
        places = shown.labels == label
        axes.scatter(
            shown.points[places, 0],
            shown.points[places, 1],
            s=46,
            color=colour(int(label)),
            edgecolors="white",
            linewidths=0.8,
            label=f"cluster {label}",
        )
    if len(shown.names) <= MAX_NAMED // 2:
        for name, point in zip(shown.names, shown.points, strict=True):
            axes.annotate(
                short(name), (point[0], point[1]), xytext=(5, 4), textcoords="offset points",
                fontsize=7, color=INK,
            )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.12)
    if len(np.unique(shown.labels)) <= len(COLOURS):
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _finish(axes, "Map: near files are alike; how far apart distant ones lie means nothing")
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    return figure


def _heatmap(shown: Scene) -> Figure:
    count = len(shown.names)
    order = np.lexsort((np.arange(count), shown.labels))
    if count > 1:
        rank = np.empty(count, int)
        rank[leaves_list(tree(shown.similarity))] = np.arange(count)
        order = np.lexsort((rank, shown.labels))
    side = max(5.0, min(13.0, 0.17 * count + 3.5))
    figure, axes = _figure(side + 0.8, side)
    values = shown.similarity[np.ix_(order, order)]
    limit = _limit(values)
    image = axes.imshow(values, vmin=-limit, vmax=limit, cmap="RdBu_r", interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.6, label="similarity", extend="both")
    if count <= MAX_NAMED:
        names = [short(shown.names[place]) for place in order]
        axes.set_xticks(range(count), names, rotation=90, fontsize=7)
        axes.set_yticks(range(count), names, fontsize=7)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    bounds = np.flatnonzero(np.diff(shown.labels[order])) + 0.5
    for bound in bounds:
        axes.axhline(bound, color=INK, linewidth=0.6)
        axes.axvline(bound, color=INK, linewidth=0.6)
    _finish(axes, "All pairs; lines divide clusters")
    return figure


def _limit(values: NDArray[np.float32]) -> float:
    """Similarity with the full colour: most pairs of different files lie below it."""
    others = np.abs(values[~np.eye(len(values), dtype=bool)])
    others = others[~np.isnan(others)]
    return max(0.1, float(np.quantile(others, 0.98))) if len(others) else 1.0


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
