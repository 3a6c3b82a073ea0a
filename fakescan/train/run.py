"""A whole training run: data -> trunks -> probe -> loop -> calibration -> run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fakescan.calibrate.fit import fit_band, fit_calibration
from fakescan.errors import ConfigError
from fakescan.evaluate.metrics import roc_auc
from fakescan.model.checkpoint import CHECKPOINT, save_checkpoint
from fakescan.records import Band, Calibration
from fakescan.train import folder as files
from fakescan.train.collect import read_roots, split_samples, write_unreadable
from fakescan.train.heldout import HeldOut, pool_held_out, write_held_out
from fakescan.train.journal import Journal
from fakescan.train.loop import Loop, Material
from fakescan.train.parallel import Processes, joined
from fakescan.train.plot import draw_losses
from fakescan.train.prepare import Listener, Prepared, cache_folder, prepare
from fakescan.train.probe import check_memory, fit_head, moments, restandardise, thin
from fakescan.train.sampling import image_weights, source_weights
from fakescan.train.settings import TrainConfig
from fakescan.train.shards import ShardIndexer
from fakescan.train.start import Start, start
from fakescan.train.state import FILE as STATE
from fakescan.train.state import Position
from fakescan.train.validate import Validation, Validator
from fakescan.train.views import ViewPool, ViewRecipe

DRAW_EVERY_S = 20.0
"""Drawing takes a second, which small runs should not spend on every epoch."""


class Silence:
    """A listener for nobody."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    folder: Path
    steps: int
    validation: Validation | None
    """Of the weights that were kept; None without held-out sources."""
    band: Band


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> Outcome:
    """Train a detector into a run folder.

    Args:
        config: `folder.read_run(out)` when resuming.
        out: the run folder; new or empty, unless resuming.
        resume: go on with what is there.
        device: auto, cpu or cuda.
        listener: is told of progress; only in the first of several processes.

    Raises:
        ConfigError: settings or paths that cannot be used.
        DatasetError: data that nothing can be learnt from.
        WeightsError: the backbone cannot be had.
    """
    if not config.data:
        raise ConfigError("no training data: name folders, manifests or tar shards of images")
    with joined(device) as processes:
        heard = listener if listener is not None and processes.is_first else Silence()
        samples = read_roots(config.data, config.splits, _indexer(config, processes, heard))
        split = split_samples(samples, config.validation, config.seed, config.validation_sources)
        heard.note(split.note)
        begun = start(config, processes.device)
        runs = config.calibration_runs
        held_out = pool_held_out(runs, begun.config) if runs else None  # before hours of work

        def create() -> None:
            if not resume:
                files.create_run(out)
            files.write_config(out, begun.config)

        processes.from_first(create)
        recipe = ViewRecipe(
            begun.preprocess, config.augmentation, config.draw_seed, config.degradation
        )
        with ViewPool(recipe, config.workers) as pool:
            with files.taken_back(out, is_new=processes.is_first and not resume):
                material = prepare(begun, split, pool, processes, heard)
            if processes.is_first:
                _record(out, begun.config, material, heard)
            loop = _fit(begun, material, out, processes, heard)
            verdict = _Verdict(Calibration(), Band(), {"note": split.note})
            if processes.is_first:
                if material.validator is not None:
                    verdict = _judge(out, loop, material, material.validator)
                    verdict.facts["is_optimistic"] = split.is_optimistic
                    verdict.facts["note"] = split.note
                elif held_out is not None:
                    verdict = _calibrated(held_out, config.source_cap)
                    verdict.facts["note"] = f"{len(config.calibration_runs)} other runs held out"
                _write(out, begun, verdict)
        return Outcome(out, loop.position.total_steps, verdict.figures, verdict.band)


