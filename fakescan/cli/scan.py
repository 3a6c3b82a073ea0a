"""`fakescan scan`: files and folders -> reports and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import fakescan
from fakescan import weights
from fakescan.cli import options
from fakescan.cli.interrupt import Interrupt
from fakescan.cli.output import check_outputs, write_report
from fakescan.cli.progress import advance, print_summary, remember_errors, scan_progress
from fakescan.records import Finding, Summary, Verdict
from fakescan.report import Report
from fakescan.scan.judge import band_at
from fakescan.scan.pipeline import ScanSettings
from fakescan.scan.pipeline import scan as scan_targets
from fakescan.scan.walk import check
from fakescan.session import OnnxSession, runtime

FAILED_ON, NOTHING_SCORED, INTERRUPTED = 1, 3, 130
"""Exit codes that are no error's; docs/reference/exit-codes.md lists all."""


class Format(StrEnum):
    """What standard output gets."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


class FailOn(StrEnum):
    """Verdicts that can be asked to fail a scan."""

    FAKE = "fake"
    UNCERTAIN = "uncertain"
    ERROR = "error"


def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Images, and folders of images.")
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a report; .csv, .json or .jsonl by suffix. Repeatable.",
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
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Score images; say which are real, fake or uncertain.

    Every image file gets a row with its verdict and score, or with the reason why it has none.
    Exit codes: 0 done; 1 only by --fail-on; 2 usage, or a path that does not exist; 3 a detector
    that cannot be used, or images and none scored; 130 interrupted.
    """
    settings = ScanSettings(
        threshold=threshold,
        batch_size=batch_size,
        workers=workers,
        timeout_s=timeout,
        max_megapixels=max_megapixels,
    )
    files = output or []
    check_outputs(files)
    check(paths)
    stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    stdout = Console(highlight=False, markup=False, emoji=False)
    stdout_format = _stdout_format(format_, bool(files), stdout.is_terminal)
    with ExitStack() as stack:
        session = OnnxSession(
            weights.resolve(model, offline=offline, progress=None), device=device.value
        )
        summary, errors = Summary(), list[Finding]()
        findings = stack.enter_context(closing(scan_targets(paths, session, settings, summary)))
        interrupt = stack.enter_context(Interrupt())
        seen = remember_errors(interrupt.until(findings), errors)
        # One live display per terminal: rows that go to it must pass through the same console.
        console = stdout if stdout.is_terminal and stdout_format else stderr
        if console.is_terminal and stderr.is_terminal and not (no_progress or quiet):
            seen = advance(seen, stack.enter_context(scan_progress(paths, console)))
        report = _report(seen, summary, session, settings)
        write_report(report, files, stdout_format, stdout)
    if not quiet:
        print_summary(summary, errors, stderr)
    raise typer.Exit(exit_code(summary, fail_on or []))


def exit_code(summary: Summary, fail_on: Sequence[FailOn]) -> int:
    """The exit code of a scan that ran."""
    if not summary.is_complete:
        return INTERRUPTED
    if summary.images and not summary.scored:
        return NOTHING_SCORED
    return FAILED_ON if any(summary.verdicts[Verdict(v)] for v in fail_on) else 0


def _stdout_format(chosen: Format | None, has_files: bool, is_terminal: bool) -> str | None:
    if chosen is not None:
        return chosen.value
    if has_files:
        return None
    return "table" if is_terminal else "csv"


def _report(
    findings: Iterator[Finding], summary: Summary, session: OnnxSession, settings: ScanSettings
) -> Report:
    metadata = session.metadata
    band = metadata.band if settings.threshold is None else band_at(settings.threshold)
    detector = {
        "name": metadata.name,
        "sha256": session.sha256,
        "precision": metadata.precision,
        "t_fake": band.t_fake,
        "t_real": band.t_real,
    }
    used = {**asdict(settings), "device": session.device, "runtime": runtime()}
    return Report(
        findings=findings,
        summary=summary,
        detector=detector,
        settings=used,
        version=fakescan.__version__,
    )
