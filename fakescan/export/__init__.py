"""Export: a trained detector -> one ONNX file that torch has been compared with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx

from fakescan.errors import ExportError
from fakescan.export.crops import fixture_crops, folder_crops
from fakescan.export.graph import Form, build_graph
from fakescan.export.parity import Parity, Progress, measure, verify
from fakescan.metadata import DetectorMetadata
from fakescan.model.detector import DetectorModel
from fakescan.weights import sha256_of

__all__ = ["ExportReport", "Form", "export_detector"]

MAX_BYTES = 2**31 - 2**20
"""What protobuf, and so a single ONNX file, can hold; 1 MB is left for the graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written, and how it compares with torch."""

    path: Path
    bytes: int
    sha256: str
    """Of the file."""
    metadata: DetectorMetadata
    """What is inside the file."""
    parity: Parity


def export_detector(
    model: DetectorModel,
    metadata: DetectorMetadata,
    out: Path,
    *,
    form: Form | None = None,
    check: Path | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a detector as ONNX, compare it with torch, and keep it only if both agree.

    Args:
        model: left as it is.
        metadata: goes into the file; its `precision` decides how weights are kept.
        out: replaced if it is there, and only by a file that passed.
        form: what the file takes and gives; None: normalised squares, and no explanation.
        check: folder of images to compare on; None takes those in the package.
        progress: called while comparing.

    Raises:
        ExportError: the file cannot be written, would be too large, or the precision cannot hold
            the weights.
        ParityError: the file computes something else.
        DatasetError: `check` is no folder of images.
    """
    preprocess = metadata.preprocess
    crops = folder_crops(check, preprocess) if check else fixture_crops(preprocess)
    proto = build_graph(model, metadata, form)
    size = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    if size > MAX_BYTES:
        raise ExportError(
            f"{out}: {size / 1e9:.1f} GB of weights in {metadata.precision}; "
            "a single ONNX file holds 2: use a smaller --precision or depth"
        )
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        onnx.save(proto, partial)
        parity = measure(model, partial, metadata, crops, progress)
        verify(parity, metadata)
        partial.replace(out)
    except OSError as e:
        raise ExportError(f"{out}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(
        path=out,
        bytes=out.stat().st_size,
        sha256=sha256_of(out),
        metadata=metadata,
        parity=parity,
    )
