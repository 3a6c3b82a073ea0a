"""One look for all pictures: colours, grids of small panels, PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, QUIET, LINE = "#1b1d21", "#8a8f98", "#e2e2de"
REAL, FAKE, UNCERTAIN = "#1f7a74", "#c8372d", "#c98a00"
"""As on the page of a scan."""
PALETTE = ("#1f6f8b", "#d1495b", "#edae49", "#66a182", "#7b5ea7", "#8d6e63", "#4c78a8", "#e377c2")
DPI = 110
COLUMNS = 4
PANEL_IN = 2.5
"""Side of a small panel, in inches."""
TITLE_CHARACTERS = 30


def blank(width_in: float, height_in: float) -> Figure:
    """A figure that nothing but this module's PNG needs."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    return figure


def grid(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with so many small panels; places left over are empty."""
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = blank(max(2, columns) * PANEL_IN, rows * (PANEL_IN + 0.25) + 0.7)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def finish(panel: Axes, title: str, *, subtitle: str = "") -> None:
    """Title, grid and frame, all in the same way."""
    text = shortened(title) + (f"\n{subtitle}" if subtitle else "")
    panel.set_title(text, loc="left", fontsize=8.5, color=INK)
    panel.tick_params(labelsize=7.5, colors=INK)
    panel.grid(visible=True, color=LINE, linewidth=0.7)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(QUIET)


def shortened(text: str, most: int = TITLE_CHARACTERS) -> str:
    """Text as it is drawn: `$` starts no formula, and what is too long ends in an ellipsis."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The picture; the same figures give the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=DPI, format="png", metadata={"Software": None})
    return stream.getvalue()
