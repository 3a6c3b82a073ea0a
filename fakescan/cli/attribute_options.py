"""Options that the `fakescan attribute` commands share, and where their rows go."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from fakescan.cli.training import Verbosity

VERSION = 1
"""Of the JSON documents."""
SUFFIXES = (".csv", ".json")


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


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


@contextmanager
def extra(command: str) -> Iterator[None]:
    """Name the package that is missing, in one line.

    Raises:
        ConfigError: one of the extra `train` is not installed.
    """
    from fakescan.cli.training import MISSING

    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in MISSING:
            raise
        raise ConfigError(
            f"attribute {command}: needs the package {e.name}: pip install 'fakescan[train]'"
        ) from e


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


def check_outputs(outputs: Sequence[Path] | None) -> None:
    """Refuse files of no known format before anything is computed.

    Raises:
        ConfigError: naming the first of them.
    """
    for path in outputs or ():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: no format for it; known: {', '.join(SUFFIXES)}")


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
    from fakescan.cli.lora_options import write_whole
    from fakescan.loras.table import Table, csv_text, text_table

    table = Table(command, columns, rows, facts)
    texts = {
        Format.TABLE: lambda: text_table(table),
        Format.CSV: lambda: csv_text(table),
        Format.JSON: lambda: _document(table.command, rows, facts),
    }
    for path in outputs or ():
        kind = Format.CSV if path.suffix.lower() == ".csv" else Format.JSON
        write_whole(path, texts[kind]().encode("utf-8", "surrogateescape"))
    if format_ is None and not outputs:
        format_ = Format.TABLE if sys.stdout.isatty() else Format.CSV
    if format_ is not None:
        sys.stdout.flush()
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        sys.stdout.write(texts[format_]())


def _document(command: str, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    from fakescan.report.lines import json_text

    values = {
        "fakescan_attribute_version": VERSION,
        "command": command,
        **facts,
        "rows": [dict(row) for row in rows],
    }
    return json.dumps(json.loads(json_text(values)), ensure_ascii=False, indent=1) + "\n"


def note(text: str) -> None:
    """A line on standard error, safe for a terminal."""
    from fakescan.report.table import visible

    print(visible(text), file=sys.stderr)


def stderr() -> Console:
    """Where progress goes."""
    from rich.console import Console

    return Console(stderr=True)


def verbosity(is_quiet: bool, has_no_progress: bool) -> Verbosity:
    """How much is said on the way."""
    return "quiet" if is_quiet else "notes" if has_no_progress else "bar"
