"""A bundle -> one ONNX file that torch has been compared with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from fakescan.attribute.answer import read
from fakescan.attribute.graph import build_graph
from fakescan.attribute.namer import TorchNamer
from fakescan.attribute.session import Exported, OnnxNamer
from fakescan.attribute.store import Opened
from fakescan.errors import ExportError, ParityError
from fakescan.export.crops import fixture_crops
from fakescan.metadata import Precision

TOLERANCE = 1e-3
"""Of logits, in fp32, over the largest of them where that is above 1."""
EVERY = 9
"""Of the package's fixtures, one variant of each picture is compared."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how it compares with torch."""

    path: Path
    bytes: int
    images: int
    """Compared."""
    max_difference: float
    """Largest |logit difference|, over the largest logit where that is above 1."""
    flips: int
    """Images of which something else is said."""


def export(opened: Opened, out: Path, precision: Precision = "fp32") -> ExportReport:
    """Write an attributor as ONNX, and keep it only if it says what torch says.

    Args:
        opened: a bundle that has learnt something.
        out: replaced if it is there, and only by a file that passed.
        precision: how the tower's matrices are kept.

    Raises:
        ExportError: the file cannot be written, or the precision cannot hold the weights.
        ParityError: the file computes something else.
        AttributorError: the bundle knows nothing yet.
    """
    ours = TorchNamer(opened)
    exported = Exported(
        name=opened.folder.resolve().name,
        digest=opened.manifest.digest(),
        precision=precision,
        preprocess=opened.manifest.preprocess,
        classes=ours.classes,
        rules=ours.rules,
    )
    proto = build_graph(opened.attributor, exported)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        onnx.save(proto, partial)
        report = compare(ours, OnnxNamer(partial, device="cpu"), partial)
        _verify(report, precision)
        partial.replace(out)
    except OSError as e:
        raise ExportError(f"{out}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)
    return replace(report, path=out)


def compare(ours: TorchNamer, theirs: OnnxNamer, path: Path) -> ExportReport:
    """Both on the package's pictures."""
    crops = fixture_crops(replace(ours.preprocess, crops=1))[::EVERY]
    expected = np.concatenate([ours.logits(crop[np.newaxis]) for crop in crops])
    found = theirs.logits(crops)
    scale = max(1.0, float(np.abs(expected).max()))
    said = [read(logits, ours.classes, ours.rules) for logits in (expected, found)]
    flips = sum(a.generator != b.generator for a, b in zip(*said, strict=True))
    difference = float(np.abs(expected - found).max()) / scale
    return ExportReport(path, path.stat().st_size, len(crops), difference, flips)


def _verify(report: ExportReport, precision: Precision) -> None:
    if not np.isfinite(report.max_difference):
        raise ParityError("parity: a logit is not a number")
    if precision == "fp32" and report.max_difference > TOLERANCE:
        raise ParityError(
            f"parity: logits differ from torch by up to {report.max_difference:.2g}; "
            f"at most {TOLERANCE:g} is allowed in fp32"
        )
    if precision != "fp32" and report.flips:
        raise ParityError(
            f"parity: of {report.flips} of {report.images} images something else is said in "
            f"{precision}; use --precision fp32"
        )
