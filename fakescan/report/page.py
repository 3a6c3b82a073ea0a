"""HTML: one page that needs nothing else, for looking through the findings of a scan.

Nothing from a path or an image is markup: findings are JSON in a block that no browser runs, and
the page's script writes them as text. Its policy lets the page run that script and show that
style, and fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from fakescan.records import Finding, Verdict
from fakescan.report.lines import json_row, json_text
from fakescan.report.record import Report
from fakescan.report.table import visible

FINDINGS = "@findings@"


def html_chunks(report: Report) -> Iterator[str]:
    """The page up to the findings, each of them, and its end, where the counts are."""
    scan = {
        "version": report.version,
        "detector": dict(report.detector),
        "settings": dict(report.settings),
    }
    head, end = _template().split(FINDINGS)
    yield head.replace("@scan@", _block(scan))
    before, written = "\n", 0
    for finding in report.findings:
        written += 1
        yield before + _block(_row(finding))
        before = ",\n"
    yield "\n" + end.replace("@summary@", _block(_counts(report, written)))


def _row(finding: Finding) -> dict[str, Any]:
    row = json_row(finding)
    row["path"] = visible(finding.path)
    row.pop("perturbed", None)  # the page shows their range
    if finding.figure_link is not None:
        row["figure"] = finding.figure_link
    if finding.error is not None:
        row["error"] = visible(finding.error)
    if finding.thumbnail is not None:
        row["thumbnail"] = base64.b64encode(finding.thumbnail).decode()
    return row


def _counts(report: Report, written: int) -> dict[str, Any]:
    summary = report.summary
    shown = {*report.flagged, Verdict.ERROR} if report.is_only_flagged else set(Verdict)
    left_out = sum(summary.verdicts[verdict] for verdict in set(Verdict) - shown)
    worst = {"left_out": summary.images - written, "is_worst_only": True}
    return {
        "is_complete": summary.is_complete,
        "left_out": left_out,
        "skipped": dict(sorted(summary.skipped.items())),
        "elapsed_s": round(summary.elapsed_s, 3),
        **(worst if report.is_worst_only else {}),
    }


def _block(values: Any) -> str:
    """JSON that cannot end the block that it stands in."""
    return json_text(values).replace("<", "\\u003c")


@cache
def _template() -> str:
    """The page with its style, script and policy in place."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = _asset("page.html").replace("@policy@", policy)
    return page.replace("@style@", style).replace("@script@", script)


def _asset(name: str) -> str:
    return files("fakescan.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()