def _indexer(config: TrainConfig, processes: Processes, listener: Listener) -> ShardIndexer:
    return ShardIndexer(
        processes=processes,
        folder=cache_folder(config.cache) / "shards" if config.cache.enabled else None,
        report=lambda done, total: listener.progress("shards", done, total),
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What calibration found."""

    calibration: Calibration
    band: Band
    facts: dict[str, Any]
    figures: Validation | None = None


class _Recorder:
    """Writes the journal and the picture, and passes progress on; in the first process only."""

    def __init__(self, out: Path, at: Position, listener: Listener) -> None:
        self.out, self.listener = out, listener
        self.drawn = time.monotonic()
        self.journal = Journal(out, done_steps=at.total_steps, done_epochs=at.epoch)

    def step(self, position: Position, steps: int, values: dict[str, Any]) -> None:
        self.journal.add("step", position.total_steps, values)
        self.listener.progress("train", position.total_steps, steps)

    def epoch(self, position: Position, values: dict[str, Any]) -> None:
        self.journal.add("epoch", position.total_steps, values)
        if time.monotonic() - self.drawn > DRAW_EVERY_S:
            self.draw()
        found = values["validation"]
        self.listener.note(
            f"epoch {values['epoch']}: held-out AUC {found['auc']:.4f}, loss {found['loss']:.4f}"
            + (", best so far" if values["is_best"] else "")
        )

    def draw(self) -> None:
        draw_losses(self.journal.records, self.out / files.PICTURE)
        self.drawn = time.monotonic()

    def close(self) -> None:
        self.draw()
        self.journal.close()


class _Deaf:
    """The other processes' watcher."""

    def step(self, position: Position, steps: int, values: dict[str, Any]) -> None:
        pass

    def epoch(self, position: Position, values: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def _record(out: Path, config: TrainConfig, material: Prepared, listener: Listener) -> None:
    parts = {
        "train": [material.samples[i] for i in material.in_train],
        "validation": [material.samples[i] for i in material.held_out],
    }
    bad = material.unreadable
    files.write_training(out, config, parts, len(bad))
    write_unreadable(out / files.UNREADABLE, [(material.samples[i], bad[i]) for i in sorted(bad)])
    if bad:
        images = "image" if len(bad) == 1 else "images"
        listener.note(f"{len(bad)} unreadable {images} left out, listed in {files.UNREADABLE}")


def _fit(
    begun: Start, material: Prepared, out: Path, processes: Processes, listener: Listener
) -> Loop:
    """Probe, then loop; the kept weights are in the model afterwards."""
    model, config = begun.model, begun.config
    labels = [sample.label for sample in material.samples]
    loop = Loop(
        model,
        config,
        Material(material.strata, labels, material.trunks, material.validator),
        processes,
    )
    loop.position.samples = material.digest()
    loop.position.backbone = model.tower.sha256()
    has_state = processes.share((out / STATE).exists())
    if has_state:
        loop.resume(out / STATE)
        listener.note(f"going on after step {loop.position.total_steps}")
    else:
        if processes.is_first:
            _start_head(begun, material)
        processes.share_tensors(list(model.trained_state().values()))
        loop.begin()
    watcher = _Recorder(out, loop.position, listener) if processes.is_first else _Deaf()
    try:
        loop.run(out / STATE, watcher)
    finally:
        watcher.close()
    at = loop.position
    if 0 < at.epoch < config.epochs:
        listener.note(f"stopped after epoch {at.epoch}: no better than epoch {at.best_epoch}")
    return loop


def _start_head(begun: Start, material: Prepared) -> None:
    """Fit the head on the frozen features; a loaded detector's head only gets their scale."""
    config, head = begun.config, begun.model.head
    weights = image_weights(material.samples, material.strata)
    every = [(i, n) for i in material.in_train if weights[i] for n in config.views]
    draws = thin(every, config.probe.max_rows)
    if not (config.probe.enabled or config.init):
        return
    check_memory(len(draws), len(head.weight))
    features = material.trunks.features(draws)
    chosen = np.array([i for i, _ in draws])
    share = weights[chosen] / weights[chosen].sum()
    if config.init:
        restandardise(head, moments(features, share))
        return
    labels = np.array([s.label for s in material.samples], np.int64)[chosen]
    fit_head(head, features, labels, share, config.probe.l2)


def _judge(out: Path, loop: Loop, material: Prepared, validator: Validator) -> _Verdict:
    """Calibrate the kept weights on the held-out views that a scan would cut."""
    loop.model.eval()
    figures = validator(loop.model)
    logits = validator.as_scanned(loop.model)
    held_out = HeldOut(tuple(material.samples[i] for i in validator.main), logits)
    write_held_out(out, held_out)
    verdict = _calibrated(held_out, loop.config.source_cap)
    verdict.facts["sources"] = sorted({material.samples[i].source for i in material.held_out})
    facts = {"auc": figures.auc, "pair_auc": figures.pair_auc, "loss": figures.loss}
    return replace(verdict, facts=verdict.facts | facts, figures=figures)


def _calibrated(held_out: HeldOut, source_cap: int) -> _Verdict:
    """Calibration and thresholds from held-out logits, classes and capped sources alike."""
    labels = np.array([s.label for s in held_out.samples], np.int64)
    shares = source_weights(held_out.samples, source_cap)
    calibration = fit_calibration(held_out.logits, labels, shares)
    scores = np.array([calibration.score(float(x)) for x in held_out.logits])
    facts = {
        "n_real": int((labels == 0).sum()),
        "n_fake": int((labels == 1).sum()),
        "sources": sorted({s.source for s in held_out.samples}),
        "auc": roc_auc(labels, held_out.logits),
    }
    return _Verdict(calibration, fit_band(scores, labels, shares), facts)


def _write(out: Path, begun: Start, verdict: _Verdict) -> None:
    files.write_calibration(out, verdict.calibration, verdict.band, verdict.facts)
    save_checkpoint(out / CHECKPOINT, begun.model, begun.backbone, begun.preprocess, {})
