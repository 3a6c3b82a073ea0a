"""Options that several commands share, with one wording."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class DeviceName(StrEnum):
    """Where the detector runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="Detector: a file that `fakescan export` wrote, or a name in the registry.",
        show_default="the one that comes with the package",
    ),
]
Device = Annotated[
    DeviceName, typer.Option(help="Where the detector runs; auto takes a GPU that works.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Score from which an image is fake, and below which it is real.",
        show_default="the detector's two thresholds",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch a detector.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary on standard error.")
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="No colours; the variable NO_COLOR does the same."),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]
