"""What a person sees on standard error while a scan runs, and after it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fakescan import weights
from fakescan.records import Finding, Summary, Verdict
from fakescan.report.table import visible
from fakescan.scan.baseline import KNOWN
from fakescan.scan.selection import Selection
from fakescan.scan.sources import Target, is_path
from fakescan.scan.walk import walk

ERRORS_SHOWN = 5


@contextmanager
def count_progress(console: Console, total: int, *, is_shown: bool) -> Iterator[Progress]:
    """A bar of one task, known in advance how long."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = is_shown and console.is_terminal  # elsewhere it leaves an empty line
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        progress.add_task("", total=total)
        yield progress


@contextmanager
def scan_progress(
    targets: Sequence[Target], console: Console, selection: Selection, summary: Summary
) -> Iterator[None]:
    """A bar for a scan of these targets; a second walk beside it finds out how many there are.

    With archives nobody knows: what is in a packed tar is only seen while it is read. Stores are
    not listed twice.
    """
    columns = (
        TextColumn("scanning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task("scan", total=None)
        paths = [target for target in targets if isinstance(target, str) and is_path(target)]
        if not selection.archives and len(paths) == len(targets):
            arguments = (paths, selection, progress, task)
            threading.Thread(target=_count, args=arguments, daemon=True).start()
        summary.progress = partial(progress.advance, task)
        yield


@contextmanager
def fetch_progress(console: Console, *, is_shown: bool) -> Iterator[weights.Progress | None]:
    """A bar for fetching a detector, which appears when there is something to fetch."""
    if not is_shown:
        yield None
        return
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task: list[TaskID] = []

        def show(done: int, total: int) -> None:
            if not task:
                task.append(progress.add_task("fetch", total=total))
            progress.update(task[0], completed=done)

        yield show


@contextmanager
def bench_progress(console: Console, *, is_shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for the rounds of a benchmark."""
    if not is_shown:
        yield lambda _done, _all: None
        return
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, refresh_per_second=1) as progress:
        task = progress.add_task("measure", total=None)
        yield lambda done, all_: progress.update(task, completed=done, total=all_)


@contextmanager
def evaluate_progress(
    console: Console, total: int, *, is_shown: bool
) -> Iterator[Callable[[], None]]:
    """A bar for images that are scored."""
    is_shown = is_shown and console.is_terminal  # elsewhere it leaves an empty line
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        yield partial(progress.advance, progress.add_task("evaluate", total=total))


def remember_errors(findings: Iterator[Finding], errors: list[Finding]) -> Iterator[Finding]:
    """Pass findings on and keep the first few that have no score."""
    for finding in findings:
        if finding.verdict is Verdict.ERROR and len(errors) < ERRORS_SHOWN:
            errors.append(finding)
        yield finding


def print_summary(
    summary: Summary, errors: Sequence[Finding], console: Console, *, has_rows: bool = False
) -> None:
    """Counts by verdict, what was skipped and why, the first errors, images per second.

    Args:
        summary: of the scan.
        errors: the first findings without a score.
        console: to print on.
        has_rows: errors stand on the terminal already, each in its row.
    """
    if not (summary.images or summary.skipped[KNOWN]):
        console.print("warning: no images found")
    counts = ", ".join(f"{summary.verdicts[v]} {v.value}" for v in Verdict)
    rate = summary.images / summary.elapsed_s if summary.elapsed_s else 0.0
    images = "1 image" if summary.images == 1 else f"{summary.images} images"
    console.print(f"{images}: {counts} in {summary.elapsed_s:.1f} s ({rate:.1f} images/s)")
    if summary.cached:
        console.print(f"cache: {summary.cached} of {summary.scored} scores were known")
    if summary.skipped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(summary.skipped.items()))
        console.print(f"skipped: {reasons}")
    if not has_rows:
        _print_errors(summary.verdicts[Verdict.ERROR], errors, console)
    for warning in summary.warnings:
        console.print(f"warning: {visible(warning)}")
    if not summary.is_complete:
        console.print("interrupted: this report is partial")


def _print_errors(count: int, first: Sequence[Finding], console: Console) -> None:
    for finding in first:
        console.print(f"error: {visible(finding.path)}: {visible(finding.error or '')}")
    if (more := count - len(first)) > 0:
        console.print(f"error: {more} more")


def _count(targets: Sequence[str], selection: Selection, progress: Progress, task: TaskID) -> None:
    progress.update(task, total=sum(1 for _ in walk(targets, Counter(), selection)))
