"""What runs say of the images they held out: written by each, pooled to calibrate another run.

A detector that learns from every source has none left to be calibrated on. Runs that hold out one
part of the sources each, and are otherwise alike, stand in for it: every image is judged by a run
that never saw its source, and the pooled logits calibrate the run that saw them all.

Source: Platt (1999), section 2.3, on cross-validated outputs; as scikit-learn's
`CalibratedClassifierCV(ensemble=False)`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import Sample, require_both_classes
from fakescan.errors import ConfigError
from fakescan.train.folder import read_run
from fakescan.train.settings import TrainConfig

FILE = "held-out.csv"
COLUMNS = ("path", "label", "source", "logit")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Images as a scan would cut them, none of them of an aligned pair."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float64]
    """(n,), each by a run that held its source out."""


def write_held_out(folder: Path, held_out: HeldOut) -> None:
    """Write a row per image."""
    path = folder / FILE
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for sample, logit in zip(held_out.samples, held_out.logits.tolist(), strict=True):
            table.writerow((sample.key, sample.label, sample.source, repr(logit)))


def pool_held_out(folders: Sequence[Path], config: TrainConfig) -> HeldOut:
    """What several runs say of the images that each held out.

    Args:
        folders: of the runs.
        config: of the run to be calibrated; theirs must be the same model, views and preprocessing.

    Raises:
        ConfigError: no such run, one of another kind, an image that two held out, or a class
            that none did.
    """
    samples: list[Sample] = []
    logits: list[float] = []
    taken: dict[str, Path] = {}
    for folder in folders:
        _require_alike(folder, read_run(folder), config)
        for sample, logit in _read(folder):
            if sample.key in taken:
                raise ConfigError(
                    f"{folder}: held out {sample.key}, and so did {taken[sample.key]}; "
                    "runs that calibrate another hold out different sources"
                )
            taken[sample.key] = folder
            samples.append(sample)
            logits.append(logit)
    require_both_classes(samples, "images that were held out")
    return HeldOut(tuple(samples), np.array(logits, np.float64))


def _require_alike(folder: Path, found: TrainConfig, wanted: TrainConfig) -> None:
    for name in ("backbone", "model", "preprocess", "augmentation"):
        if getattr(found, name) != getattr(wanted, name):
            raise ConfigError(f"{folder}: its {name} is another than that of the run to calibrate")


def _read(folder: Path) -> Iterator[tuple[Sample, float]]:
    path = folder / FILE
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            for row in csv.DictReader(stream):
                key, source = row["path"], row["source"]
                sample = Sample(path=Path(key), key=key, label=int(row["label"]), source=source)
                yield sample, float(row["logit"])
    except FileNotFoundError as e:
        raise ConfigError(f"{folder}: no {FILE}; the run held nothing out, or is not done") from e
    except (OSError, KeyError, ValueError, TypeError) as e:
        raise ConfigError(f"{path}: not readable as held-out logits ({e})") from e
