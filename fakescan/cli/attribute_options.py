"""Options that the `fakescan attribute` commands share, and where their rows go."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli.tables import Format as Format
from fakescan.cli.tables import check_outputs as check_outputs
from fakescan.cli.tables import needing, send
from fakescan.cli.tables import note as note
from fakescan.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from fakescan.cli.training import Verbosity

VERSION = 1
"""Of the JSON documents."""
NewAttributor = Annotated[
    Path, typer.Argument(metavar="ATTR", help="Folder for the attributor; new or empty.")
]
Attributor = Annotated[
    Path, typer.Argument(metavar="ATTR", help="Folder that `fakescan attribute init` made.")
]
BackboneWeights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The backbone's weights, a safetensors file.",
        show_default="where they were at init",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Passes over the images; 0: no adapter learns.",
        show_default="8; lorax-paper: 50",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Highest learning rate; lorax-paper has its own.",
        show_default="0.001",
    ),
]
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Images of one training step.")]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        help="What standard output gets.",
        show_default="table on a terminal, csv elsewhere, nothing with --output",
    ),
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the rows there: .csv or .json. Repeatable.",
    ),
]


def extra(command: str) -> AbstractContextManager[None]:
    """Name the package of the extra `train` that is missing, in one line."""
    from fakescan.cli.training import MISSING

    return needing(MISSING, f"attribute {command}", "train")


def images_of(
    fakes: Sequence[str], reals: Sequence[Path]
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Images of each generator, by name, and the real ones.

    Raises:
        ConfigError: a folder that does not exist, or a name that is empty.
        DatasetError: a folder without images.
    """
    generators: dict[str, list[Path]] = {}
    for text in fakes:
        name, folder = _named(text)
        generators.setdefault(name, []).extend(_images(folder, f"--fake {text}"))
    return generators, [path for folder in reals for path in _images(folder, f"--real {folder}")]


def _named(text: str) -> tuple[str, Path]:
    """`GEN=DIR`, or `DIR`, whose name is the generator's; a folder may have = in its name."""
    name, sign, rest = text.partition("=")
    if not sign or Path(text).exists():
        folder = Path(text)
        return folder.resolve().name, folder
    return name.strip(), Path(rest)


def _images(folder: Path, where: str) -> list[Path]:
    from fakescan.scan.selection import Selection
    from fakescan.scan.walk import walk

    if not folder.exists():
        raise ConfigError(f"{where}: no such folder")
    linked = Selection(follow_symlinks=True)
    found = [Path(path) for path in walk([str(folder)], Counter(), linked)]
    if not found:
        raise DatasetError(f"{where}: no images in it")
    return found


def write(
    command: str,
    columns: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    format_: Format | None,
    outputs: Sequence[Path] | None,
) -> None:
    """Send rows to files and to standard output.

    Raises:
        OutputError: a file cannot be written.
    """
    from fakescan.loras.table import Table, csv_text, text_table

    table = Table(command, columns, rows, facts)
    if format_ is None and not outputs:
        format_ = Format.TABLE if sys.stdout.isatty() else Format.CSV
    texts = {
        Format.TABLE: lambda: text_table(table),
        Format.CSV: lambda: csv_text(table),
        Format.JSON: lambda: _document(command, rows, facts),
    }
    send(texts, format_, outputs)


def _document(command: str, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    from fakescan.report.lines import json_text

    values = {
        "fakescan_attribute_version": VERSION,
        "command": command,
        **facts,
        "rows": [dict(row) for row in rows],
    }
    return json.dumps(json.loads(json_text(values)), ensure_ascii=False, indent=1) + "\n"


def stderr() -> Console:
    """Where progress goes."""
    from rich.console import Console

    return Console(stderr=True)


def verbosity(is_quiet: bool, has_no_progress: bool) -> Verbosity:
    """How much is said on the way."""
    return "quiet" if is_quiet else "notes" if has_no_progress else "bar"
