"""`fakescan export`: a run folder -> one ONNX file, compared with torch."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from fakescan.cli import options
from fakescan.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from rich.table import Table

    from fakescan.export import ExportReport


class Precision(StrEnum):
    """How weights are kept, and multiplied."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_STATIC = "int8-static"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `fakescan train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")],
    precision: Annotated[
        Precision,
        typer.Option(
            help="How weights are kept; int8: the tower's matrices, per output channel; "
            "-dynamic and -static also multiply in integers."
        ),
    ] = Precision.FP32,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="The file takes one image of any size and cuts its squares itself.",
        ),
    ] = False,
    with_explain: Annotated[
        bool,
        typer.Option(
            "--with-explain",
            help="The file also says which expert each token takes, what each patch adds to the "
            "logit, and what is left.",
        ),
    ] = False,
    opset: Annotated[
        int, typer.Option(metavar="N", help="ONNX opset, 17 to 21; old runtimes need a low one.")
    ] = 17,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Folder of images to compare with torch on.",
            show_default="108 crops in the package",
        ),
    ] = None,
    allow_drift: Annotated[
        bool,
        typer.Option(
            "--allow-drift",
            help="Keep the file though more than 1 % of verdicts change, or AUC falls by more than "
            "0.5 points; never in fp32.",
        ),
    ] = False,
    all_precisions: Annotated[
        bool,
        typer.Option(
            "--all-precisions", help="Compare every precision; only --precision is written."
        ),
    ] = False,
    parity: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the comparison as JSON."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What reports call the detector.", show_default="the file's name"),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The backbone's weights, if they have moved."),
    ] = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a trained detector as one ONNX file that scans need nothing else for.

    The file is compared with torch and not kept when it computes something else (exit code 4).
    """
    for file in (out, parity):
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{file}: its folder does not exist")
    try:
        from fakescan.export import Check, Form, export_detector, record
        from fakescan.export.run import read_run
        from fakescan.metadata import Precision as Kind
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("fakescan"):
            raise
        raise ConfigError(
            f"exporting needs the package {e.name}: pip install 'fakescan[train]'"
        ) from e
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    form = Form(opset=opset, has_preprocessing=with_preprocessing, has_explanation=with_explain)
    known: tuple[Kind, ...] = get_args(Kind)
    others = tuple(p for p in known if all_precisions and p != precision.value)
    model, metadata = read_run(
        run, name=name or out.stem, precision=precision.value, weights=backbone_weights
    )
    columns = (TextColumn("comparing with torch"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, highlight=False)
    is_shown = console.is_terminal and not (no_progress or quiet)
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        bar = progress.add_task("")
        report = export_detector(
            model,
            metadata,
            out,
            form=form,
            check=Check(folder=check, allow_drift=allow_drift, others=others),
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if parity is not None:
        _write(parity, record.to_json(report))
    if not quiet:
        for line in _summary(report):
            console.print(line, markup=False, soft_wrap=True)
        console.print(_table(record.COLUMNS, record.rows(report)))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as e:
        raise OutputError(f"{file}: cannot be written ({e.strerror})") from e


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, padding=(0, 1), title="difference from torch in fp32, by image")
    for column in columns:
        justify: Literal["left", "right"] = "left" if column == columns[0] else "right"
        table.add_column(column.replace(" ", "\n"), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _summary(report: ExportReport) -> list[str]:
    from fakescan.report.table import visible

    parity, metadata = report.parity, report.metadata
    lines = [
        f"{visible(str(report.path))}: {metadata.precision}, {report.bytes / 1e6:.1f} MB, "
        f"sha256 {report.sha256[:12]}",
        f"compared with torch on {parity.images} images: largest logit difference "
        f"{parity.max_difference:.2g}, verdicts changed {parity.flips}",
    ]
    if metadata.model.get("mole", {}).get("blocks"):
        lines.append(
            f"tokens that take the same expert: {parity.agreement:.3%}; "
            f"near-ties: {parity.near_ties:.3%}"
        )
    return lines
