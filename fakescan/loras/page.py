"""The map as one HTML page: a point for each file, its name and nearest files on hover.

The page holds all it needs and may fetch nothing: its policy allows its own style and script only.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from fakescan.loras.pictures import Scene, colour
from fakescan.report.lines import json_text
from fakescan.report.table import visible

WIDTH, HEIGHT, MARGIN = 1000, 700, 30
NEAREST = 3
"""Similar files that are named with each."""


def page(shown: Scene) -> str:
    """The whole page."""
    low, high = shown.points.min(axis=0), shown.points.max(axis=0)
    scaled = (shown.points - low) / np.where(high > low, high - low, 1.0)  # (N, 2) in [0, 1]
    size = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    places = np.round(MARGIN + scaled * size, 1)
    rows = [_row(shown, i, places[i].tolist()) for i in range(len(shown.names))]
    block = json_text(rows).replace("<", "\\u003c")  # cannot end the block that it stands in
    return _template().replace("@files@", block)


def _row(shown: Scene, place: int, at: list[float]) -> dict[str, Any]:
    others = np.nan_to_num(shown.similarity[place], nan=-2.0).copy()
    others[place] = -np.inf
    order = np.argsort(-others, kind="stable")[: min(NEAREST, len(others) - 1)]
    return {
        "path": visible(shown.names[place]),
        "cluster": int(shown.labels[place]),
        "colour": colour(int(shown.labels[place])),
        "x": at[0],
        "y": at[1],
        "nearest": [
            [visible(shown.names[i]), round(float(others[i]), 4)]
            for i in order
            if others[i] >= -1.5
        ],
    }


@cache
def _template() -> str:
    style, script = _asset("map.css"), _asset("map.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text = _asset("map.html").replace("@policy@", policy)
    return text.replace("@style@", style).replace("@script@", script)


def _asset(name: str) -> str:
    return files("fakescan.loras").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()
