"""JSON: one object with the detector, the settings, the findings, and at the end the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fakescan.records import Listing, Summary, Verdict
from fakescan.report.lines import json_line
from fakescan.report.record import REPORT_VERSION, Report


def json_chunks(report: Report) -> Iterator[str]:
    """An indented object; status and counts come last, so that nothing waits in memory."""
    head = "".join(f'  "{key}": {json.dumps(value)},\n' for key, value in head_of(report).items())
    yield "{\n" + head + '  "findings": ['
    before = "\n    "
    for finding in report.findings:
        yield before + json_line(finding)
        before = ",\n    "
    end = json.dumps(tail_of(report.summary), indent=2)
    yield "\n  ],\n" + end.removeprefix("{\n") + "\n"


def head_of(report: Report) -> dict[str, Any]:
    """What is known before the first finding."""
    return {
        "fakescan_report_version": REPORT_VERSION,
        "fakescan": report.version,
        "detector": dict(report.detector),
        "settings": dict(report.settings),
    }


def tail_of(summary: Summary) -> dict[str, Any]:
    """What is known behind the last finding."""
    listing = summary.listing
    return {
        "status": "complete" if summary.is_complete else "partial",
        "counts": {verdict.value: summary.verdicts[verdict] for verdict in Verdict},
        "skipped": dict(sorted(summary.skipped.items())),
        "elapsed_s": round(summary.elapsed_s, 3),
        **({} if listing is None else {"listing": _listing(listing)}),
    }


def _listing(listing: Listing) -> dict[str, Any]:
    return {
        "count": listing.count,
        "hash": f"{listing.digest:032x}",
        "is_whole": listing.is_whole,
    }
