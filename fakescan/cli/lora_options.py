"""Options that the `fakescan lora` commands share, and where their tables go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli.tables import Format as Format
from fakescan.cli.tables import check_outputs as check_outputs
from fakescan.cli.tables import needing, send
from fakescan.cli.tables import note as note

if TYPE_CHECKING:
    from fakescan.loras.table import Table

EXTRA = ("matplotlib", "scipy", "sklearn")
"""Packages of the extra `lora`."""


class Comparison(StrEnum):
    """What files are compared by."""

    AUTO = "auto"
    EXACT = "exact"
    SKETCH = "sketch"

    @property
    def is_exact(self) -> bool | None:
        """None lets the cost decide."""
        return None if self is Comparison.AUTO else self is Comparison.EXACT


class Descriptor(StrEnum):
    """What a file is described by."""

    GAUGE_FREE = "gauge-free"
    PAPER = "paper"
    PAPER_Z = "paper-z"


Index = Annotated[
    Path, typer.Argument(metavar="IDX", help="Folder that `fakescan lora index` wrote.")
]
AskedFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="LoRA file; it need not be in the index.")
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What standard output gets.")]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Also write the rows there: .csv or .json. Repeatable.",
    ),
]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GROUP",
        help="Compare only these parts: attn-self, attn-cross, ff, conv, proj, time-emb, "
        "text-encoder. Repeatable.",
    ),
]
Compare = Annotated[
    Comparison,
    typer.Option(
        help="Compare by the files' factors, or by the sketches in the index; auto takes factors "
        "where that takes seconds and the files are there."
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Only files for this base model, where the index has several."
    ),
]
DescriptorOption = Annotated[
    Descriptor,
    typer.Option(
        help="gauge-free compares updates; paper compares A and B as published, for files of one "
        "initialisation, rank and set of modules; paper-z divides by standard deviations first."
    ),
]


def write(table: Table, format_: Format, outputs: Sequence[Path] | None) -> None:
    """Send a table to standard output and to files.

    Raises:
        OutputError: a file cannot be written.
    """
    from fakescan.loras.table import WRITERS

    texts = {Format(name): partial(writer, table) for name, writer in WRITERS.items()}
    send(texts, format_, outputs)


def extra(command: str) -> AbstractContextManager[None]:
    """Name the extra that is missing, in one line."""
    return needing(EXTRA, f"lora {command}", "lora")
