"""`fakescan data check`: is there something wrong with labelled images?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options

if TYPE_CHECKING:
    from fakescan.check.run import Check
    from fakescan.cli.output import FileOutput

NEEDED = ("imagehash", "pebble")
"""Packages of the extra `evaluate`."""
SUFFIXES = (".json", ".csv")
EXCEEDED = 1
"""Exit code, only with a limit."""


def check(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled images: a folder or a manifest.")
    ],
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    per_label: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="The AUC of file properties is of at most N reals and N fakes, chosen by a hash.",
        ),
    ] = 2000,
    max_properties_auc: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Exit with 1 when the AUC of all file properties together is above X.",
        ),
    ] = None,
    max_unreadable: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Exit with 1 when more images cannot be read."),
    ] = None,
    max_duplicates: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Exit with 1 when more files are exact copies of another."
        ),
    ] = None,
    max_near_duplicates: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Exit with 1 when more images look like one of another split."
        ),
    ] = None,
    max_label_conflicts: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Exit with 1 when more images look like one of the other label; aligned pairs "
            "and what is derived from one another do not count.",
        ),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write everything as .json, or a row per problem as .csv. Repeatable.",
        ),
    ] = None,
    workers: options.Workers = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For one file.")] = 60.0,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what labelled images are like, and what is wrong with them.

    The layout that was recognised; counts; unreadable images; copies and near-copies, across splits
    and across labels too; how formats, sizes and JPEG qualities differ between the classes; and the
    AUC that such file properties reach without a pixel, as `fakescan data audit` has it. Reports
    only, unless a limit is given: then exit code 1 says that it is exceeded.
    """
    from rich.console import Console

    _require_packages()
    from fakescan.check.files import read_files
    from fakescan.check.run import Limits, exceeded
    from fakescan.check.run import check as run_check
    from fakescan.cli.progress import count_progress
    from fakescan.data.recognise import recognise
    from fakescan.data.samples import read_samples

    limits = Limits(
        properties_auc=max_properties_auc,
        unreadable=max_unreadable,
        duplicates=max_duplicates,
        near_duplicates=max_near_duplicates,
        label_conflicts=max_label_conflicts,
    )
    samples = read_samples(data, split=tuple(split) if split else None)
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    with ExitStack() as stack:
        files = _open(output or [], stack)
        with count_progress(console, len(samples), is_shown=not (no_progress or quiet)) as progress:
            readings = read_files(samples, workers=workers, timeout_s=timeout)
            watched = progress.track(readings, task_id=progress.task_ids[0])
            found = run_check(recognise(data, samples), watched, per_label=per_label)
        lines = exceeded(found, limits)
        _write(found, files, str(data), lines)
    for line in lines:
        console.print(f"fakescan: {line}", markup=False)
    if lines:
        raise typer.Exit(EXCEEDED)


def _require_packages() -> None:
    from importlib.util import find_spec

    from fakescan.errors import ConfigError

    for name in NEEDED:
        if find_spec(name) is None:
            raise ConfigError(f"check: needs the package {name}: pip install 'fakescan[evaluate]'")


def _open(paths: Sequence[Path], stack: ExitStack) -> list[FileOutput]:
    """Open every output before anything is read, so that a wrong name costs no time."""
    from fakescan.cli.output import FileOutput
    from fakescan.errors import ConfigError

    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: no format of a check; known: {', '.join(SUFFIXES)}")
    files = []
    for path in paths:
        files.append(FileOutput(path, path.suffix.lower().removeprefix(".")))
        stack.callback(files[-1].close)
    return files


def _write(found: Check, files: Sequence[FileOutput], data: str, lines: Sequence[str]) -> None:
    """Print the table, and write every file."""
    from fakescan.check.document import csv_text, json_text
    from fakescan.check.text import table_text

    print(table_text(found), end="")
    for file in files:
        is_json = file.format == "json"
        file.write(json_text(found, data, lines) if is_json else csv_text(found))
        file.keep()
