#!/usr/bin/env python3
"""Compare runtimes and precisions of one detector on this machine's processor.

All contenders see the same images in every round, in changing order, so that what else the machine
does weighs on all of them; medians, and ratios to ONNX fp32 of the same round, are printed. Drift
is the largest and mean |logit difference| from ONNX fp32 on the package's crops, by square.
Needs the extras `train` and `dev`.

python scripts/benchmark_runtimes.py --rounds 7
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import torch
from benchmark_graphs import bare_dynamic, four_bits, naive_experts
from numpy.typing import NDArray

from fakescan import weights
from fakescan.bench.photos import make_photos
from fakescan.export.crops import fixture_crops
from fakescan.export.graph import build_graph
from fakescan.image import Preprocess, normalise, open_picture, view
from fakescan.machine import description, usable_cores
from fakescan.metadata import INPUT, OUTPUT_LOGIT, DetectorMetadata, Precision
from fakescan.model.builtin import load_exported
from fakescan.model.detector import DetectorModel
from fakescan.session import OnnxSession

Score = Callable[[NDArray[np.float32]], float]
"""(1, 3, S, S) -> logit."""
PAIRS = 30
"""Interleaved pairs for what experts cost."""
TORCH_BATCH = 8


def main() -> None:
    """Build the contenders, let them take turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a file of `fakescan export`")
    parser.add_argument("--images", type=int, default=8, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, metadata = load_exported(given.model or weights.resolve(None, offline=True))
    with tempfile.TemporaryDirectory() as folder:
        files = dict(_files(model, metadata, Path(folder)))
        scores = dict(_scores(files, given.threads))
        drift = _drifts(scores, metadata.preprocess)
        paths = make_photos(Path(folder), given.images)
        rounds = _rounds(scores, model, metadata, paths, given.rounds)
        _print(rounds, drift, files, given)
        _print_experts(scores, metadata.preprocess)


def _files(
    model: DetectorModel, metadata: DetectorMetadata, folder: Path
) -> Iterator[tuple[str, Path]]:
    """Each precision, the bare dynamic file, 4 bits, and the tower with experts done otherwise."""

    def saved(name: str, proto: onnx.ModelProto) -> tuple[str, Path]:
        path = folder / f"{name.replace(' ', '-')}.onnx"
        onnx.save(proto, path)
        return name, path

    for precision in get_args(Precision):
        yield saved(precision, build_graph(model, replace(metadata, precision=precision)))
    yield "bare dynamic int8", bare_dynamic(folder / "fp32.onnx", folder / "bare.onnx")
    yield saved("int4 (MatMulNBits)", four_bits(onnx.load(folder / "fp32.onnx")))
    single = replace(metadata, precision="fp32")
    with naive_experts():
        yield saved("fp32, each expert by itself", build_graph(model, single))
    plain = copy.deepcopy(model)
    plain.experts.clear()
    plain.config = replace(plain.config, mole=replace(plain.config.mole, blocks=()))
    yield saved("fp32, no experts", build_graph(plain, single))


def _scores(files: dict[str, Path], threads: int) -> Iterator[tuple[str, Score]]:
    """What scores one square, in ONNX Runtime and in OpenVINO."""

    def onnx_score(path: Path) -> Score:
        session = OnnxSession(path, device="cpu", threads=threads)._session

        def score(pixels: NDArray[np.float32]) -> float:
            return float(session.run([OUTPUT_LOGIT], {INPUT: pixels})[0][0])

        return score

    for name, path in files.items():
        yield name, onnx_score(path)
    with suppress(ModuleNotFoundError):
        import openvino

        core = openvino.Core()
        for kind in ("f32", "bf16"):
            settings = {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": threads}
            compiled = core.compile_model(core.read_model(files["fp32"]), "CPU", settings)
            yield f"OpenVINO {kind}", _openvino_score(compiled)


def _openvino_score(compiled: Any) -> Score:
    return lambda pixels: float(compiled({INPUT: pixels})[OUTPUT_LOGIT][0])


def _drifts(scores: dict[str, Score], preprocess: Preprocess) -> dict[str, tuple[float, float]]:
    """Largest and mean |logit difference| of each contender from fp32."""
    crops = fixture_crops(preprocess)[1::9]  # not those that ranges were measured on
    pixels = [normalise(crop[np.newaxis], preprocess) for crop in crops]
    base = np.array([scores["fp32"](p) for p in pixels])
    away = {name: np.abs([score(p) for p in pixels] - base) for name, score in scores.items()}
    return {name: (float(d.max()), float(d.mean())) for name, d in away.items()}


def _rounds(
    scores: dict[str, Score],
    model: DetectorModel,
    metadata: DetectorMetadata,
    paths: list[str],
    count: int,
) -> dict[str, list[float]]:
    """Seconds per image of each contender, round by round."""
    preprocess = metadata.preprocess
    squares = [_decoded(path, preprocess) for path in paths]

    def run_all(score: Score) -> Callable[[], object]:
        return lambda: [score(square) for square in squares]

    runs: dict[str, Callable[[], object]] = {n: run_all(s) for n, s in scores.items()}
    runs["torch eager, DataLoader"] = lambda: _torch_pipeline(model, preprocess, paths)
    runs["decoding alone"] = lambda: [_decoded(path, preprocess) for path in paths]
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count + 1):  # the first one warms up
        order = list(runs) if number % 2 else list(reversed(runs))
        for name in order:
            start = time.perf_counter()
            runs[name]()
            if number:
                seconds[name].append((time.perf_counter() - start) / len(paths))
    return seconds


def _decoded(path: str, preprocess: Preprocess) -> NDArray[np.float32]:
    """(1, 3, S, S): the middle square, normalised."""
    square = view(open_picture(Path(path)).image, preprocess)
    return normalise(square[np.newaxis], preprocess)


class _Photos(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[str], preprocess: Preprocess) -> None:
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(_decoded(self.paths[index], self.preprocess)[0])


@torch.no_grad()
def _torch_pipeline(model: DetectorModel, preprocess: Preprocess, paths: list[str]) -> list[float]:
    """How research code does it: decode in workers, score batches in float32."""
    loader = torch.utils.data.DataLoader(
        _Photos(paths, preprocess), batch_size=TORCH_BATCH, num_workers=usable_cores()
    )
    return [x for batch in loader for x in model(batch).logit.tolist()]


def _print(
    rounds: dict[str, list[float]],
    drift: dict[str, tuple[float, float]],
    files: dict[str, Path],
    given: argparse.Namespace,
) -> None:
    print(f"{description()}; {given.threads} threads, {given.images} images, one square each,")
    print(f"the median of {given.rounds} rounds; torch {torch.__version__}; load {os.getloadavg()}")
    print("\n| | images/s | times ONNX fp32 | MB | logit max | mean |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, seconds in sorted(rounds.items(), key=lambda item: statistics.median(item[1])):
        pairs = zip(rounds["fp32"], seconds, strict=True)
        ratio = statistics.median(base / own for base, own in pairs)
        size = f"{files[name].stat().st_size / 1e6:.0f}" if name in files else ""
        worst, mean = (f"{x:.2g}" for x in drift[name]) if name in drift else ("", "")
        rate = 1 / statistics.median(seconds)
        print(f"| {name} | {rate:.2f} | {ratio:.2f} | {size} | {worst} | {mean} |")


def _print_experts(scores: dict[str, Score], preprocess: Preprocess) -> None:
    """What the mixture costs over the plain tower, stacked and one by one."""
    px = preprocess.image_px
    pixels = np.random.default_rng(0).standard_normal((1, 3, px, px)).astype(np.float32)
    print("\n| experts | cost over the tower alone, median | middle half of the pairs |")
    print("|---|---:|---:|")
    for label, name in (("stacked", "fp32"), ("one by one", "fp32, each expert by itself")):
        costs = []
        for number in range(PAIRS):
            pair = (name, "fp32, no experts")
            spent = {}
            for one in pair if number % 2 else reversed(pair):
                start = time.perf_counter()
                scores[one](pixels)
                spent[one] = time.perf_counter() - start
            costs.append(spent[name] / spent[pair[1]] - 1)
        low, middle, high = statistics.quantiles(costs, n=4)
        print(f"| {label} | {middle:+.1%} | {low:+.1%} to {high:+.1%} |")


if __name__ == "__main__":
    main()
