"""JSONL: an object per finding; and how any path goes into JSON."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

from fakescan.records import Finding
from fakescan.report.record import Report, attribution, stability, values


def jsonl_chunks(report: Report) -> Iterator[str]:
    """A line per finding, keyed by column; nothing before and nothing after."""
    yield ""  # in step with writers that have a heading
    for finding in report.findings:
        yield json_line(finding) + "\n"


def json_line(finding: Finding) -> str:
    """One finding as a JSON object on one line."""
    return json_text(json_row(finding))


def json_row(finding: Finding) -> dict[str, Any]:
    """One finding as values that JSON can carry, by key.

    A path that is not UTF-8 keeps its bytes in `path_b64`; `path` then shows U+FFFD for them.
    """
    row: dict[str, Any] = values(finding) | stability(finding) | attribution(finding)
    if finding.sha256 is not None:
        row["sha256"] = finding.sha256
    try:
        row["path"].encode()
    except UnicodeEncodeError:
        data = os.fsencode(row["path"])
        row["path"] = data.decode("utf-8", "replace")
        row["path_b64"] = base64.b64encode(data).decode()
    return row


def json_text(row: Any) -> str:
    """JSON in one line of UTF-8."""
    text = json.dumps(row, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # a reason may quote an odd path
