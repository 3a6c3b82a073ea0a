"""A table for eyes: a line per finding, wide enough for the columns that a person reads."""

from __future__ import annotations

from collections.abc import Iterator

from fakescan.records import Finding
from fakescan.report.record import Report


def table_chunks(report: Report) -> Iterator[str]:
    """A heading, then verdict, score and path per finding; a reason in place of a size."""
    yield f"{'verdict':<10}{'score':>6}  path\n"
    for finding in report.findings:
        yield _line(finding)


def visible(text: str) -> str:
    """Text with everything that does not print written as an escape, so that a line is a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _line(finding: Finding) -> str:
    score = "-" if finding.score is None else f"{finding.score:.3f}"
    reason = f"  ({visible(finding.error)})" if finding.error else ""
    named = ""
    if finding.generator is not None and finding.generator_score is not None:
        is_known = finding.generator in finding.known_generators
        score = f"{finding.generator_score:.3f}"
        named = f"  [{visible(finding.generator)}{' ' if is_known else ', none above '}{score}]"
    return f"{finding.verdict.value:<10}{score:>6}  {visible(finding.path)}{named}{reason}\n"


def _escape(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")
