"""JUnit XML: a test case per image, for the test views of GitLab, Jenkins and others.

fake is a failure, error an error, uncertain skipped: neither passed nor failed. Counts stand at
the start of such a file, so the cases wait in a spool. Characters that XML 1.0 cannot carry, and
all others that do not print, are shown as escapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from fakescan.records import Finding, Verdict
from fakescan.report.record import Report
from fakescan.report.sentence import sentence
from fakescan.report.spool import Spool
from fakescan.report.table import visible

OUTCOMES = {Verdict.FAKE: "failure", Verdict.UNCERTAIN: "skipped", Verdict.ERROR: "error"}
"""A real image is a case without any of these."""


def junit_chunks(report: Report) -> Iterator[str]:
    """Everything at the end: one suite, its counts, a property for each fact about the scan."""
    cases = dict.fromkeys(Verdict, 0)
    with Spool() as spool:
        yield ""
        for finding in report.findings:
            cases[finding.verdict] += 1
            spool.add(_case(finding, report))
            yield ""
        yield _head(report, cases)
        yield from spool.pieces()
    yield "  </testsuite>\n</testsuites>\n"


def _head(report: Report, cases: dict[Verdict, int]) -> str:
    counts = {
        "tests": sum(cases.values()),
        "failures": cases[Verdict.FAKE],
        "errors": cases[Verdict.ERROR],
        "skipped": cases[Verdict.UNCERTAIN],
        "time": round(report.summary.elapsed_s, 3),
    }
    numbers = " ".join(f'{name}="{count}"' for name, count in counts.items())
    facts = {
        "status": "complete" if report.summary.is_complete else "partial",
        "fakescan": report.version,
        **{f"detector.{name}": value for name, value in report.detector.items()},
    }
    properties = "".join(
        f"      <property name={_quoted(name)} value={_quoted(str(value))}/>\n"
        for name, value in facts.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
        f'  <testsuite name="fakescan" {numbers}>\n'
        f"    <properties>\n{properties}    </properties>\n"
    )


def _case(finding: Finding, report: Report) -> str:
    opening = f'    <testcase classname="fakescan" name={_quoted(finding.path)}'
    if finding.verdict is Verdict.REAL:
        return f"{opening}/>\n"
    outcome = OUTCOMES[finding.verdict]
    text = sentence(finding, report.detector)
    kind = "" if outcome == "skipped" else f' type="{finding.verdict.value}"'
    body = f"<{outcome} message={_quoted(text)}{kind}>{escape(visible(text))}</{outcome}>"
    return f"{opening}>\n      {body}\n    </testcase>\n"


def _quoted(text: str) -> str:
    return quoteattr(visible(text))
