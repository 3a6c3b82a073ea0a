#!/usr/bin/env python3
"""Compare runtimes and precisions of one detector on this machine's processor.

What `fakescan bench --compare` compares, and besides what only a clone has: ONNX Runtime's own
dynamic quantisation, 4-bit weights, and what the experts cost. All contenders see the same images
in every round, in changing order, so that what else the machine does weighs on all of them;
medians, and ratios to ONNX fp32 of the same round, are printed. Drift is the largest and mean
|logit difference| from ONNX fp32 on twelve photographs of the package. Needs the extras `train`
and `dev`.

python scripts/benchmark_runtimes.py --rounds 7
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from benchmark_graphs import by_the_tool, four_bits, naive_experts
from numpy.typing import NDArray

from fakescan import weights
from fakescan.bench.compare import Result, Score, compare
from fakescan.bench.contenders import contenders, scoring
from fakescan.bench.photos import make_photos
from fakescan.export.contenders import exported, torch_pipeline
from fakescan.export.graph import build_graph
from fakescan.fast.ranges import photographs
from fakescan.image import Preprocess, open_picture, view
from fakescan.machine import description, usable_cores
from fakescan.metadata import Precision
from fakescan.model.builtin import load_exported
from fakescan.session import OnnxSession

PAIRS = 30
"""Interleaved pairs for what experts cost."""
SIDE = 0.025
"""Chance that the median lies beyond one end of its interval."""
FLOAT: Precision = "fp32"
PLAIN, NAIVE = "fp32, no experts", "fp32, each expert by itself"


def main() -> None:
    """Build the contenders, let them take turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a file of `fakescan export`")
    parser.add_argument("--images", type=int, default=8, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    given = parser.parse_args()
    path = given.model or weights.resolve(None, offline=True)
    preprocess = OnnxSession(path, device="cpu").metadata.preprocess
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scores = dict(_scores(path, folder, given.threads))
        scores = {FLOAT: scores[FLOAT], **scores}
        photos = make_photos(folder, given.images)
        squares = [_square(photo, preprocess) for photo in photos]
        others = {
            "torch eager, DataLoader": torch_pipeline(path, given.threads, usable_cores(), photos),
            "decoding alone": lambda: [_square(photo, preprocess) for photo in photos],
        }
        probes = photographs(preprocess)
        found = compare(scores, others, squares, probes, given.rounds)
        sizes = {name: _megabytes(folder / f"{name}.onnx") for name in scores}
        _print(found, sizes, given)
        _print_experts(scores, squares[0])


def _scores(path: Path, folder: Path, threads: int) -> Iterator[tuple[str, Score]]:
    """Yield all ways to score: those of `fakescan bench --compare`, and more."""
    for name, make in (*contenders(path, threads, folder), *exported(path, threads, folder)):
        yield name, make()

    def opened(name: str) -> tuple[str, Score]:
        file = folder / f"{name}.onnx"
        return name, scoring(OnnxSession(file, device="cpu", threads=threads))

    def saved(name: str, proto: onnx.ModelProto) -> tuple[str, Score]:
        onnx.save(proto, folder / f"{name}.onnx")
        return opened(name)

    tool = "ONNX Runtime's quantize_dynamic"
    by_the_tool(folder / f"{FLOAT}.onnx", folder / f"{tool}.onnx")
    yield opened(tool)
    yield saved("int4 (MatMulNBits)", four_bits(onnx.load(folder / f"{FLOAT}.onnx")))
    model, metadata = load_exported(path)
    single = replace(metadata, precision=FLOAT)
    with naive_experts():
        yield saved(NAIVE, build_graph(model, single))
    plain = copy.deepcopy(model)
    plain.experts.clear()
    plain.config = replace(plain.config, mole=replace(plain.config.mole, blocks=()))
    yield saved(PLAIN, build_graph(plain, single))


def _square(photo: str, preprocess: Preprocess) -> NDArray[np.uint8]:
    """(S, S, 3): the middle square."""
    return view(open_picture(Path(photo)).image, preprocess)


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.0f}" if file.exists() else ""


def _print(found: list[Result], sizes: dict[str, str], given: argparse.Namespace) -> None:
    print(f"{description()}; {given.threads} threads, {given.images} images, one square each,")
    print(f"the median of {given.rounds} rounds; torch {torch.__version__}; load {os.getloadavg()}")
    print("\n| | images/s | times ONNX fp32 | ms of processor | MB | logit max | mean |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for one in found:
        drift = (one.drift_max, one.drift_mean)
        worst, mean = ("" if value is None else f"{value:.2g}" for value in drift)
        size = sizes.get(one.name, "")
        speed = f"{one.images_per_s:.2f} | {one.ratio:.2f} | {one.processor_ms:.1f}"
        print(f"| {one.name} | {speed} | {size} | {worst} | {mean} |")


def _print_experts(scores: dict[str, Score], square: NDArray[np.uint8]) -> None:
    """What the mixture costs over the plain tower, stacked and one by one."""
    print(f"\n| experts | cost over the tower alone, median of {PAIRS} pairs | 95 % interval |")
    print("|---|---:|---:|")
    for label, name in (("stacked", FLOAT), ("one by one", NAIVE)):
        costs = []
        for number in range(PAIRS):
            pair = (name, PLAIN)
            spent = {}
            for one in pair if number % 2 else reversed(pair):
                start = time.perf_counter()
                scores[one](square)
                spent[one] = time.perf_counter() - start
            costs.append(spent[name] / spent[PLAIN] - 1)
        low, high = interval_of_median(costs)
        print(f"| {label} | {statistics.median(costs):+.1%} | {low:+.1%} to {high:+.1%} |")


def interval_of_median(values: list[float]) -> tuple[float, float]:
    """At least 95 %, by order statistics: as many of n values lie below it as heads in n throws."""
    n, rank, tail = len(values), 0, 0.0
    while (tail := tail + math.comb(n, rank) / 2**n) <= SIDE:
        rank += 1
    ordered = sorted(values)
    return ordered[max(rank - 1, 0)], ordered[min(n - rank, n - 1)]


if __name__ == "__main__":
    main()
