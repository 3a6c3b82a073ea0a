"""What any number of stored reports say together: counts, how scores lie, why images have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fakescan.records import Finding, Verdict

BINS = 10
REASONS = 1000
"""Reasons that are told apart; the rest are counted together, or odd files could fill memory."""
OTHER = "other reasons"


@dataclass(slots=True)
class Overview:
    """Counts over findings; grows as they pass."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    detectors: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """By reason."""
    provenance: Counter[str] = field(default_factory=Counter)
    """What files say of their origin."""
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    """Images by score, in ten equal bins from 0 to 1."""

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        for finding in findings:
            self.verdicts[finding.verdict] += 1
            self.detectors[finding.detector] += 1
            if finding.score is not None:
                self.scores[min(BINS - 1, int(finding.score * BINS))] += 1
                self.formats[finding.format or "unknown"] += 1
            if finding.error is not None:
                is_room = finding.error in self.errors or len(self.errors) < REASONS
                self.errors[finding.error if is_room else OTHER] += 1
            if finding.provenance is not None:
                self.provenance[finding.provenance] += 1

    def as_dict(self) -> dict[str, Any]:
        """All counts, for JSON."""
        return {
            "images": self.verdicts.total(),
            "counts": {verdict.value: self.verdicts[verdict] for verdict in Verdict},
            "detectors": dict(self.detectors.most_common()),
            "formats": dict(self.formats.most_common()),
            "errors": dict(self.errors.most_common()),
            "provenance": dict(self.provenance.most_common()),
            "scores": self.scores,
        }
