"""What changed from one stored report to another, image by image, by path.

The earlier report goes into a temporary database on disk, so that neither has to fit into memory.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from fakescan.records import Finding

Kind = Literal["new", "gone", "verdict", "score"]
ROWS = 10_000
TINY = 1e-6
"""Scores are stored with six decimals."""


@dataclass(frozen=True, slots=True)
class Change:
    """One image that is not as it was."""

    kind: Kind
    path: str
    before: str | None
    """Verdict."""
    after: str | None
    score_before: float | None
    score_after: float | None


def changes(
    before: Iterable[Finding], after: Iterable[Finding], *, least: float = TINY
) -> Iterator[Change]:
    """Yield images that are new or have another verdict or score, in order of the later report.

    Those that are gone come last, in order of their paths.

    Args:
        before: of the earlier report; a path that is there twice counts once, by its last row.
        after: of the later one.
        least: a score that moves by no more than that, under the same verdict, has not moved.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fakescan-diff-") as folder,
        closing(sqlite3.connect(os.path.join(folder, "before.sqlite"))) as db,  # noqa: PTH118
    ):
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            "CREATE TABLE rows (path BLOB PRIMARY KEY, verdict TEXT, score REAL, seen INTEGER "
            "DEFAULT 0) WITHOUT ROWID"
        )
        rows = ((os.fsencode(f.path), f.verdict.value, f.score) for f in before)
        while group := list(islice(rows, ROWS)):
            db.executemany(
                "INSERT OR REPLACE INTO rows(path, verdict, score) VALUES (?,?,?)", group
            )
        for finding in after:
            if (change := _change(db, finding, least)) is not None:
                yield change
        gone = db.execute("SELECT path, verdict, score FROM rows WHERE NOT seen ORDER BY path")
        for path, verdict, score in gone:
            yield Change("gone", os.fsdecode(path), verdict, None, score, None)


def _change(db: sqlite3.Connection, finding: Finding, least: float) -> Change | None:
    key = (os.fsencode(finding.path),)
    found = db.execute("SELECT verdict, score FROM rows WHERE path = ?", key).fetchone()
    after = finding.verdict.value
    if found is None:
        return Change("new", finding.path, None, after, None, finding.score)
    db.execute("UPDATE rows SET seen = 1 WHERE path = ?", key)
    before, score = found
    values = (finding.path, before, after, score, finding.score)
    if before != after:
        return Change("verdict", *values)
    has_moved = (
        score is not None and finding.score is not None and abs(score - finding.score) > least
    )
    return Change("score", *values) if has_moved else None
