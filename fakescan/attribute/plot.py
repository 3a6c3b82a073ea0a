"""The confusion of generators as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fakescan.evaluate.plots.canvas import INK, blank, png, shortened


def confusion_plot(counts: NDArray[np.int_], classes: tuple[str, ...], title: str) -> bytes:
    """A square for every pair of true and called class; rows sum to 100 %.

    Args:
        counts: (C, C), rows are true.
        classes: names, C of them.
        title: above it.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = 2.2 + 0.32 * len(classes)
    figure = blank(side + 0.8, side)
    panel = figure.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(classes))
    names = [shortened(name) for name in classes]
    panel.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    labels = [f"{name}  ({int(n)})" for name, n in zip(names, totals[:, 0], strict=True)]
    panel.set_yticks(places, labels, fontsize=7.5)
    panel.tick_params(length=0, colors=INK)
    for row in places:
        for column in places:
            if counts[row, column]:
                share = shares[row, column]
                colour = "white" if share > 0.55 else INK
                text = f"{100 * share:.0f}"
                panel.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    panel.set_xlabel("called", fontsize=8.5, color=INK)
    panel.set_ylabel("true (images)", fontsize=8.5, color=INK)
    panel.set_title(shortened(title, 80), loc="left", fontsize=9, color=INK)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return png(figure)
