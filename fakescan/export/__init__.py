"""Export: a trained detector -> one ONNX file that torch has been compared with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from fakescan.errors import ExportError
from fakescan.export.crops import fixture_looks, folder_looks
from fakescan.export.graph import Form, build_graph
from fakescan.export.parity import Parity, Progress, compare, file_side, torch_side, verify
from fakescan.export.specimen import add_specimens
from fakescan.metadata import DetectorMetadata, Precision
from fakescan.model.detector import DetectorModel
from fakescan.weights import sha256_of

__all__ = ["Check", "ExportReport", "Form", "export_detector"]

MAX_BYTES = 2**31 - 2**20
"""What protobuf, and so a single ONNX file, can hold; 1 MB is left for the graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How a file is compared with torch before it is kept."""

    folder: Path | None = None
    """Images to compare on; None takes those in the package."""
    allow_drift: bool = False
    """Keep a file in another precision than fp32 however many verdicts it changes."""
    others: tuple[Precision, ...] = ()
    """Precisions to compare besides; nothing is kept of them."""


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
    others: dict[Precision, tuple[int, Parity]] = field(default_factory=dict)
    """Bytes and parity of further precisions."""


def export_detector(
    model: DetectorModel,
    metadata: DetectorMetadata,
    out: Path,
    *,
    form: Form | None = None,
    check: Check | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a detector as ONNX, compare it with torch, and keep it only if both agree.

    Args:
        model: left as it is.
        metadata: goes into the file; its `precision` decides how weights are kept.
        out: replaced if it is there, and only by a file that passed.
        form: what the file takes and gives; None: normalised squares, and no explanation.
        check: None compares on the package's images.
        progress: called while comparing, from the start again for each side.

    Raises:
        ExportError: the file cannot be written, would be too large, or the precision cannot hold
            the weights.
        ParityError: the file computes something else, or drifts too far.
        DatasetError: the folder to compare on is no folder of images.
    """
    check = check or Check()
    preprocess = metadata.preprocess
    looks = folder_looks(check.folder, preprocess) if check.folder else fixture_looks(preprocess)
    with _written(model, metadata, out, form) as partial:
        ours = torch_side(model, looks, preprocess, progress)
        theirs = file_side(partial, looks, preprocess, progress)
        parity = compare(ours, theirs, looks, metadata)
        verify(parity, metadata, allow_drift=check.allow_drift)
        others = {}
        for precision in check.others:
            other = replace(metadata, precision=precision)
            with _written(model, other, out, form) as file:
                theirs = file_side(file, looks, preprocess, progress)
                others[precision] = file.stat().st_size, compare(ours, theirs, looks, other)
        add_specimens(partial, model, preprocess, form)
        partial.replace(out)
    return ExportReport(
        path=out,
        bytes=out.stat().st_size,
        sha256=sha256_of(out),
        metadata=metadata,
        parity=parity,
        others=others,
    )


@contextmanager
def _written(
    model: DetectorModel, metadata: DetectorMetadata, out: Path, form: Form | None
) -> Iterator[Path]:
    """A file beside the one that is wanted, gone afterwards unless it was moved."""
    proto = build_graph(model, metadata, form)
    size = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    if size > MAX_BYTES:
        raise ExportError(
            f"{out}: {size / 1e9:.1f} GB of weights in {metadata.precision}; "
            "a single ONNX file holds 2: use a smaller --precision or depth"
        )
    partial = out.with_name(f".{out.name}.{metadata.precision}.{os.getpid()}")
    try:
        onnx.save(proto, partial)
        yield partial
    except OSError as e:
        raise ExportError(f"{out}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)
