"""Findings that are known already, by the content of the file: they are not reported again.

A finding is known when an earlier report has one with the same sha256 and the same verdict. So a
file may move or be renamed, and a detector that changes its mind is heard.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fakescan.errors import ConfigError
from fakescan.records import Finding

KNOWN = "known from the baseline"


class Baseline:
    """What a report says, by content."""

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        """Take the findings of a report as (sha256, verdict)."""
        self._known = frozenset(known)

    def __len__(self) -> int:
        return len(self._known)

    def knows(self, finding: Finding) -> bool:
        """Whether the report has a finding of the same content with the same verdict."""
        return (finding.sha256, finding.verdict.value) in self._known

    def unknown(self, findings: Iterable[Finding], skipped: Counter[str]) -> Iterator[Finding]:
        """Pass on what is not known, and count the rest as skipped."""
        for finding in findings:
            if self.knows(finding):
                skipped[KNOWN] += 1
            else:
                yield finding


def read_baseline(path: Path) -> Baseline:
    """Read a JSON or JSON Lines report whose findings carry hashes.

    Raises:
        ConfigError: it cannot be read, is no such report, or has no hashes.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(_rows(text, is_lines=path.suffix.lower() == ".jsonl"))
        baseline = Baseline((r["sha256"], r["verdict"]) for r in rows if r.get("sha256"))
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ConfigError(f"{path}: not a JSON or JSON Lines report of a scan") from e
    if rows and not baseline:
        raise ConfigError(f"{path}: a report without hashes; write it with --hash")
    return baseline


def _rows(text: str, *, is_lines: bool) -> Iterator[dict[str, Any]]:
    if is_lines:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        yield from json.loads(text)["findings"]
