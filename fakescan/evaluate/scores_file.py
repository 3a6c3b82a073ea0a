"""Somebody else's scores: a CSV with the columns path and score, matched to labelled images.

The columns `logit` and `error` are used when they are there, so that `fakescan scan`'s own CSV
can be read. A path is a sample's key (relative to the data's root) or leads to its file, absolutely
or from the working folder; nothing else counts as a match.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from fakescan.data.samples import Sample
from fakescan.errors import DatasetError
from fakescan.evaluate.benchmark import ScoreTable

COLUMNS = ("path", "score")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoresFile:
    """The scores of the samples that the file has, and what does not fit."""

    table: ScoreTable
    """Ranked by the column logit if every row has one, else by score. Samples without a score
    are among `unreadable`."""
    scores: NDArray[np.float64]
    """(N,), the column score."""
    is_probability: bool
    """Every score of the file lies in [0, 1]."""
    surplus: tuple[str, ...]
    """Paths of rows that belong to no image of the data."""


@dataclass(frozen=True, slots=True)
class _Row:
    path: str
    score: float
    logit: float | None
    reason: str
    """Why there is no score."""


def read_scores(path: Path, samples: Sequence[Sample], others: Sequence[Sample] = ()) -> ScoresFile:
    """Read scores and match them to the samples.

    Args:
        path: of the CSV.
        samples: those to be evaluated.
        others: of the same data; rows that belong to them are no surplus.

    Raises:
        DatasetError: not such a file, two rows for one image, or not one row for any sample.
    """
    by_key, by_file = _index((*samples, *others))
    found: dict[str, _Row] = {}
    surplus: list[str] = []
    rows = list(_rows(path))
    for row in rows:
        key = by_key.get(PurePath(row.path).as_posix()) or by_file.get(_absolute(row.path))
        if key is None:
            surplus.append(row.path)
        elif key in found:
            raise DatasetError(f"{path}: {row.path!r}: a second row for the same image")
        else:
            found[key] = row
    kept = [s for s in samples if s.key in found and not found[s.key].reason]
    if not kept:
        example = f", such as {rows[0].path!r}" if rows else ""
        raise DatasetError(
            f"{path}: none of its {len(rows)} paths{example}, has a score and is an image of the "
            f"data, such as {samples[0].key!r}"
        )
    chosen = [found[s.key] for s in kept]
    scores = np.array([row.score for row in chosen])
    has_logits = all(row.logit is not None for row in chosen)
    ranks = np.array([row.logit for row in chosen], np.float64) if has_logits else scores
    numbers = [row.score for row in rows if not row.reason]
    return ScoresFile(
        table=ScoreTable(tuple(kept), ranks, tuple(_missing(samples, found, path))),
        scores=scores,
        is_probability=all(0 <= number <= 1 for number in numbers),
        surplus=tuple(surplus),
    )


def _missing(
    samples: Sequence[Sample], found: dict[str, _Row], path: Path
) -> Iterator[tuple[str, str]]:
    for sample in samples:
        if sample.key not in found:
            yield sample.key, f"no row in {path}"
        elif reason := found[sample.key].reason:
            yield sample.key, reason


def _index(samples: Sequence[Sample]) -> tuple[dict[str, str], dict[str, str]]:
    """Keys by themselves and by absolute path."""
    return {s.key: s.key for s in samples}, {_absolute(str(s.path)): s.key for s in samples}


def _absolute(path: str) -> str:
    return os.path.normpath(Path.cwd() / path)


def _rows(path: Path) -> Iterator[_Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            table = csv.DictReader(stream)
            names = table.fieldnames or ()
            if missing := [name for name in COLUMNS if name not in names]:
                there = ", ".join(names) or "none"
                raise DatasetError(
                    f"{path}: no column {' and '.join(missing)}; expected path and score, "
                    f"there are: {there}"
                )
            for values in table:
                yield _row(values, f"{path}, line {table.line_num}")
    except FileNotFoundError as e:
        raise DatasetError(f"{path}: no such file") from e
    except (OSError, csv.Error) as e:
        raise DatasetError(f"{path}: not readable as CSV ({e})") from e


def _row(values: dict[str, str], where: str) -> _Row:
    path = values["path"] or ""
    if not path:
        raise DatasetError(f"{where}: no path")
    score = _number(values["score"], f"{where}: score")
    logit = _number(values.get("logit"), f"{where}: logit")
    if score is None:
        return _Row(path, math.nan, None, values.get("error") or "its row has no score")
    if not math.isfinite(score):
        return _Row(path, score, None, f"its score is {score}")
    return _Row(path, score, logit if logit is not None and math.isfinite(logit) else None, "")


def _number(text: str | None, where: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        return float(text or "")
    except ValueError as e:
        raise DatasetError(f"{where} {text!r} is no number") from e
