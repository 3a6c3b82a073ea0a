"""`fakescan calibrate`: a detector's thresholds fitted on images of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options
from fakescan.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from rich.console import Console


class Method(StrEnum):
    """What is fitted from logit to score."""

    PLATT = "platt"
    TEMPERATURE = "temperature"


def calibrate(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled images: a folder or a manifest.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The new detector's file.")
    ],
    model: options.Model = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What reports call the new detector.", show_default="the old name and -calibrated"
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    method: Annotated[
        Method, typer.Option(help="From logit to score: slope and intercept, or slope alone.")
    ] = Method.PLATT,
    max_false_positives: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of the reals, how many may be called fake."),
    ] = 0.02,
    max_misses: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the fakes, how many may be called real.")
    ] = 0.05,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write what was found, as JSON.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --out.")] = False,
    device: options.Device = options.DeviceName.AUTO,
    offline: options.Offline = False,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a detector's thresholds on your own labelled images, and write it to a new file.

    What it computes stays the same, to the bit; how a logit becomes a score, and which scores are
    fake, uncertain and real, changes. The figures that are printed come from images that the fit
    had not seen. At least 50 images of each class are needed.
    """
    from rich.console import Console

    from fakescan import weights
    from fakescan.calibrate.fit import Targets
    from fakescan.calibrate.run import Request, check_target
    from fakescan.calibrate.run import calibrate as run
    from fakescan.calibrate.text import json_text, lines
    from fakescan.cli.progress import fetch_progress
    from fakescan.data.samples import read_samples

    targets = Targets(max_false_positives=max_false_positives, max_misses=max_misses)
    samples = read_samples(data, split=tuple(split) if split else None)
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    is_shown = console.is_terminal and not (no_progress or quiet)
    with fetch_progress(console, is_shown=is_shown) as fetching:
        file = weights.resolve(model, offline=offline, progress=fetching)
    check_target(out, file, force=force)
    _check_report(output, out)
    request = Request(method=method.value, targets=targets, name=name or "")
    with _progress(console, len(samples), is_shown=is_shown) as progress:
        result = run(samples, file, out, request, device=device.value, progress=progress)
    if output is not None:
        _write(output, json_text(result))
    if not quiet:
        for line in (*lines(result), f"{out}: {result.metadata.name}"):
            print(line)


@contextmanager
def _progress(console: Console, total: int, *, is_shown: bool) -> Iterator[Callable[[], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _check_report(output: Path | None, out: Path) -> None:
    """Refuse, before minutes of work, a report that could not be written."""
    if output is None:
        return
    if output.absolute() == out.absolute():
        raise ConfigError(f"{output}: is the detector's file already; name another for --output")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"{output}: no place for a file; name one in a folder that exists")


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        raise OutputError(f"{output}: cannot be written ({e.strerror})") from e
