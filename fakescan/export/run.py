"""What is exported -> the detector and what its new file will say of it.

A run folder of `fakescan train`, or a file that was exported before.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fakescan.config import from_dict, to_dict
from fakescan.errors import ConfigError
from fakescan.metadata import FORMAT_VERSION, DetectorMetadata, Precision
from fakescan.model.backbone import BackboneConfig, load_backbone
from fakescan.model.builtin import load_exported
from fakescan.model.checkpoint import (
    CALIBRATION,
    CHECKPOINT,
    CONFIG,
    TRAINING,
    load_checkpoint,
    restore,
)
from fakescan.model.detector import DetectorModel
from fakescan.records import Band, Calibration

T = TypeVar("T")


def read_run(
    folder: Path, *, name: str, precision: Precision, weights: Path | None = None
) -> tuple[DetectorModel, DetectorMetadata]:
    """Put a trained detector together again.

    Args:
        folder: that `fakescan train` wrote.
        name: of the detector, as reports will show it.
        precision: of the file to be written.
        weights: of the backbone, where they lie elsewhere now.

    Raises:
        ConfigError: no such run, or a file of it that cannot be read.
        WeightsError: a checkpoint or backbone that cannot be used, or that do not belong together.
    """
    if not (folder / CHECKPOINT).is_file():
        raise ConfigError(f"{folder}: no finished run; it has no {CHECKPOINT}")
    settings = _tables(folder / CONFIG)
    backbone = _table(BackboneConfig, settings, "backbone", folder / CONFIG)
    if weights is not None:
        backbone = replace(backbone, weights=weights)
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    model = restore(checkpoint, load_backbone(backbone))
    judged = _tables(folder / CALIBRATION)
    training = _tables(folder / TRAINING) if (folder / TRAINING).exists() else {}
    licence = checkpoint.backbone.licence
    metadata = DetectorMetadata(
        name=name,
        precision=precision,
        preprocess=checkpoint.preprocess,
        calibration=_table(Calibration, judged, "calibration", folder / CALIBRATION),
        band=_table(Band, judged, "band", folder / CALIBRATION),
        backbone=checkpoint.backbone,
        model=to_dict(model.config),
        training=dict(training),
        licences=(f"backbone: {licence}",) if licence else (),
    )
    return model, metadata


def read_file(
    file: Path, *, name: str | None, precision: Precision
) -> tuple[DetectorModel, DetectorMetadata]:
    """Take a detector out of a file that was exported before, as that file keeps its weights.

    Args:
        file: that `fakescan export` wrote.
        name: of the detector, as reports will show it; None leaves it.
        precision: of the file to be written.

    Raises:
        WeightsError: not such a file.
    """
    model, metadata = load_exported(file)
    return model, replace(
        metadata,
        format_version=FORMAT_VERSION,
        name=name or metadata.name,
        precision=precision,
    )


def _tables(path: Path) -> Mapping[str, Any]:
    """Tables of a TOML or JSON file."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({e.strerror})") from e
    except ValueError as e:
        raise ConfigError(f"{path}: cannot be read ({e})") from e
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected a table")
    return values


def _table(cls: type[T], values: Mapping[str, Any], name: str, path: Path) -> T:
    if name not in values:
        raise ConfigError(f"{path}: no table {name!r}; `fakescan train` writes it")
    return from_dict(cls, values[name], f"{path}: {name}")
