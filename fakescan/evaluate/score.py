"""Samples -> logits under every condition: as they are, equalised, and perturbed.

Files are decoded in child processes, as in a scan. An image counts under all conditions or, when
anything of it fails, under none, so that conditions are compared on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fakescan.data.properties import NAMES
from fakescan.data.samples import Sample
from fakescan.evaluate.benchmark import ScoreTable
from fakescan.image import Limits, Preprocess
from fakescan.machine import usable_cores
from fakescan.metadata import DetectorMetadata
from fakescan.perturb import PLAIN, canonical
from fakescan.records import Scorer
from fakescan.scan.ahead import Decoded, decode_ahead
from fakescan.scan.crop import Crop, Extras
from fakescan.scan.decode import Children
from fakescan.scan.worker import Job


class LoadedDetector(Scorer, Protocol):
    """A detector that says what it is: an ONNX session, or a training run's checkpoint."""

    @property
    def metadata(self) -> DetectorMetadata:
        """Preprocessing, calibration, thresholds."""
        ...

    @property
    def fingerprint(self) -> str:
        """Its name and the first 12 hex digits of its file's sha256."""
        ...

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where it runs."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreSettings:
    """How samples are scored."""

    perturbations: tuple[str, ...] = ()
    """Under which every image is scored besides, such as jpeg:75 or equalise:256."""
    batch_size: int = 1
    """Images scored together."""
    workers: int | None = None
    """Processes that decode; None takes one per core."""
    timeout_s: float = 60.0
    """Seconds that decoding one image may take."""
    limits: Limits = field(default_factory=Limits)
    """Beyond which an image is refused."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scored images, the same under every condition."""

    tables: Mapping[str, ScoreTable]
    """By perturbation; `PLAIN` is the images as they are."""
    properties: NDArray[np.float64]
    """Of their files, (N, P), as `fakescan.data.properties`."""

    @property
    def plain(self) -> ScoreTable:
        """The images as they are."""
        return self.tables[PLAIN]


def score_samples(
    samples: Sequence[Sample],
    scorer: Scorer,
    preprocess: Preprocess,
    settings: ScoreSettings,
    progress: Callable[[], None] = lambda: None,
) -> Scored:
    """Score every sample as a scan would; what cannot be scored is listed, not fatal.

    Args:
        samples: with distinct keys.
        scorer: the detector.
        preprocess: how an image becomes its input; the detector's own, or a protocol's.
        settings: conditions and resources.
        progress: called for each sample that is through.
    """
    names = (PLAIN, *canonical(settings.perturbations))
    kept: list[tuple[Sample, tuple[float, ...], list[float]]] = []
    unreadable: list[tuple[str, str]] = []
    with closing(_decoded(samples, preprocess, settings)) as decoded:
        while group := list(islice(decoded, settings.batch_size)):
            rows = iter(_logits([d.pixels for d in group if d.pixels], names, scorer))
            for item in group:
                progress()
                logits = next(rows) if item.pixels else []
                if item.pixels is None:
                    unreadable.append((item.item.key, str(item.error)))
                elif wrong := [x for x in logits if not math.isfinite(x)]:
                    unreadable.append((item.item.key, f"the detector gave {wrong[0]} for it"))
                else:
                    kept.append((item.item, item.pixels.properties or (), logits))
    chosen = tuple(sample for sample, _, _ in kept)
    values = np.array([logits for _, _, logits in kept], dtype=np.float64).reshape(-1, len(names))
    tables = {
        name: ScoreTable(chosen, values[:, i], tuple(unreadable)) for i, name in enumerate(names)
    }
    vectors = np.array([vector for _, vector, _ in kept]).reshape(-1, len(NAMES))
    return Scored(tables, vectors)


def _decoded(
    samples: Sequence[Sample], preprocess: Preprocess, settings: ScoreSettings
) -> Generator[Decoded[Sample, Crop], None, None]:
    job = Job(
        preprocess=preprocess,
        limits=settings.limits,
        timeout_s=settings.timeout_s,
        extras=Extras(perturbations=canonical(settings.perturbations), properties=True),
    )
    workers = settings.workers or usable_cores()
    with Children(job) as children:

        def look(sample: Sample) -> Crop:
            return children.decode(str(sample.path))

        ahead = settings.batch_size + 2 * workers
        with closing(decode_ahead(samples, look, workers=workers, ahead=ahead)) as decoded:
            yield from decoded


def _logits(crops: Sequence[Crop], names: Sequence[str], scorer: Scorer) -> list[list[float]]:
    """One row per image, a logit per name."""
    if not crops:
        return []
    looks = [crop.looks for crop in crops]
    columns = [scorer.logits(np.stack([look[name] for look in looks])) for name in names]
    rows: list[list[float]] = np.stack(columns, axis=1).astype(np.float64).tolist()
    return rows
