"""`fakescan verify`: whether a detector's file, from anywhere, can be relied on here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class RuntimeName(StrEnum):
    """What runs the file."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


def verify(
    model: Annotated[
        Path, typer.Argument(metavar="FILE", help="Detector that `fakescan export` wrote.")
    ],
    runtime: Annotated[
        RuntimeName, typer.Option(help="What to run the file in.")
    ] = RuntimeName.ONNXRUNTIME,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the file's sha256 should be.")
    ] = None,
) -> None:
    """Check a detector's file: valid ONNX, complete, unchanged, and computing as at its export.

    Prints a line for each step, and ends with exit code 3 and a reason at the first that fails.
    """
    from fakescan.report.table import visible
    from fakescan.verify import verify as steps

    for line in steps(model, runtime.value, sha256):
        print(visible(line), flush=True)
