"""What a detector's linear maps read, channel by channel, of the package's own photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.fast.file import Graph
from fakescan.image import Preprocess, normalise, open_picture, to_rgb, view
from fakescan.metadata import IMAGE, INPUT

Open = Callable[[bytes], Any]
"""An ONNX file -> a session of ONNX Runtime on the CPU."""


class Range(NamedTuple):
    """The smallest and the largest value of each channel of a tensor, (D,)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]


def measure(
    graph: Graph, names: Iterable[str], preprocess: Preprocess, open_session: Open
) -> dict[str, Range]:
    """Run twelve photographs through a detector.

    Args:
        graph: left as it is.
        names: of tensors (B, N, D).
        preprocess: how images become squares.
        open_session: of the arithmetic of the file.
    """
    wanted = list(dict.fromkeys(names))
    session = open_session(graph.with_outputs(wanted).to_bytes())
    takes_image = session.get_inputs()[0].name == IMAGE
    found: dict[str, Range] = {}
    for crop in photographs(preprocess):
        feed: dict[str, NDArray[Any]] = {IMAGE: crop}
        if not takes_image:
            feed = {INPUT: normalise(crop[np.newaxis], preprocess)}
        for name, value in zip(wanted, session.run(wanted, feed), strict=True):
            low, high = value.min(axis=(0, 1)), value.max(axis=(0, 1))
            known = found.get(name, Range(low, high))
            found[name] = Range(np.minimum(known.low, low), np.maximum(known.high, high))
    return found


def photographs(preprocess: Preprocess) -> list[NDArray[np.uint8]]:
    """The middle squares of the twelve, (S, S, 3) each."""
    folder = resources.files("fakescan") / "export" / "fixtures"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".jpg"))
    pictures = (open_picture((folder / name).read_bytes()).image for name in names)
    return [view(to_rgb(picture), preprocess) for picture in pictures]
