"""`fakescan evaluate`: how well a detector, or somebody else's scores, tell fakes from reals."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options
from fakescan.errors import ConfigError

if TYPE_CHECKING:
    from fakescan.evaluate.evaluation import Evaluation


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
            metavar="N", min=1, help="At most N fakes of a row and N of its reals, by a hash."
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

    from fakescan.cli.evaluating import Loading, of_detectors, of_scores
    from fakescan.config import load
    from fakescan.data.samples import read_samples
    from fakescan.evaluate.equalise import Equalising
    from fakescan.evaluate.evaluation import Plan, Settings
    from fakescan.evaluate.pairing import Pairing
    from fakescan.evaluate.record import Conditions, Report
    from fakescan.evaluate.text import table_text
    from fakescan.evaluate.write import check_outputs, write, write_plots

    if scores and (model or robustness):
        raise ConfigError(
            f"--scores: takes no --{'model' if model else 'robustness'}; it holds one "
            "score for each image"
        )
    check_outputs(output or [], plots)
    is_second = equalised and not scores
    settings = Settings(
        equalising=Equalising(short_px=equalise_px) if is_second else None,
        robustness=robustness,
        resamples=resamples,
        seed=seed,
        batch_size=batch_size or 0,
        workers=workers,
    )
    pairs = load(Pairing, pairing) if pairing else None
    samples = read_samples(data, split=tuple(split) if split else None)
    plan = Plan.make(samples, by=by.value, pairing=pairs, limit=limit, seed=seed)
    evaluations: tuple[Evaluation, ...]
    if scores:
        known = read_samples(data) if split else samples
        evaluations = (of_scores(plan, scores, known, settings, threshold),)
    else:
        console, is_shown = Console(stderr=True, highlight=False), not (no_progress or quiet)
        loading = Loading(device.value, offline, console, is_shown)
        evaluations = of_detectors(plan, model or [None], loading, settings, threshold)
    conditions = Conditions(
        data=str(data),
        splits=tuple(split or ()),
        by=by.value,
        pairing=pairs,
        limit=limit,
        settings=settings,
    )
    report = Report(conditions, plan, evaluations)
    print(table_text(report), end="")
    for path in output or []:
        write(report, path)
    if plots is not None:
        write_plots(report, plots)
