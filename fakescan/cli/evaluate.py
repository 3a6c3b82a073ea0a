"""`fakescan evaluate`: how well a detector, or somebody else's scores, tell fakes from reals."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options
from fakescan.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fakescan.evaluate.evaluation import Evaluation
    from fakescan.evaluate.record import Report


class ProtocolName(StrEnum):
    """Whose test set, and how it is measured."""

    UNIVFD = "univfd"
    GENIMAGE = "genimage"


class By(StrEnum):
    """What a row of the result is."""

    GENERATOR = "generator"
    SOURCE = "source"


def evaluate(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled images: a folder or a manifest.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|RUN|NAME",
            help="Detector: an exported file, a folder that `fakescan train` wrote, or a name in "
            "the registry. Repeatable: others are compared with the first.",
            show_default="the one that comes with the package",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate scores from a CSV with the columns path and score, instead of a "
            "detector.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Score from which an image is fake, for accuracy.",
            show_default="the detector's thresholds; none with --scores",
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    by: Annotated[
        By,
        typer.Option(help="What a row is; a fake without a generator counts for its source."),
    ] = By.GENERATOR,
    pairing: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML that says which real sources each source of fakes is compared with.",
            show_default="reals of the same folder, else of the one above, else all",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="At most N fakes of a row and N of its reals, by a hash.",
            show_default="all; 1000 with --protocol",
        ),
    ] = None,
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(
            help="DATA holds the public test set of UnivFD or GenImage: measure it as the MoLE "
            "paper does, with its figures beside yours. Decides on split, rows, pairing and crop."
        ),
    ] = None,
    paper_row: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Row of the paper's tables to compare with, such as UnivFD.",
            show_default="the paper's detector on the same backbone",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Also under blur 1-4 and JPEG 90-30: 11 more passes."),
    ] = False,
    equalised: Annotated[
        bool,
        typer.Option(
            "--equalised/--no-equalised",
            help="A second pass with size and format of both classes made alike.",
        ),
    ] = True,
    equalise_px: Annotated[
        int,
        typer.Option(metavar="PX", min=16, help="Longest shorter side in that pass."),
    ] = 256,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write results: .csv, .json, .html or .md. Repeatable.",
        ),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pictures there, as PNG.")
    ] = None,
    resamples: Annotated[
        int, typer.Option(metavar="N", min=20, help="Bootstrap resamples for the intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of resamples, and of what --limit takes.")] = 0,
    device: options.Device = options.DeviceName.AUTO,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    offline: options.Offline = False,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a detector on labelled images: a row per generator and their mean, with intervals.

    Every figure is stated for the images as they are, AUC also with format and size made alike,
    and beside it the AUC that file properties alone reach. Images that cannot be read are listed
    and left out.
    """
    from rich.console import Console

    from fakescan.cli.evaluating import (
        Choice,
        Loading,
        all_samples,
        choose,
        of_detectors,
        of_scores,
    )
    from fakescan.config import load
    from fakescan.evaluate.equalise import Equalising
    from fakescan.evaluate.evaluation import Settings
    from fakescan.evaluate.pairing import Pairing
    from fakescan.evaluate.record import Conditions, Report
    from fakescan.evaluate.write import check_outputs

    if scores and (model or robustness):
        raise ConfigError(
            f"--scores: takes no --{'model' if model else 'robustness'}; it holds one "
            "score for each image"
        )
    check_outputs(output or [], plots)
    settings = Settings(
        equalising=Equalising(short_px=equalise_px) if equalised and not scores else None,
        robustness=robustness,
        resamples=resamples,
        seed=seed,
        batch_size=batch_size or 0,
        workers=workers,
    )
    pairs = load(Pairing, pairing) if pairing else None
    choice = Choice(tuple(split or ()), by.value, pairs, limit, seed)
    plan, against = choose(data, choice, protocol and protocol.value, paper_row)
    evaluations: tuple[Evaluation, ...]
    if scores:
        known = all_samples(data, plan)
        evaluations = (of_scores(plan, scores, known, settings, threshold, against),)
    else:
        console, is_shown = Console(stderr=True, highlight=False), not (no_progress or quiet)
        loading = Loading(device.value, offline, console, is_shown)
        evaluations = of_detectors(plan, model or [None], loading, settings, threshold, against)
    conditions = Conditions(
        data=str(data),
        splits=choice.splits,
        by=choice.by,
        pairing=pairs,
        limit=limit,
        protocol=against.setup if against else None,
        settings=settings,
    )
    _write(Report(conditions, plan, evaluations), output or [], plots)


def _write(report: Report, output: Sequence[Path], plots: Path | None) -> None:
    """Print the tables, and write every file."""
    from fakescan.evaluate.text import table_text
    from fakescan.evaluate.write import write, write_plots

    print(table_text(report), end="")
    for path in output:
        write(report, path)
    if plots is not None:
        write_plots(report, plots)
