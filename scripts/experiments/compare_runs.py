"""Compare training runs on the development images; prints Markdown.

    python scripts/experiments/compare_runs.py DATA RUN... --views FOLDER [--sources]

The first run is what the others are compared with: the gain is the difference of the mean AUC
over sources of fakes on the same resamples of images. A second table averages the seeds of each
kind. What the frozen blocks compute is stored in FOLDER, so that runs on the same trunk share it.
Thresholds are each run's own, from its validation sources.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dev_scores import PAIRING, FrozenViews, mean_figures, percent
from numpy.typing import NDArray

from fakescan.config import from_dict, load
from fakescan.data.samples import Sample, read_samples
from fakescan.evaluate.benchmark import Benchmark, ScoreTable, evaluate_by_source
from fakescan.evaluate.intervals import bounded
from fakescan.evaluate.pairing import Pairing
from fakescan.model.backbone import Backbone, load_backbone
from fakescan.model.checkpoint import load_checkpoint, restore
from fakescan.model.detector import DetectorModel, count_parameters
from fakescan.records import Band, Calibration
from fakescan.train.settings import TrainConfig


@dataclass(frozen=True, slots=True)
class Run:
    """One trained detector on the development images."""

    folder: Path
    config: TrainConfig
    model: DetectorModel
    calibration: Calibration
    band: Band
    table: ScoreTable

    @property
    def kind(self) -> str:
        """What was trained besides the head; experts that never moved count as none."""
        moved = any(p.any() for n, p in self.model.named_parameters() if "lora_B" in n)
        return self.model.config.mole.experts if moved else "probe"


def load_run(
    folder: Path, samples: list[Sample], views: Path, backbones: dict[str, Backbone]
) -> Run:
    """Read a run folder and score the samples."""
    config = load(TrainConfig, folder / "config.toml")
    name = str(config.backbone)
    if name not in backbones:
        backbones[name] = load_backbone(config.backbone)
    checkpoint = load_checkpoint(folder / "checkpoint.safetensors")
    model = restore(checkpoint, backbones[name])
    stored = json.loads((folder / "calibration.json").read_text())
    logits = FrozenViews(views, samples, checkpoint.preprocess).logits(model)
    return Run(
        folder,
        config,
        model,
        from_dict(Calibration, stored["calibration"], str(folder)),
        from_dict(Band, stored["band"], str(folder)),
        ScoreTable(tuple(samples), logits),
    )


def row(run: Run, first: Run, pairing: Pairing) -> str:
    """One line of the summary."""
    found = evaluate_by_source(run.table, pairing, calibration=run.calibration, band=run.band)
    own, base = mean_figures(run.table, pairing)["auc"], mean_figures(first.table, pairing)["auc"]
    gain = "" if run is first else percent(bounded(own[0] - base[0], own[1:] - base[1:]))
    validation = json.loads((run.folder / "calibration.json").read_text())["validation"]
    return (
        f"| {run.kind} | {run.config.seed} | {count_parameters(run.model)[0]:,} | "
        f"{100 * validation['auc']:.1f} | {percent(found.mean.auc)} | {gain} | "
        f"{percent(found.mean.ap)} | {100 * photos_called_fake(found):.1f} | "
        f"{100 * found.mean.fake_acc.value:.0f} |"
    )


def print_seeds(runs: list[Run], pairing: Pairing) -> None:
    """Every kind with several seeds: its mean, how far its seeds lie apart, its mean gain.

    A run whose best weights are those it began with counts for its kind, with no gain.
    """
    kinds: dict[str, list[NDArray[np.float64]]] = {}
    for run in runs[1:]:
        kinds.setdefault(run.model.config.mole.experts, []).append(
            mean_figures(run.table, pairing)["auc"]
        )
    base = mean_figures(runs[0].table, pairing)["auc"]
    print("\n| trained | seeds | dev AUC, mean | lowest and highest seed | mean gain |")
    print("|---|---|---|---|---|")
    for kind, seeds in kinds.items():
        if len(seeds) < 2:
            continue
        aucs = np.stack(seeds)  # (seeds, 1 + resamples)
        mean = aucs.mean(axis=0)
        gain = bounded(mean[0] - base[0], mean[1:] - base[1:])
        print(
            f"| {kind} | {len(seeds)} | {percent(bounded(mean[0], mean[1:]))} | "
            f"{100 * aucs[:, 0].min():.1f} to {100 * aucs[:, 0].max():.1f} | {percent(gain)} |"
        )


def photos_called_fake(found: Benchmark) -> float:
    """Share of all real images that are called fake."""
    images = sum(r.reals for r in found.reals)
    return sum(r.called_fake.value * r.reals for r in found.reals) / images


def print_sources(run: Run, pairing: Pairing) -> None:
    """Every source of fakes and of reals, for one run."""
    found = evaluate_by_source(run.table, pairing, calibration=run.calibration, band=run.band)
    print(f"\n{run.folder.name}\n")
    print(
        "| fakes | n | reals | AUC | AP at 1:1 | accuracy | found |\n|---|---|---|---|---|---|---|"
    )
    for r in found.rows:
        f = r.figures
        print(
            f"| {r.source} | {r.fakes} | {r.reals} | {percent(f.auc)} | {percent(f.ap)} | "
            f"{percent(f.acc)} | {100 * f.fake_acc.value:.0f} |"
        )
    print("\n| reals | n | called fake |\n|---|---|---|")
    for real in found.reals:
        print(f"| {real.source} | {real.reals} | {percent(real.called_fake)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--views", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--sources", action="store_true")
    args = parser.parse_args()
    samples = read_samples(args.data, split=(args.split,))
    pairing = load(Pairing, PAIRING)
    backbones: dict[str, Backbone] = {}
    runs = [load_run(folder, samples, args.views, backbones) for folder in args.runs]
    print("| trained | seed | parameters | validation AUC | dev AUC | gain | AP at 1:1 |", end="")
    print(" reals called fake, % | fakes found, % |\n|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        print(row(run, runs[0], pairing), flush=True)
    print_seeds(runs, pairing)
    if args.sources:
        for run in runs:
            print_sources(run, pairing)


if __name__ == "__main__":
    main()
