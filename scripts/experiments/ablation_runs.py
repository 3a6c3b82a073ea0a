"""One run of an ablation: train, score the development images, keep what the tables need.

runs/RECIPE-seedS/train/        the run folder, as `fakescan train` writes it
runs/RECIPE-seedS/dev.npz       logits of the development images
runs/RECIPE-seedS/outcome.json  parameters, seconds; written last: a run without it is not done
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dev_scores import FrozenViews
from numpy.typing import NDArray

from fakescan.config import dump, load
from fakescan.data.samples import Sample, read_samples, subsample
from fakescan.errors import ConfigError
from fakescan.model.backbone import Backbone
from fakescan.model.checkpoint import load_checkpoint, restore
from fakescan.model.detector import DetectorModel, count_parameters
from fakescan.train import folder as run_files
from fakescan.train.run import train
from fakescan.train.settings import TrainConfig
from fakescan.train.state import FILE as STATE

OUTCOME, LOGITS, SETTINGS = "outcome.json", "dev.npz", "settings.toml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is kept of one finished run."""

    logits: NDArray[np.float64]
    """Of the development images, (n,)."""
    parameters: int
    """Trained ones."""
    seconds: float | None
    """Of the head's fit and the steps, with the trunk at hand; None when it was interrupted."""


class Stopwatch:
    """A listener that knows when the frozen blocks were done."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.start = time.monotonic()
        self.say = say
        self._told = self.start

    def progress(self, stage: str, done: int, total: int) -> None:
        """Start anew after every draw of the trunk."""
        now = time.monotonic()
        if stage == "trunk":
            self.start = now
        if now - self._told > 30:
            self._told = now
            self.say(f"  {stage} {done}/{total}")

    def note(self, text: str) -> None:
        """Ignored."""

    def seconds(self) -> float:
        """Since the trunk was at hand."""
        return time.monotonic() - self.start


def write_manifest(folder: Path, data: Path, samples: Sequence[Sample], images: int) -> Path:
    """List some of the samples, half of each label; the same ones whenever it is called.

    They are named below a link to the data, so that names, and with them the random views, are
    the same wherever the data lies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "data"
    if not link.is_symlink():
        link.symlink_to(data.resolve(), target_is_directory=True)
    elif link.resolve() != data.resolve():
        raise ConfigError(f"{folder}: made from {link.resolve()}; choose another --out")
    chosen = subsample(samples, per_label=images // 2, seed=0) if images else list(samples)
    path = folder / f"images-{images or 'all'}.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "label", "source"))
        for s in chosen:
            table.writerow((f"data/{s.path.relative_to(data).as_posix()}", s.label, s.source))
    return path


def dev_samples(data: Path, split: str, globs: Callable[[Sample], bool], cap: int) -> list[Sample]:
    """Development images that enter a figure, at most `cap` of each source and label; 0: all."""
    groups: dict[tuple[int, str], list[Sample]] = {}
    for sample in read_samples(data, split=(split,)):
        if globs(sample):
            groups.setdefault((sample.label, sample.source), []).append(sample)
    capped = [
        s
        for group in groups.values()
        for s in (subsample(group, per_label=cap, seed=0) if cap else group)
    ]
    return sorted(capped, key=lambda s: s.key)


def read_outcome(folder: Path, config: TrainConfig, dev: str) -> Outcome | None:
    """What a finished run left; None when there is none.

    Args:
        folder: of the run.
        config: what it should have been trained with.
        dev: digest of the development images it should have been judged on.

    Raises:
        ConfigError: it was made with other settings, or for other development images.
    """
    if not (folder / OUTCOME).exists():
        return None
    values: dict[str, Any] = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
    with np.load(folder / LOGITS) as stored:
        logits = stored["logits"]
    if not _is_of(folder, config) or values["dev"] != dev:
        raise ConfigError(f"{folder}: made with other settings or images; choose another --out")
    return Outcome(logits, values["parameters"], values["seconds"])


def run(
    folder: Path,
    config: TrainConfig,
    backbone: Backbone,
    views: FrozenViews,
    *,
    device: str,
    say: Callable[[str], None],
) -> Outcome:
    """Train and score, or go on where it was killed."""
    watch = Stopwatch(say)
    at = folder / "train"
    is_resumed = (at / STATE).exists() and _is_of(folder, config)
    if folder.exists() and not is_resumed:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(dump(config), encoding="utf-8")
    started = run_files.read_run(at) if is_resumed else config
    train(started, at, resume=is_resumed, device=device, listener=watch)
    seconds = None if is_resumed else watch.seconds()
    model = restore(load_checkpoint(at / "checkpoint.safetensors"), backbone)
    if device != "cpu":
        model = _placed(model, device)
    logits = views.logits(model)
    np.savez(folder / LOGITS, logits=logits)
    outcome = Outcome(logits, count_parameters(model)[0], seconds)
    values = {"parameters": outcome.parameters, "seconds": seconds, "dev": views.digest}
    partial = folder / f"{OUTCOME}.partial"
    partial.write_text(json.dumps(values) + "\n", encoding="utf-8")
    partial.replace(folder / OUTCOME)
    return outcome


def _is_of(folder: Path, config: TrainConfig) -> bool:
    """Options that are younger than a run have their defaults in it."""
    try:
        return load(TrainConfig, folder / SETTINGS) == config
    except ConfigError:
        return False


def _placed(model: DetectorModel, device: str) -> DetectorModel:
    import torch

    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return model.to("cuda" if is_cuda else "cpu")
