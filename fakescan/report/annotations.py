"""GitHub annotations: a workflow command per image that is not plainly real.

Source: GitHub's documentation, "Workflow commands", and the escapes of actions/toolkit.
"""

from __future__ import annotations

from collections.abc import Iterator

from fakescan.records import Finding, Verdict
from fakescan.report.place import inside
from fakescan.report.record import Report
from fakescan.report.sentence import sentence, title
from fakescan.report.table import visible

LEVELS = {Verdict.FAKE: "warning", Verdict.UNCERTAIN: "notice", Verdict.ERROR: "warning"}
"""None is an error: whether a verdict fails a job is up to the exit code."""
IN_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY = {**IN_TEXT, ":": "%3A", ",": "%2C"}


def github_chunks(report: Report) -> Iterator[str]:
    """A line per finding that is fake, uncertain or an error; nothing for a real one."""
    yield ""  # in step with writers that have a heading
    for finding in report.findings:
        yield _command(finding, report) if finding.verdict in LEVELS else ""
    if not report.summary.is_complete:
        yield "::warning title=fakescan::The scan was interrupted; images are missing.\n"


def _command(finding: Finding, report: Report) -> str:
    path = inside(finding.path, report.root)
    properties = (
        {"title": title(finding)} if path is None else {"file": path, "title": title(finding)}
    )
    written = ",".join(f"{name}={_escaped(v, IN_PROPERTY)}" for name, v in properties.items())
    text = f"{finding.path}: {sentence(finding, report.detector)}"
    return f"::{LEVELS[finding.verdict]} {written}::{_escaped(text, IN_TEXT)}\n"


def _escaped(text: str, escapes: dict[str, str]) -> str:
    """Text as the runner unescapes it; what it cannot carry is shown as a visible escape."""
    return visible("".join(escapes.get(c, c) for c in text))
