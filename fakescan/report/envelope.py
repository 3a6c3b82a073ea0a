"""JSON: one object with the detector, the settings, the findings, and at the end the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fakescan.records import Summary, Verdict
from fakescan.report.lines import json_line
from fakescan.report.record import REPORT_VERSION, Report


def json_chunks(report: Report) -> Iterator[str]:
    """An indented object; status and counts come last, so that nothing waits in memory."""
    yield (
        f'{{\n  "fakescan_report_version": {REPORT_VERSION},\n'
        f'  "fakescan": {json.dumps(report.version)},\n'
        f'  "detector": {json.dumps(dict(report.detector))},\n'
        f'  "settings": {json.dumps(dict(report.settings))},\n'
        '  "findings": ['
    )
    before = "\n    "
    for finding in report.findings:
        yield before + json_line(finding)
        before = ",\n    "
    end = json.dumps(_tail(report.summary), indent=2)
    yield "\n  ],\n" + end.removeprefix("{\n") + "\n"


def _tail(summary: Summary) -> dict[str, Any]:
    return {
        "status": "complete" if summary.is_complete else "partial",
        "counts": {verdict.value: summary.verdicts[verdict] for verdict in Verdict},
        "skipped": dict(sorted(summary.skipped.items())),
        "elapsed_s": round(summary.elapsed_s, 3),
    }
