"""A run folder: which files it holds, and the facts written beside the checkpoint.

config.toml              all settings, as resolved
checkpoint.safetensors   experts and head
calibration.json         calibration, thresholds, and what they were fitted on
training.json            images by label and source, seeds, versions, revision
metrics.jsonl            see `fakescan.train.journal`; the same in tensorboard/
loss.png                 the same, drawn
unreadable.csv           images that were left out, and why
resume.safetensors       what `--resume` goes on from
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import fakescan
from fakescan.config import dump, load, to_dict
from fakescan.data.samples import Sample
from fakescan.errors import ConfigError, FakescanError
from fakescan.model.checkpoint import CALIBRATION, CONFIG, TRAINING
from fakescan.records import Band, Calibration
from fakescan.train.settings import TrainConfig

UNREADABLE, PICTURE = "unreadable.csv", "loss.png"
PACKAGES = ("torch", "numpy", "pillow", "open_clip_torch", "safetensors")
"""Their versions are written down."""


def create_run(folder: Path) -> None:
    """Make a new run folder.

    Raises:
        ConfigError: something is in it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            hint = " (or go on with --resume)" if (folder / CONFIG).exists() else ""
            raise ConfigError(f"{folder}: not empty; choose another --out{hint}")
    except OSError as e:
        raise ConfigError(f"{folder}: cannot be used ({e.strerror})") from e


@contextmanager
def taken_back(folder: Path, *, is_new: bool) -> Iterator[None]:
    """Remove a new run that could not begin, so that its folder can be named again."""
    try:
        yield
    except FakescanError:
        if is_new:
            with suppress(OSError):  # why it could not begin matters more
                (folder / CONFIG).unlink()
                folder.rmdir()
        raise


def read_run(folder: Path) -> TrainConfig:
    """Settings of an existing run.

    Raises:
        ConfigError: there is none.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder}: no run to resume; it has no {CONFIG}")
    return load(TrainConfig, folder / CONFIG)


def write_config(folder: Path, config: TrainConfig) -> None:
    """Write the resolved settings."""
    _replace(folder / CONFIG, dump(config))


def write_training(
    folder: Path, config: TrainConfig, parts: Mapping[str, Sequence[Sample]], unreadable: int
) -> None:
    """Write what the run is made of; export puts it into the detector's metadata.

    Args:
        folder: of the run.
        config: resolved.
        parts: `train` and `validation`, without unreadable images.
        unreadable: how many were left out.
    """
    values = {
        "seed": config.seed,
        "draw_seed": config.draw_seed,
        "draws": config.draws,
        "degraded_views": config.degraded_views,
        "init": config.init or "",
        "unreadable": unreadable,
        "images": {name: count_sources(samples) for name, samples in parts.items()},
        "fakescan": fakescan.__version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    _replace(folder / TRAINING, json.dumps(values, indent=1) + "\n")


def write_calibration(
    folder: Path, calibration: Calibration, band: Band, validation: dict[str, Any]
) -> None:
    """Write calibration, thresholds and what they rest on."""
    values = {
        "calibration": to_dict(calibration),
        "band": to_dict(band),
        "validation": validation,
    }
    _replace(folder / CALIBRATION, json.dumps(values, indent=1) + "\n")


def count_sources(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Images by label (real, fake; members of pairs apart), then by source."""
    found: dict[str, Counter[str]] = {}
    for sample in samples:
        kind = ("real", "fake")[sample.label] + (" of pairs" if sample.pair else "")
        found.setdefault(kind, Counter())[sample.source] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", errors="surrogateescape")
    partial.replace(path)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _revision() -> str:
    """Commit of the checkout that this code runs from; empty where it was installed."""
    root = Path(fakescan.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
