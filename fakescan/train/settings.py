"""Every setting of a training run; `config.toml` in a run folder holds all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fakescan.data.augment import Augmentation
from fakescan.data.degrading import Degradation
from fakescan.errors import ConfigError
from fakescan.image import Preprocess
from fakescan.model.backbone import BackboneConfig
from fakescan.model.detector import ModelConfig
from fakescan.train.views import CENTRE, DEGRADED

Precision = Literal["fp32", "bf16", "fp16"]
Monitor = Literal["mean", "auc", "loss"]

DEFAULT_LEVELS = (4, 6, 8)
"""Read where no model is configured: of all sets tried, the best on unseen generators."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """The head alone, fitted on what the frozen tower gives, before anything else is trained."""

    enabled: bool = True
    """Start from the fitted head; otherwise from small random weights."""
    l2: float = 1e-3
    """Weight of the squared norm, on standardised features."""
    max_rows: int = 50_000
    """Draws that are used at most; each takes 16 bytes a feature of memory."""

    def __post_init__(self) -> None:
        if self.l2 < 0 or self.max_rows < 2:
            raise ConfigError("probe: l2 must not be negative and max_rows at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """The trunk cache: what the frozen blocks compute, stored once per image and draw."""

    enabled: bool = True
    """Otherwise every epoch decodes and computes everything again."""
    folder: Path | None = None
    """Unset: `trunk` in fakescan's cache folder. Runs with the same trunk share it."""
    max_gb: float = 100.0
    """Largest size of one trunk's store."""
    split: bool = True
    """Go through the first adapted block's frozen attention and MLP as well: one block less in
    every epoch, twice the size. Only where the experts stand around the MLP."""
    rounds: bool = True
    """Without a cache: round to fp16 as the cache does, so that both train alike."""

    def __post_init__(self) -> None:
        if self.max_gb <= 0:
            raise ConfigError(f"cache: max_gb must be positive, got {self.max_gb}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training run."""

    data: tuple[str, ...] = ()
    """Folders, manifests or tar shards of labelled images, aligned pairs among them."""
    splits: tuple[str, ...] = ()
    """Rows of these splits, for manifests that name splits; empty: all rows."""
    seed: int = 0
    """Decides the initial weights, the order and the validation sources."""
    draw_seed: int = 0
    """Decides the random views; apart from `seed`, so that runs share one cache."""
    init: str | None = None
    """An exported detector, by name or file, to start from; brings its own backbone and model."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    model: ModelConfig | None = None
    """Unset: levels 4, 6 and 8, as far as the backbone has them, the last 3 blocks adapted."""
    preprocess: Preprocess | None = None
    """Unset: centre crop of native pixels at the backbone's image size."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    degradation: Degradation = field(default_factory=Degradation)
    draws: int = 2
    """Random views of each image. Views of all kinds take turns: one of each image an epoch."""
    centre_view: bool = False
    """Learn from the view that a scan would cut, too."""
    degraded_views: int = 0
    """Views of each image that a scan would cut after it was shrunk, blurred or saved again, as
    `degradation` says."""
    epochs: int = 4
    """Each sees as many images as there are, weighted by source and class; 0: the probe alone."""
    batch_size: int = 26
    """Units of one optimiser step over all processes: an image, or an aligned pair."""
    accumulate: int = 1
    """Parts that a step is computed in, to save memory."""
    lr: float = 6e-4
    """Highest rate of the experts (the MoLE paper, section 4.1)."""
    head_lr_factor: float = 0.1
    """Rate of the head, over that of the experts."""
    weight_decay: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05
    """Share of the steps in which the rate rises from 0."""
    precision: Precision = "fp32"
    """Autocast of the trained part."""
    trunk_precision: Precision = "fp32"
    """Autocast of the frozen trunk."""
    averaging: float = 0.0
    """Decay of a running mean of the trained weights, which is then what is kept; 0: off."""
    validation: float = 0.2
    """Share of each class held out, by whole sources; 0: none, then nothing is calibrated."""
    validation_sources: tuple[str, ...] = ()
    """Sources to hold out instead of choosing by share."""
    calibration_runs: tuple[Path, ...] = ()
    """Runs that calibrate this one by the sources that each of them held out; this one then
    learns from all sources and keeps its last weights. Needs `validation` 0."""
    monitor: Monitor = "mean"
    """Validation figure that decides which weights are kept and when to stop: `auc` of the
    images, `mean` of that and the aligned pairs' AUC, or the `loss`. Images alone reward
    learning the training fakes' style; pairs do not."""
    patience: int = 2
    """Epochs without a better figure before training stops; 0: never stop early."""
    source_cap: int = 60
    """Images that one source counts for at most."""
    pair_weight: float = 0.5
    """Weight of all aligned pairs together, over that of all other images."""
    save_every: int = 50
    """Optimiser steps between two states that `--resume` can start from."""
    workers: int | None = None
    """Processes that decode and draw; unset: one less than processors, which the processes of
    torchrun share; 0: none."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)

    @property
    def validation_views(self) -> tuple[int, ...]:
        """Numbers of the views that held-out images are judged by: one of each kind."""
        return (CENTRE, 0, *((DEGRADED,) if self.degraded_views else ()))

    @property
    def views(self) -> tuple[int, ...]:
        """Numbers of the views that take turns; `CENTRE` is the one that a scan would cut."""
        return (
            *((CENTRE,) if self.centre_view else ()),
            *range(self.draws),
            *range(DEGRADED, DEGRADED + self.degraded_views),
        )

    def __post_init__(self) -> None:
        for name in ("draws", "batch_size", "accumulate", "source_cap", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "epochs",
            "lr",
            "head_lr_factor",
            "weight_decay",
            "pair_weight",
            "patience",
            "degraded_views",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("warmup", "averaging", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} lies in [0, 1), got {getattr(self, name)}")
        _check_calibration(self)
        if self.seed < 0 or self.draw_seed < 0 or (self.workers or 0) < 0:
            raise ConfigError("seed, draw_seed and workers must not be negative")


def _check_calibration(config: TrainConfig) -> None:
    if config.calibration_runs and (config.validation or config.validation_sources):
        raise ConfigError("calibration_runs need validation 0 and no validation_sources")


def default_model(blocks: int) -> ModelConfig:
    """What is trained when no model is configured, on a backbone of that many blocks."""
    levels = tuple(k for k in DEFAULT_LEVELS if k <= blocks)
    return ModelConfig(head="levels", levels=levels or (blocks,))
