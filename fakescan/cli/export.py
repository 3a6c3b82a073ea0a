"""`fakescan export`: a run folder or an exported file -> one ONNX file, compared with torch."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from fakescan.cli import options
from fakescan.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from rich.console import Console
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
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE|NAME",
            help="Folder that `fakescan train` wrote, a file exported before, or a name in the "
            "registry.",
        ),
    ],
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
        typer.Option(
            help="What reports call the detector.",
            show_default="the new file's name; of a detector that has one, its own",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The backbone's weights, if they have moved."),
    ] = None,
    offline: options.Offline = False,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a detector as one ONNX file that scans need nothing else for.

    The file is compared with torch and not kept when it computes something else (exit code 4).
    """
    _check_folders(out, parity)
    try:
        from fakescan.export import Check, Form, export_detector, record
        from fakescan.export.run import read_file, read_run
        from fakescan.metadata import Precision as Kind
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("fakescan"):
            raise
        raise ConfigError(
            f"exporting needs the package {e.name}: pip install 'fakescan[train]'"
        ) from e
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    kind: Kind = precision.value
    form = Form(opset=opset, has_preprocessing=with_preprocessing, has_explanation=with_explain)
    known: tuple[Kind, ...] = get_args(Kind)
    others = tuple(p for p in known if all_precisions and p != kind)
    console = Console(stderr=True, highlight=False)
    is_shown = console.is_terminal and not (no_progress or quiet)
    if Path(source).is_dir():
        model, metadata = read_run(
            Path(source), name=name or out.stem, precision=kind, weights=backbone_weights
        )
    else:
        if backbone_weights is not None:
            raise ConfigError("backbone-weights: for run folders; a file has its backbone inside")
        file = _fetched(source, console, is_shown=is_shown, is_offline=offline)
        model, metadata = read_file(file, name=name, precision=kind)
    columns = (TextColumn("comparing with torch"), BarColumn(), MofNCompleteColumn())
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


def _check_folders(*files: Path | None) -> None:
    """Refuse files to be written in folders that do not exist."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{file}: its folder does not exist")


def _fetched(source: str, console: Console, *, is_shown: bool, is_offline: bool) -> Path:
    """The file of a detector that is named."""
    from fakescan import weights
    from fakescan.cli.progress import fetch_progress

    with fetch_progress(console, is_shown=is_shown) as fetching:
        return weights.resolve(source, offline=is_offline, progress=fetching)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as e:
        raise OutputError(f"{file}: cannot be written ({e.strerror})") from e


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(
        box=SIMPLE, padding=0, pad_edge=False, title="difference from torch in fp32, by image"
    )  # no wider than 80 columns
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
