"""What every writer starts from: a report, its columns, and a finding as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fakescan.records import FLAGGED, Finding, Summary, Verdict

REPORT_VERSION = 1
"""Grows when a reader of an older report could misunderstand a newer one."""
COLUMNS = (
    "path",
    "verdict",
    "score",
    "logit",
    "width",
    "height",
    "format",
    "error",
    "detector",
    "provenance",
    "provenance_detail",
)
NAMED = ("generator", "generator_score", "known_generators")
"""Columns of a scan with an attributor, behind all others."""
RANGE = ("score_min", "score_max", "stable")
"""Columns behind those of the perturbations."""
DIGITS = 6
"""Decimals of score and logit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One scan's result."""

    findings: Iterable[Finding]
    """May still be running; read once."""
    summary: Summary
    """Whole when the findings have run out."""
    detector: Mapping[str, Any]
    """Name, sha256 and thresholds in use."""
    settings: Mapping[str, Any]
    """Of the scan."""
    version: str
    """Of fakescan."""
    root: str = ""
    """Absolute folder that relative paths start from, and in which a repository's files lie."""
    flagged: frozenset[Verdict] = FLAGGED
    """Verdicts of flagged images."""
    is_worst_only: bool = False
    """Whether the findings are only those with the highest scores; the summary counts all."""
    is_only_flagged: bool = False
    """Whether the findings are those of flagged images and errors only."""


Piece = str | bytes
"""Of a report: text, or bytes where a format is binary."""
Writer = Callable[[Report], Iterator[Piece]]
"""Gives one piece before the findings, one for each, and any number after the last."""


def columns(report: Report) -> tuple[str, ...]:
    """Columns of a report's rows: also scores under perturbations, and generators, where asked."""
    names = tuple(report.settings.get("perturbations") or ())
    perturbed = (*names, *RANGE) if names else ()
    return (*COLUMNS, *perturbed, *(NAMED if report.settings.get("attribute") else ()))


def attribution(finding: Finding) -> dict[str, Any]:
    """The generator with its score and all that are known; empty without an attributor."""
    if not finding.known_generators:
        return {}
    score = finding.generator_score
    shown = None if score is None else round(score, DIGITS)
    return dict(zip(NAMED, (finding.generator, shown, list(finding.known_generators)), strict=True))


def stability(finding: Finding) -> dict[str, Any]:
    """Scores under perturbations by name, their range with the score, and if the verdict stays."""
    if not finding.perturbed or finding.score is None:
        return {}
    perturbed = {name: round(score, DIGITS) for name, score in finding.perturbed}
    scores = (round(finding.score, DIGITS), *perturbed.values())
    ends = (min(scores), max(scores), finding.stable)
    return {"perturbed": perturbed} | dict(zip(RANGE, ends, strict=True))


def values(finding: Finding) -> dict[str, Any]:
    """A finding by column: str, int, float or None."""
    row = {name: getattr(finding, name) for name in COLUMNS}
    row["verdict"] = finding.verdict.value
    for name in ("score", "logit"):
        row[name] = None if row[name] is None else round(row[name], DIGITS)
    return row
