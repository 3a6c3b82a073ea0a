"""`fakescan scan`: the options. What they start is in `fakescan.cli.scanning`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fakescan.cli import options


class Format(StrEnum):
    """What standard output gets."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    HTML = "html"


class FailOn(StrEnum):
    """Verdicts that can be asked to fail a scan."""

    FAKE = "fake"
    UNCERTAIN = "uncertain"
    ERROR = "error"


def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Images, and folders of images.")
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a report; .csv, .json, .jsonl, .sarif, .xml (JUnit) or .html by suffix. "
            "Repeatable.",
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="What standard output gets.",
            show_default="table on a terminal, csv elsewhere, nothing with --output",
        ),
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(help="Exit with code 1 if any image has this verdict. Repeatable."),
    ] = None,
    max_fake: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Exit with code 1 if more than N images are fake."),
    ] = None,
    only_flagged: Annotated[
        bool,
        typer.Option(
            "--only-flagged", help="Leave real images out of reports; they are still counted."
        ),
    ] = False,
    model: options.Model = None,
    threshold: options.Threshold = None,
    device: options.Device = options.DeviceName.AUTO,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images scored together.", show_default="1 on the CPU, 32 on a GPU"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", help="Processes that decode.", show_default="one per core"),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="What decoding one image may take.")
    ] = 60.0,
    max_megapixels: Annotated[float, typer.Option(help="Larger images are not decoded.")] = 250.0,
    offline: options.Offline = False,
    no_color: options.NoColor = False,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Score images; say which are real, fake or uncertain.

    Every image file gets a row with its verdict and score, or with the reason why it has none.
    Exit codes: 0 done; 1 only by --fail-on or --max-fake; 2 usage, or a path that does not exist;
    3 a detector that cannot be used, or images and none scored; 130 interrupted.
    """
    from fakescan.cli.scanning import Wanted, run_scan  # loads NumPy, Pillow and rich
    from fakescan.scan.pipeline import ScanSettings

    settings = ScanSettings(
        threshold=threshold,
        batch_size=batch_size,
        workers=workers,
        timeout_s=timeout,
        max_megapixels=max_megapixels,
    )
    wanted = Wanted(
        files=tuple(output or ()),
        stdout_format=format_.value if format_ else None,
        fail_on=frozenset(v.value for v in fail_on or ()),
        max_fake=max_fake,
        is_only_flagged=only_flagged,
        model=model,
        device=device.value,
        is_offline=offline,
        is_quiet=quiet,
        has_progress=not (no_progress or quiet),
        has_color=not no_color,
    )
    raise typer.Exit(run_scan(paths, settings, wanted))
