"""What a finding says to a person, in words that several formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakescan.records import Finding, Verdict

TITLES = {
    Verdict.REAL: "Looks like a photograph",
    Verdict.UNCERTAIN: "May be AI-generated",
    Verdict.FAKE: "Looks AI-generated",
    Verdict.ERROR: "Could not be scored",
}


def title(finding: Finding) -> str:
    """The verdict in a few words."""
    return TITLES[finding.verdict]


def sentence(finding: Finding, detector: Mapping[str, Any]) -> str:
    """The verdict with its score and thresholds, or with the reason why there is none."""
    if finding.score is None:
        return f"{title(finding)}: {finding.error}."
    return (
        f"{title(finding)}: score {finding.score:.3f}; "
        f"fake from {detector['t_fake']:.3f}, real below {detector['t_real']:.3f}.{_named(finding)}"
    )


def _named(finding: Finding) -> str:
    """The generator, never without its probability and the list of all that are known."""
    if finding.generator is None or finding.generator_score is None:
        return ""
    known = ", ".join(finding.known_generators)
    return (
        f" Generator: {finding.generator}; the likeliest of those known ({known}) "
        f"has probability {finding.generator_score:.3f}."
    )
