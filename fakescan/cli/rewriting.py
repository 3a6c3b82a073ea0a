"""What `fakescan report` prints and writes."""

from __future__ import annotations

import csv
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path

from rich.console import Console

import fakescan
from fakescan.cli.output import write_report
from fakescan.cli.reports import check_reports, report_output
from fakescan.errors import OutputError, ReportError
from fakescan.places.access import Access
from fakescan.records import FLAGGED, Finding, Summary, Verdict
from fakescan.report.delimited import safe_cell
from fakescan.report.difference import Change
from fakescan.report.overview import BINS, Overview
from fakescan.report.record import Report
from fakescan.report.stored import StoredReport, open_report
from fakescan.report.table import visible

PLAIN = (".csv", ".jsonl", ".parquet")
"""Suffixes of reports that need not know thresholds."""
BAR = 40
"""Letters of the longest bar."""
KINDS = {"new": "new", "gone": "gone", "verdict": "other verdict", "score": "other score"}


def write_outputs(report: Report, outputs: Sequence[str]) -> None:
    """Write a report to all outputs.

    Raises:
        FakescanError: one of them cannot be written, or the report cannot be read.
    """
    access = Access()
    check_reports(outputs, access)
    opening = [partial(report_output, place, access) for place in outputs]
    failed = write_report(report, opening, None, Console())
    if failed:
        raise OutputError("; ".join(failed))
    counts = ", ".join(f"{report.summary.verdicts[v]} {v.value}" for v in Verdict)
    print(f"{report.summary.images} images: {counts}")


def joined(paths: Sequence[str], outputs: Sequence[str], worst: int | None) -> Report:
    """The rows of several reports as one report.

    Args:
        paths: of reports, which must be of one detector.
        outputs: what it is to be written to.
        worst: only so many, those with the highest scores, the highest first.

    Raises:
        ReportError: one cannot be read, they are of different detectors, or an output shows
            thresholds and none of them states any.
    """
    reports = [open_report(path) for path in paths]
    said = next((report.said for report in reports if report.said), {})
    for report in reports:
        if report.said and report.said.get("detector") != said.get("detector"):
            raise ReportError(f"{report.path}: of another detector than the others")
    shows = [place for place in outputs if Path(place).suffix.lower() not in PLAIN]
    if shows and not said.get("detector"):
        raise ReportError(
            f"{shows[0]}: shows thresholds, and CSV and JSON Lines state none; "
            "convert a .json or .parquet"
        )
    summary = Summary()
    settings = {**said.get("settings", {}), "shard": None}
    first = next((f for report in reports for f in report.findings()), None)
    if first is not None and first.perturbed:
        settings["perturbations"] = [name for name, _ in first.perturbed]
    rows = summary.watch(_all(reports, summary))
    return Report(
        findings=rows if worst is None else _worst(rows, worst),
        summary=summary,
        detector=said.get("detector") or {},
        settings=settings,
        version=said.get("fakescan", fakescan.__version__),
        root=str(Path.cwd()),
        flagged=frozenset(map(Verdict, settings.get("flagged", FLAGGED))),
        is_worst_only=worst is not None,
        is_only_flagged=bool(settings.get("only_flagged")),
    )


def print_overview(overview: Overview, reports: int, *, is_json: bool) -> None:
    """Counts as JSON, or as lines with bars."""
    if is_json:
        print(json.dumps({"reports": reports, **overview.as_dict()}, indent=2))
        return
    images = overview.verdicts.total()
    counts = ", ".join(f"{overview.verdicts[v]} {v.value}" for v in Verdict)
    print(f"{images} images in {reports} report{'' if reports == 1 else 's'}: {counts}")
    if len(overview.detectors) > 1:
        print("warning: of several detectors, whose scores cannot be compared")
    highest = max(overview.scores) or 1
    print("\nscore")
    for i, count in enumerate(overview.scores):
        bar = "#" * round(BAR * count / highest)
        print(f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}  {count:>10}  {bar}".rstrip())
    for title, counter in (
        ("detector", overview.detectors),
        ("format", overview.formats),
        ("what the file says of its origin", overview.provenance),
        ("could not be scored", overview.errors),
    ):
        if counter:
            print(f"\n{title}")
            for name, count in counter.most_common(10):
                print(f"{count:>10}  {visible(name)}")
            if len(counter) > 10:
                print(f"{counter.total() - sum(n for _, n in counter.most_common(10)):>10}  others")


def print_changes(
    found: Iterable[Change], output: Path | None, shown: int, *, is_json: bool
) -> None:
    """Counts of changes, and the first of them; all of them into a CSV.

    Raises:
        OutputError: that cannot be written.
    """
    counts: Counter[str] = Counter()
    first: list[Change] = []
    for change in _stored(found, output) if output else found:
        counts[change.kind] += 1
        if change.kind != "score" and len(first) < shown:
            first.append(change)
    if is_json:
        print(json.dumps({kind: counts[kind] for kind in KINDS}))
        return
    print(", ".join(f"{counts[kind]} {name}" for kind, name in KINDS.items()))
    for change in first:
        print(f"{change.before or '-':>9} -> {change.after or '-':<9}  {visible(change.path)}")
    if (more := counts.total() - counts["score"] - len(first)) > 0:
        print(f"and {more} more" + ("" if output else "; --output changes.csv has all"))


def _stored(found: Iterable[Change], path: Path) -> Iterator[Change]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(
                path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            )
            rows = csv.writer(stream)
            rows.writerow([f.name for f in fields(Change)])
            for change in found:
                rows.writerow([safe_cell(cell) for cell in astuple(change)])
                yield change
            stream.flush()
        except OSError as e:
            raise OutputError(f"{path}: cannot be written ({e.strerror})") from e


def _all(reports: Sequence[StoredReport], summary: Summary) -> Iterator[Finding]:
    for report in reports:
        yield from report.findings()
        summary.skipped.update(report.said.get("skipped", {}))
        summary.elapsed_s += report.said.get("elapsed_s", 0.0)
    summary.is_complete = all(r.said.get("status", "complete") == "complete" for r in reports)


def _worst(findings: Iterable[Finding], count: int) -> Iterator[Finding]:
    scored = (finding for finding in findings if finding.score is not None)
    yield from heapq.nlargest(count, scored, key=lambda finding: finding.score or 0.0)
