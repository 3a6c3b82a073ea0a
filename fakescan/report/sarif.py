"""SARIF 2.1.0: a result per flagged image, for code scanning.

Images that are not flagged are no results. Images that could not be scored are notifications of
the run, which may stand behind its results, so they wait in a spool.
Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fakescan.records import Finding, Verdict
from fakescan.report.lines import json_text
from fakescan.report.place import file_uri, inside, relative_uri
from fakescan.report.record import DIGITS, Report, attribution
from fakescan.report.sentence import TITLES, sentence
from fakescan.report.spool import Spool

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RESULTS_PER_RUN = 25_000
"""GitHub refuses a run with more."""
ROOT = "%SRCROOT%"
"""What GitHub and others take for the top folder of the repository."""
LEVELS = {Verdict.FAKE: "warning", Verdict.UNCERTAIN: "note"}
"""None has the level error: whether a verdict fails a job is up to the exit code."""
RULES = (
    {
        "id": "fake-image",
        "name": "FakeImage",
        "shortDescription": {"text": TITLES[Verdict.FAKE]},
        "fullDescription": {"text": "The score reaches the threshold from which an image is fake."},
        "help": {"text": "A score is an estimate, not proof: look where the image comes from."},
        "defaultConfiguration": {"level": LEVELS[Verdict.FAKE]},
        "properties": {"tags": ["ai-generated", "image"], "problem.severity": "warning"},
    },
    {
        "id": "uncertain-image",
        "name": "UncertainImage",
        "shortDescription": {"text": TITLES[Verdict.UNCERTAIN]},
        "fullDescription": {"text": "The score lies between the thresholds of real and fake."},
        "help": {"text": "The detector cannot tell: look where the image comes from."},
        "defaultConfiguration": {"level": LEVELS[Verdict.UNCERTAIN]},
        "properties": {"tags": ["ai-generated", "image"], "problem.severity": "recommendation"},
    },
)
"""In the order of `LEVELS`."""


def sarif_chunks(report: Report) -> Iterator[str]:
    """A log with as many runs as the number of results needs; counts are in the last."""
    results = 0
    with Spool() as errors:
        yield f'{{\n"$schema": "{SCHEMA}",\n"version": "2.1.0",\n"runs": [\n' + _run_head(report, 1)
        for finding in report.findings:
            text = ""
            if finding.verdict in LEVELS and finding.verdict in report.flagged:
                text = _before(results, report) + json_text(_result(finding, report))
                results += 1
            elif finding.verdict is Verdict.ERROR:
                errors.add(("," if errors.is_used else "") + "\n" + _notification(finding, report))
            yield text
        yield "\n],\n" + _invocation_head(report)
        yield from errors.pieces()
    yield "\n]}]\n}\n]\n}\n"


def _before(results: int, report: Report) -> str:
    """What separates a result from the one before it; a new run when that one is full."""
    run, place = divmod(results, RESULTS_PER_RUN)
    if place:
        return ",\n"
    return f"\n]\n}},\n{_run_head(report, run + 1)}\n" if run else "\n"


def _run_head(report: Report, number: int) -> str:
    tool = {"name": "fakescan", "version": report.version, "rules": RULES}
    # Runs of one tool must differ in their category, which is all up to the last slash.
    head = {
        "tool": {"driver": tool},
        "automationDetails": {"id": "fakescan/" if number == 1 else f"fakescan-{number}/"},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {ROOT: {"description": {"text": "Where the scan was started."}}},
        "properties": {"detector": dict(report.detector)},
    }
    return json.dumps(head, indent=1).removesuffix("\n}") + ',\n"results": ['


def _result(finding: Finding, report: Report) -> dict[str, Any]:
    rule = list(LEVELS).index(finding.verdict)
    result: dict[str, Any] = {
        "ruleId": RULES[rule]["id"],
        "ruleIndex": rule,
        "level": LEVELS[finding.verdict],
        "message": {"text": sentence(finding, report.detector)},
        "locations": [_location(finding, report)],
        "properties": {
            "score": round(finding.score or 0.0, DIGITS),
            "width": finding.width,
            "height": finding.height,
            "format": finding.format,
        },
    }
    if finding.provenance_detail is not None:
        result["properties"]["provenance"] = finding.provenance
        result["properties"]["provenance_detail"] = finding.provenance_detail
    result["properties"] |= attribution(finding)
    if finding.sha256 is not None:
        # Not under GitHub's own key: its uploader computes that and warns of any other value.
        result["partialFingerprints"] = {"contentSha256/v1": finding.sha256}
    return result


def _location(finding: Finding, report: Report) -> dict[str, Any]:
    below = inside(finding.path, report.root)
    if below is None:
        place = {"uri": file_uri(finding.path, report.root)}
    else:
        place = {"uri": relative_uri(below), "uriBaseId": ROOT}
    return {"physicalLocation": {"artifactLocation": place, "region": {"startLine": 1}}}


def _notification(finding: Finding, report: Report) -> str:
    return json_text(
        {
            "level": "warning",
            "message": {"text": sentence(finding, report.detector)},
            "locations": [_location(finding, report)],
        }
    )


def _invocation_head(report: Report) -> str:
    summary = report.summary
    properties = {
        "status": "complete" if summary.is_complete else "partial",
        "counts": {v.value: summary.verdicts[v] for v in Verdict},
        "skipped": dict(sorted(summary.skipped.items())),
    }
    return (
        f'"invocations": [{{\n"executionSuccessful": {json.dumps(summary.is_complete)},\n'
        f'"properties": {json_text(properties)},\n"toolExecutionNotifications": ['
    )
