"""Options that the `fakescan lora` commands share, and where their tables go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from fakescan.loras.table import Table

EXTRA = ("matplotlib", "scipy", "sklearn")
"""Packages of the extra `lora`."""
SUFFIXES = {".csv": "csv", ".json": "json"}


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


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

    for path in outputs or ():
        text = WRITERS[SUFFIXES[path.suffix.lower()]](table)
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    sys.stdout.write(WRITERS[format_.value](table))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written ({e.strerror})") from e
    finally:
        partial.unlink(missing_ok=True)


def check_outputs(outputs: Sequence[Path] | None) -> None:
    """Refuse files of no known format before anything is computed.

    Raises:
        ConfigError: naming the first of them.
    """
    for path in outputs or ():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: no format for it; known: {', '.join(sorted(SUFFIXES))}")


def note(text: str) -> None:
    """A line on standard error, safe for a terminal."""
    from fakescan.report.table import visible

    print(visible(text), file=sys.stderr)


@contextmanager
def extra(command: str) -> Iterator[None]:
    """Name the extra that is missing, in one line.

    Raises:
        ConfigError: a package of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in EXTRA:
            raise
        raise ConfigError(
            f"lora {command}: needs the package {e.name}: pip install 'fakescan[lora]'"
        ) from e
