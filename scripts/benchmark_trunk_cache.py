#!/usr/bin/env python3
"""Time an epoch without a trunk cache, with one, and with one behind the first adapted block.

    python scripts/benchmark_trunk_cache.py DATA --images 96 --backbone ViT-B-16-quickgelu \
        --backbone-weights clip.safetensors

prints a Markdown table: seconds an epoch (the least of `--repeat`), how many times faster than
the plain path, seconds to build the cache, and after how many epochs that has paid. All blocks
are used and the last 3 adapted, as in the paper. Without --backbone-weights the tower is random,
which takes the same time. The plain path runs the trunk in whole batches where that is faster
than image by image, so that the comparison is with its best.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fakescan.data.augment import Augmentation
from fakescan.data.samples import Sample, read_samples, subsample
from fakescan.image import Preprocess, normalise
from fakescan.model.backbone import BackboneConfig, load_backbone, tower_config
from fakescan.model.detector import DetectorModel, ModelConfig
from fakescan.model.tower import Tower
from fakescan.train.cached import CachedTrunks
from fakescan.train.parallel import Processes, choose_device
from fakescan.train.step import LossScale, Part, StepComputer
from fakescan.train.trunk import Rows, TrunkMaker
from fakescan.train.trunks import Draw, PlainTrunks, Trunks, chunks
from fakescan.train.views import ViewPool, ViewRecipe


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    epoch_s: float
    build_s: float = 0.0
    row_mb: float = 0.0


def main() -> None:
    """Parse options, time, print."""
    options = _parse()
    device = choose_device(options.device)
    samples = _samples(options.data, options.images)
    tower = _tower(options.backbone, options.backbone_weights)
    recipe = ViewRecipe(Preprocess(image_px=tower.config.image_px), Augmentation(), 0)
    what = f"{options.backbone}, {options.precision}, {len(samples)} images"
    print(f"{what}, batch {options.batch_size}, {_machine(device)}\n")
    print("| path | epoch | faster | to build | pays after | a draw takes |")
    print("|---|---|---|---|---|---|")
    with ViewPool(recipe, options.workers) as pool, tempfile.TemporaryDirectory() as folder:
        base = Bench(tower, samples, pool, device, options)
        plain = base.plain()
        _print(plain, plain)
        for split in (False, True):
            _print(base.cached(Path(folder), split=split), plain)


class Bench:
    """Times epochs of one model on one set of images."""

    def __init__(
        self,
        tower: Tower,
        samples: list[Sample],
        pool: ViewPool,
        device: torch.device,
        options: argparse.Namespace,
    ) -> None:
        torch.manual_seed(0)
        self.model = DetectorModel(tower, ModelConfig()).to(device)
        self.samples, self.pool, self.options = samples, pool, options
        self.computer = StepComputer(
            self.model, Processes(device=device), options.precision, LossScale()
        )
        self.optimizer = torch.optim.AdamW(self.model.trainable(), lr=6e-4)
        self.draws: list[Draw] = [(i, 0) for i in range(len(samples))]

    def plain(self) -> Row:
        """The plain path, in whichever batching of the trunk is faster."""
        makers = [self._maker(split=False), WholeBatches(self.model, self.pool.recipe.preprocess)]
        times = [self._time(PlainTrunks(m, self.pool, self.samples)) for m in makers]
        return Row("plain", min(times))

    def cached(self, folder: Path, *, split: bool) -> Row:
        """The cached path, built from nothing."""
        plain = PlainTrunks(self._maker(split=split), self.pool, self.samples)
        trunks = CachedTrunks(plain, folder, 1e6, "benchmark")
        start = time.perf_counter()
        trunks.prepare(self.draws, lambda _done, _total: None)
        build = time.perf_counter() - start
        name = "cache, behind the frozen part of the first adapted block" if split else "cache"
        return Row(name, self._time(trunks), build, trunks.store.layout.bytes / 1e6)

    def _maker(self, *, split: bool) -> TrunkMaker:
        return TrunkMaker(
            self.model,
            self.pool.recipe.preprocess,
            split=split,
            precision=self.options.precision,
        )

    def _time(self, trunks: Trunks) -> float:
        return min(_seconds(lambda: self._epoch(trunks)) for _ in range(self.options.repeat))

    def _epoch(self, trunks: Trunks) -> None:
        steps = chunks(self.draws, self.options.batch_size)
        self.model.train()
        for draws, trunk in zip(steps, trunks.stream(steps), strict=True):
            labels = [float(self.samples[i].label) for i, _ in draws]
            part = Part(trunk, torch.tensor(labels, device=self.computer.processes.device))
            self.optimizer.zero_grad()
            self.computer.gradients(iter([part]), len(draws))
            self.optimizer.step()
        if self.computer.processes.device.type == "cuda":
            torch.cuda.synchronize()


class WholeBatches(TrunkMaker):
    """A trunk that takes a batch at once on the CPU too: its rows depend on their neighbours."""

    @torch.no_grad()
    def make(self, crops: NDArray[np.uint8], *, whole: bool = True) -> Rows:
        """See `TrunkMaker.make`."""
        pixels = torch.from_numpy(normalise(crops, self.preprocess)).to(self.device)
        return self._make(pixels, whole)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="labelled images")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--backbone-weights", type=Path)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    return parser.parse_args()


def _samples(data: Path, images: int) -> list[Sample]:
    chosen = subsample(read_samples(data), per_label=images // 2, seed=0)
    return [replace(s, key=f"{i}") for i, s in enumerate(chosen)]


def _tower(name: str, weights: Path | None) -> Tower:
    if weights is None:
        torch.manual_seed(0)
        return Tower(tower_config(name))
    return load_backbone(BackboneConfig(name=name, weights=weights)).tower


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _print(row: Row, plain: Row) -> None:
    gain = plain.epoch_s - row.epoch_s
    build = f"{row.build_s:.1f} s" if row.build_s else "-"
    pays = f"{row.build_s / gain:.1f} epochs" if row.build_s and gain > 0 else "-"
    size = f"{row.row_mb:.2f} MB" if row.row_mb else "-"
    faster = f"{plain.epoch_s / row.epoch_s:.2f}x"
    cells = (row.name, f"{row.epoch_s:.1f} s", faster, build, pays, size)
    print(f"| {' | '.join(cells)} |", flush=True)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
