"""An image of any size -> the squares that the detector sees, as ONNX nodes.

Follows `fakescan.image` to the pixel, resampling as Pillow does it: for each axis a matrix of
bicubic weights, stretched where the image shrinks so that nothing is skipped (antialiasing), then
rounded to whole grey levels, which makes the order of the axes matter: Pillow 13 begins with the
height where that loses more than twice as many pixels; earlier ones never do. The graph computes
the matrices from the image's size, and multiplies only what a square needs. ONNX's own `Resize`
would do, but runtimes disagree on its `antialias`.

Source: Pillow, `src/libImaging/Resample.c`: `precompute_coeffs`, `bicubic_filter`.

Shapes: H, W height and width of the image, S side of a square, K squares, n pixels that a square
needs along an axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from fakescan.export.nodes import Nodes
from fakescan.image import MAX_ASPECT, MAX_SHARED, Preprocess
from fakescan.metadata import IMAGE

SUPPORT = 2
"""Reach of the bicubic filter, in pixels of the coarser side."""
LEAST_SUM = 1e-6
"""No row of weights sums to less; guards the division of rows that do not exist."""


class Axis(NamedTuple):
    """One side of the image, from the pixels in memory to the pixels that squares are cut from.

    Names of int64 scalars.
    """

    first: str
    """Pixel of the image where what is looked at begins."""
    given: str
    """Pixels from there on."""
    fitted: str
    """Pixels that they become."""
    starts: tuple[str, str, str]
    """Where the middle, the first and the last square begin."""


class Weights(NamedTuple):
    """How the pixels `low` to `high` of an axis make the S of a square."""

    low: str
    high: str
    matrix: str
    """(S, n) float32."""


class SquareWriter:
    """Writes nodes from the graph's input `image`, (H, W, 3) uint8 RGB, upright."""

    def __init__(self, nodes: Nodes, preprocess: Preprocess) -> None:
        self.nodes = nodes
        self.preprocess = preprocess
        self.px = preprocess.image_px

    def write(self) -> str:
        """(K, 3, S, S) float32, normalised; the middle square first."""
        n = self.nodes
        size = n.op("Shape", IMAGE)
        height, width = (n.op("Gather", size, self._int(i), axis=0) for i in (0, 1))
        short = n.op("Min", height, width)
        rows, columns = (self._axis(side, short) for side in (height, width))
        places = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 1))[: self.preprocess.crops]  # row, column
        down = {i: self._weights(rows, i) for i in sorted({i for i, _ in places})}
        across = {j: self._weights(columns, j) for j in sorted({j for _, j in places})}
        axis = n.shape(0)
        squares = [self._square(rows, columns, down[i], across[j]) for i, j in places]
        stacked = n.op("Concat", *(n.op("Unsqueeze", square, axis) for square in squares), axis=0)
        if len(places) > 1:
            count = n.op("Unsqueeze", self._count(rows, columns), axis)
            stacked = n.op("Slice", stacked, axis, count, axis)
        return stacked

    def _int(self, value: int) -> str:
        return self.nodes.constant(np.array(value, np.int64))

    def _double(self, value: float) -> str:
        return self.nodes.constant(np.array(value, np.float64))

    def _axis(self, side: str, short: str) -> Axis:
        n, geometry = self.nodes, self.preprocess.geometry
        if geometry == "pad":
            return Axis(self._int(0), side, side, self._starts(side))
        given = n.op("Min", side, n.op("Mul", short, self._int(MAX_ASPECT)))
        first = n.op("Div", n.op("Sub", side, given), self._int(2))
        fitted = self._scaled(given, short)
        if geometry == "crop":
            is_small = n.op("Less", short, self._int(self.px))
            first = n.op("Where", is_small, first, self._int(0))
            given = n.op("Where", is_small, given, side)
            fitted = n.op("Where", is_small, fitted, side)
        return Axis(first, given, fitted, self._starts(fitted))

    def _scaled(self, side: str, short: str) -> str:
        """Pixels of a side when the shorter one is S, with Python's own float64 and rounding."""
        n = self.nodes
        exact, least = (n.op("Cast", value, to=TensorProto.DOUBLE) for value in (side, short))
        scaled = n.op("Round", n.op("Mul", exact, n.op("Div", self._double(self.px), least)))
        return n.op("Max", n.op("Cast", scaled, to=TensorProto.INT64), self._int(self.px))

    def _starts(self, fitted: str) -> tuple[str, str, str]:
        n, two = self.nodes, self._int(2)
        space = n.op("Sub", fitted, self._int(self.px))
        middle = n.op("Div", space, two)
        if self.preprocess.geometry != "pad":
            return middle, self._int(0), space
        below = n.op("Neg", n.op("Div", n.op("Sub", self._int(1), space), two))  # rounds down
        middle = n.op("Where", n.op("Less", space, self._int(0)), below, middle)
        return middle, n.op("Min", middle, self._int(0)), n.op("Max", middle, space)

    def _count(self, rows: Axis, columns: Axis) -> str:
        """Squares to look at: one where the corners would show little new."""
        n = self.nodes
        shares = []
        for axis in (columns, rows):
            moved = n.op("Sub", axis.starts[2], axis.starts[0])
            moved = n.op("Cast", moved, to=TensorProto.DOUBLE)
            kept = n.op("Sub", self._double(1), n.op("Div", moved, self._double(self.px)))
            shares.append(n.op("Max", kept, self._double(0)))
        is_new = n.op("Less", n.op("Mul", *shares), self._double(MAX_SHARED))
        return n.op("Where", is_new, self._int(self.preprocess.crops), self._int(1))

    def _weights(self, axis: Axis, place: int) -> Weights:
        """How one of the three places along an axis is made."""
        n = self.nodes
        steps = n.constant(np.arange(self.px, dtype=np.int64))
        targets = n.op("Add", axis.starts[place], steps)  # (S,)
        if self.preprocess.geometry == "pad":
            last = n.op("Add", axis.starts[place], self._int(self.px))
            low = n.op("Max", axis.starts[place], self._int(0))
            high = n.op("Min", last, axis.given)
            is_there = n.op("Equal", self._column(targets), self._range(low, high))
            return Weights(low, high, n.op("Cast", is_there, to=TensorProto.FLOAT))
        # The centre of a target pixel is whole + part, split in integers: exact for any size.
        over = n.op("Add", n.op("Mul", targets, self._int(2)), self._int(1))
        over = n.op("Mul", over, axis.given)
        under = n.op("Mul", axis.fitted, self._int(2))
        whole = n.op("Div", over, under)  # (S,)
        left = n.op("Sub", over, n.op("Mul", whole, under))
        part = n.op("Div", self._float(left), self._float(under))  # (S,)
        low, high = self._reach(axis, whole)
        away = n.op("Sub", self._range(low, high), self._column(whole))  # (S, n)
        away = n.op("Sub", self._float(away), self._column(part))
        shrink = n.op("Div", self._float(axis.fitted), self._float(axis.given))
        shrink = n.op("Min", shrink, n.number(1))
        weights = self._bicubic(n.op("Mul", n.op("Add", away, n.number(0.5)), shrink))
        total = n.op("Max", n.op("ReduceSum", weights, n.shape(1), keepdims=1), n.number(LEAST_SUM))
        return Weights(low, high, n.op("Div", weights, total))

    def _reach(self, axis: Axis, whole: str) -> tuple[str, str]:
        """First pixel, and the one after the last, that the S targets take something from."""
        n, one = self.nodes, self._int(1)
        longer = n.op("Mul", n.op("Max", axis.given, axis.fitted), self._int(SUPPORT))
        support = n.op("Add", n.op("Div", longer, axis.fitted), self._int(2))
        first, last = (n.op("Gather", whole, self._int(i), axis=0) for i in (0, self.px - 1))
        low = n.op("Max", n.op("Sub", first, support), self._int(0))
        high = n.op("Min", n.op("Add", n.op("Add", last, support), one), axis.given)
        return low, high

    def _bicubic(self, x: str) -> str:
        """Keys' filter with a = -0.5."""
        n = self.nodes
        x = n.op("Abs", x)
        near = n.op("Sub", n.op("Mul", x, n.number(1.5)), n.number(2.5))
        near = n.op("Add", n.op("Mul", n.op("Mul", near, x), x), n.number(1))
        far = n.op("Add", n.op("Mul", n.op("Sub", x, n.number(5)), x), n.number(8))
        far = n.op("Sub", n.op("Mul", far, x), n.number(4))
        far = n.op("Mul", far, n.number(-0.5))
        far = n.op("Where", n.op("Less", x, n.number(SUPPORT)), far, n.number(0))
        return n.op("Where", n.op("Less", x, n.number(1)), near, far)

    def _square(self, rows: Axis, columns: Axis, down: Weights, across: Weights) -> str:
        """(3, S, S) float32, normalised."""
        n, axis = self.nodes, self.nodes.shape(0)
        begin, end = (
            n.op(
                "Concat",
                n.op("Unsqueeze", n.op("Add", rows.first, y), axis),
                n.op("Unsqueeze", n.op("Add", columns.first, x), axis),
                axis=0,
            )
            for y, x in ((down.low, across.low), (down.high, across.high))
        )
        part = self._float(n.op("Slice", IMAGE, begin, end, n.shape(0, 1)))  # (n, n, 3)
        planes = n.op("Transpose", part, perm=[2, 0, 1])
        levels = self._resampled(planes, rows, columns, (down, across))  # (3, S, S)
        std = np.asarray(self.preprocess.std, np.float32)[:, None, None]
        mean = np.asarray(self.preprocess.mean, np.float32)[:, None, None]
        scaled = n.op("Mul", levels, n.constant(np.float32(1 / 255) / std))
        return n.op("Sub", scaled, n.constant(mean / std))

    def _resampled(
        self, planes: str, rows: Axis, columns: Axis, weights: tuple[Weights, Weights]
    ) -> str:
        """(3, n, n) -> (3, S, S): first across, unless far more of the height goes."""
        n, down = self.nodes, weights[0].matrix
        across = n.op("Transpose", weights[1].matrix, perm=[1, 0])  # (n, S)
        levels = self._rounded(n.op("MatMul", planes, across))
        levels = self._rounded(n.op("MatMul", down, levels))
        if self.preprocess.geometry != "resize":  # nothing ever shrinks
            return levels
        others = self._rounded(n.op("MatMul", down, planes))
        others = self._rounded(n.op("MatMul", others, across))
        less, twice = n.op("Sub", rows.given, rows.fitted), self._int(2)
        limit = n.op("Mul", n.op("Sub", columns.given, columns.fitted), twice)
        is_down_first = n.op("Greater", less, n.op("Max", limit, self._int(0)))
        return n.op("Where", is_down_first, others, levels)

    def _rounded(self, x: str) -> str:
        """To whole grey levels, halves up, as Pillow does between its two passes."""
        n = self.nodes
        whole = n.op("Floor", n.op("Add", x, n.number(0.5)))
        return n.op("Clip", whole, n.number(0), n.number(255))

    def _range(self, low: str, high: str) -> str:
        return self.nodes.op("Range", low, high, self._int(1))

    def _column(self, x: str) -> str:
        """(S,) -> (S, 1)."""
        return self.nodes.op("Unsqueeze", x, self.nodes.shape(1))

    def _float(self, x: str) -> str:
        return self.nodes.op("Cast", x, to=TensorProto.FLOAT)
