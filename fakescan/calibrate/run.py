"""A detector and labelled images -> the same detector with other thresholds, in a new file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import fakescan
from fakescan.calibrate.fit import Method, Targets
from fakescan.calibrate.folds import Figures, cross_fit, deal, figures, fit, judge
from fakescan.calibrate.leaks import RECORD, useless, warnings
from fakescan.calibrate.read import Images, Progress, read_images
from fakescan.data.groups import Grouping, group
from fakescan.data.samples import Sample, subsample
from fakescan.errors import ConfigError, DatasetError, WeightsError
from fakescan.evaluate.audit import audit
from fakescan.evaluate.intervals import Estimate
from fakescan.evaluate.metrics import roc_auc
from fakescan.metadata import FORMAT_VERSION, KEY, DetectorMetadata
from fakescan.protobuf import replace_property
from fakescan.session import Device, OnnxSession

LEAST = 50
"""Readable images of each class."""
AUDITED = 2000
"""Images of each class whose file properties are looked at; `fakescan data audit` does the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked for."""

    method: Method = "platt"
    targets: Targets = field(default_factory=Targets)
    name: str = ""
    """Of the new detector; empty: the old one's and `-calibrated`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was fitted, and how good it is."""

    metadata: DetectorMetadata
    """Of the new file."""
    old: DetectorMetadata
    fingerprint: str
    """Of the old file."""
    images: dict[str, dict[str, int]]
    """Readable ones by class and source."""
    grouping: str
    """What cross-fitting kept together."""
    folds: int
    auc: float
    """Of the logits: no calibration changes it."""
    properties_auc: Estimate
    """Of file properties alone."""
    before: Figures
    """At the old thresholds."""
    after: Figures
    """At new ones, cross-fitted."""
    fitted: Figures
    """At the new ones, on the very images they were fitted on: flattering."""
    warnings: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


def check_target(out: Path, model: Path, *, force: bool) -> None:
    """Refuse to write over the detector, or without being told to over another file.

    Raises:
        ConfigError: with what would be right.
    """
    if out.exists() and out.samefile(model):
        raise ConfigError(f"{out}: is the detector itself; calibrating writes a new file")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: no place for a file; name one in a folder that exists")
    if out.exists() and not force:
        raise ConfigError(f"{out}: exists; choose another --out, or --force to replace it")


def calibrate(
    samples: Sequence[Sample],
    model: Path,
    out: Path,
    request: Request,
    *,
    device: Device = "auto",
    progress: Progress = lambda: None,
) -> Result:
    """Fit, judge, and write the new file; it appears whole and checked, or not at all.

    Args:
        samples: labelled images, with distinct keys.
        model: the detector, left as it is.
        out: replaced if it is there; see `check_target`.
        request: method and targets.
        device: where the detector runs.
        progress: called for each image that is through.

    Raises:
        DatasetError: too few images can be read.
        WeightsError: the detector cannot be used, or the new file does not score like it.
    """
    session = OnnxSession(model, device=device)
    images = read_images(samples, session, session.metadata.preprocess, progress)
    _require_enough(images)
    result = _fit(images, session, request)
    write(model, out, result.metadata, lambda new: _check(session, new, images, device))
    return result


def write(
    model: Path, out: Path, metadata: DetectorMetadata, check: Callable[[Path], None]
) -> None:
    """Write a detector's file with other metadata, and keep it if the check passes.

    Raises:
        WeightsError: not an ONNX file.
        ConfigError: the file cannot be written.
    """
    try:
        data = replace_property(model.read_bytes(), KEY, metadata.to_json())
    except ValueError as e:
        raise WeightsError(f"{model}: not an ONNX file ({e})") from e
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        check(partial)
        partial.replace(out)
    except OSError as e:
        raise ConfigError(f"{out}: cannot be written ({e.strerror})") from e
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _require_enough(images: Images) -> None:
    reals, fakes = (int(np.sum(images.labels == label)) for label in (0, 1))
    if min(reals, fakes) < LEAST:
        left_out = f" ({len(images.unreadable)} unreadable)" if images.unreadable else ""
        raise DatasetError(
            f"{reals} real and {fakes} fake images can be read{left_out}; "
            f"calibrating needs at least {LEAST} of each"
        )


def _fit(images: Images, session: OnnxSession, request: Request) -> Result:
    old, labels = session.metadata, images.labels
    method, targets = request.method, request.targets
    grouping = group(images.samples)
    folds = deal(labels, _groups(images, grouping))
    calibration, band = fit(images.logits, labels, method, targets)
    crossed = cross_fit(images.logits, labels, folds, method, targets)
    checked = audit(subsample(images.samples, per_label=AUDITED, seed=0))
    metadata = replace(
        old,
        format_version=FORMAT_VERSION,
        name=request.name or f"{old.name}-calibrated",
        calibration=calibration,
        band=band,
        training={**old.training, RECORD: _record(images, session, request)},
    )
    return Result(
        metadata=metadata,
        old=old,
        fingerprint=session.fingerprint,
        images=_counts(images.samples),
        grouping=grouping.kind,
        folds=len(np.unique(folds)),
        auc=roc_auc(labels, images.logits),
        properties_auc=checked.together,
        before=figures(labels, judge(images.logits, old.calibration, old.band)),
        after=figures(labels, crossed),
        fitted=figures(labels, judge(images.logits, calibration, band)),
        warnings=(
            *useless(calibration),
            *warnings(images, grouping, checked, old, targets),
        ),
        unreadable=images.unreadable,
    )


def _groups(images: Images, grouping: Grouping) -> list[str]:
    """Group of every image; exact copies in different groups make these one."""
    names = [grouping.groups[s.key] for s in images.samples]
    first: dict[str, str] = {}
    into: dict[str, str] = {}

    def root(name: str) -> str:
        while name in into:
            name = into[name]
        return name

    for digest, name in zip(images.digests, names, strict=True):
        a, b = sorted((root(first.setdefault(digest, name)), root(name)))
        if a != b:
            into[b] = a
    joined = [root(name) for name in names]
    for label, kind in ((0, "real"), (1, "fake")):
        if len({n for n, s in zip(joined, images.samples, strict=True) if s.label == label}) < 2:
            raise DatasetError(
                f"all {kind} images are copies of one another: nothing is left to judge by"
            )
    return joined


def _record(images: Images, session: OnnxSession, request: Request) -> dict[str, Any]:
    """What goes into the new file: enough to tell what it was calibrated on, and no date."""
    lines = sorted(
        f"{sample.label} {digest}\n"
        for sample, digest in zip(images.samples, images.digests, strict=True)
    )
    return {
        "method": request.method,
        "max_false_positives": request.targets.max_false_positives,
        "max_misses": request.targets.max_misses,
        "images": _counts(images.samples),
        "images_sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "unreadable": len(images.unreadable),
        "from": {"name": session.metadata.name, "sha256": session.sha256},
        "fakescan": fakescan.__version__,
    }


def _counts(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {"real": {}, "fake": {}}
    for sample in samples:
        table = found[("real", "fake")[sample.label]]
        table[sample.source] = table.get(sample.source, 0) + 1
    return {kind: dict(sorted(table.items())) for kind, table in found.items()}


def _check(session: OnnxSession, new: Path, images: Images, device: Device) -> None:
    """Load the new file and score a few crops with both."""
    found = OnnxSession(new, device=device).logits(images.crops)
    if not np.array_equal(found, session.logits(images.crops)):
        raise WeightsError(f"{new}: does not score like the file it was made from; not kept")
