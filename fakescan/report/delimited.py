"""CSV: a row per finding, safe to open in a spreadsheet.

A text cell that a spreadsheet would run as a formula gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that taking one away always gives the original.
Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from fakescan.records import Finding
from fakescan.report.record import Report, attribution, columns, stability, values

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def csv_chunks(report: Report) -> Iterator[str]:
    """A header, then a row per finding; lines end as RFC 4180 says, so write them untranslated."""
    names = columns(report)
    yield _row(names)
    for finding in report.findings:
        cells = _cells(finding)
        yield _row(cells.get(name) for name in names)


def _cells(finding: Finding) -> dict[str, Any]:
    cells, scores = values(finding), stability(finding)
    cells |= scores.pop("perturbed", {})
    if scores:
        scores["stable"] = "true" if finding.stable else "false"
    named = attribution(finding)
    if named:
        named["known_generators"] = "; ".join(finding.known_generators)
    return cells | scores | named


def _row(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([safe_cell(cell) for cell in cells])
    return text.getvalue()


def safe_cell(cell: Any) -> Any:
    """A cell that no spreadsheet runs."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
