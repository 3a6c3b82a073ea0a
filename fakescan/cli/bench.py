"""`fakescan bench`: how fast this machine scans."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options

if TYPE_CHECKING:
    from fakescan.bench.comparison import Extras
    from fakescan.bench.run import BenchSettings

COMPARED = 8
"""Images in a round of a comparison, unless told otherwise."""


class Format(StrEnum):
    """How the result is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Images, and folders of images, to measure with.",
            show_default="made JPEG files of 500x375",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Images in a round, the first that are met.",
            show_default="32 batches",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often everything is measured.")
    ] = 7,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="What standard output gets.")
    ] = Format.TABLE,
    model: options.Model = None,
    device: options.Device = options.DeviceName.AUTO,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare ways to score on the processor instead: the file as it is stored, its "
            "fast form, bare dynamic int8, decoding alone, and what is installed of other "
            "precisions, OpenVINO and torch.",
        ),
    ] = False,
    offline: options.Offline = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Measure how fast this machine scans, and where the time goes.

    The detector alone, the whole scan without its cache, and decoding alone take turns, so that
    what else the machine does weighs on all of them. Takes a minute on two cores.
    """
    from rich.console import Console

    from fakescan import weights
    from fakescan.bench import text
    from fakescan.bench.run import BenchSettings
    from fakescan.bench.run import bench as measure
    from fakescan.cli.progress import bench_progress, fetch_progress
    from fakescan.errors import ConfigError
    from fakescan.scan.walk import check

    settings = BenchSettings(images=images, rounds=rounds, batch_size=batch_size, workers=workers)
    check(paths or [])
    stderr = Console(stderr=True)
    is_shown = stderr.is_terminal and not no_progress
    with fetch_progress(stderr, is_shown=is_shown) as fetching:
        file = weights.resolve(model, offline=offline, progress=fetching)
    if compare:
        with bench_progress(stderr, is_shown=is_shown) as progress:
            text_ = _compared(file, paths or [], settings, threads, format_, progress)
        print(text_, end="")
        return
    if threads is not None:
        raise ConfigError("--threads: only with --compare; a scan without it shows the default")
    with bench_progress(stderr, is_shown=is_shown) as progress:
        result = measure(file, paths or [], settings, device.value, progress)
    writers = {
        Format.TABLE: text.table_text,
        Format.MARKDOWN: text.markdown_text,
        Format.JSON: text.json_text,
    }
    print(writers[format_](result), end="")


def _compared(
    file: Path,
    paths: list[str],
    settings: BenchSettings,
    threads: int | None,
    format_: Format,
    progress: Callable[[int, int], None],
) -> str:
    from fakescan.bench import comparison

    found = comparison.run_comparison(
        file,
        paths,
        comparison.Turns(
            images=settings.images or COMPARED, rounds=settings.rounds, threads=threads
        ),
        extras=_extras(),
        progress=progress,
    )
    writers = {
        Format.TABLE: comparison.comparison_table,
        Format.MARKDOWN: comparison.comparison_markdown,
        Format.JSON: comparison.comparison_json,
    }
    return writers[format_](found)


def _extras() -> Extras:
    """What needs the extra `train`, where that is installed."""
    from fakescan.bench.comparison import Extras

    try:
        from fakescan.export.contenders import exported, torch_pipeline
    except ModuleNotFoundError:
        return Extras()
    return Extras(more=exported, pipeline=torch_pipeline)
