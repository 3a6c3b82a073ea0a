"""Report files, read again: what they say of the scan, and their findings one by one.

JSON, JSON Lines, CSV and Parquet. JSON is read by line, as fakescan writes it, so that any size
will do; one that another program has laid out anew is read at once. CSV and JSON Lines say
nothing of their scan.
"""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakescan.errors import ReportError
from fakescan.records import Finding, Verdict
from fakescan.report.columnar import KEY, ROWS
from fakescan.report.delimited import FORMULA
from fakescan.report.record import COLUMNS, RANGE

Row = dict[str, Any]
TAIL_BYTES = 1 << 20
"""Of a JSON report, behind its findings."""
BEGIN, END = '  "findings": [\n', "  ],\n"
KINDS = ("path", "verdict")
"""Columns without which a table is no report."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One report file."""

    path: Path
    rows: Callable[[], Iterator[Row]]
    """Gives all rows, by column; each call begins anew."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """What it says besides its findings, by the keys of a JSON report; empty for CSV and JSON
    Lines."""

    def findings(self) -> Iterator[Finding]:
        """Yield its findings.

        Raises:
            ReportError: it is damaged.
        """
        with _reasons(self.path):
            for row in self.rows():
                yield _finding(row)


def open_report(path: Path) -> StoredReport:
    """Open a report; its findings are not read yet.

    Raises:
        ReportError: it cannot be read, or is no report.
    """
    suffix = path.suffix.lower()
    if suffix not in _OPENERS:
        known = ", ".join(sorted(_OPENERS))
        raise ReportError(f"{path}: not a report that can be read again; known: {known}")
    with _reasons(path):
        report = _OPENERS[suffix](path)
        if (first := next(report.rows(), None)) is not None and not _is_row(first):
            raise ReportError(f"{path}: no report of a scan: no path and verdict in its rows")
        return report


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as e:
        raise ReportError(f"{path}: no such file") from e
    except OSError as e:
        raise ReportError(f"{path}: cannot be read ({e.strerror or 'damaged'})") from e
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error, RecursionError) as e:
        raise ReportError(f"{path}: not a report of a scan, or a damaged one") from e


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(kind), str) for kind in KINDS)


def _open_lines(path: Path) -> StoredReport:
    def rows() -> Iterator[Row]:
        with path.open(encoding="utf-8") as stream:
            yield from (json.loads(line) for line in stream if line.strip())

    return StoredReport(path, rows)


def _open_json(path: Path) -> StoredReport:
    said = _said(path)
    if said is None:
        whole = json.loads(path.read_text(encoding="utf-8"))
        found = whole.pop("findings")
        return StoredReport(path, lambda: iter(found), whole)

    def rows() -> Iterator[Row]:
        with path.open(encoding="utf-8") as stream:
            while stream.readline() != BEGIN:
                pass
            for line in stream:
                if line == END:
                    return
                yield json.loads(line.strip().removesuffix(","))

    return StoredReport(path, rows, said)


def _said(path: Path) -> dict[str, Any] | None:
    """All but the findings; None when lines are not as fakescan writes them."""
    head = ""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if line == BEGIN:
                break
            head += line
            if len(head) > TAIL_BYTES:
                return None
    with path.open("rb") as raw:
        raw.seek(max(0, path.stat().st_size - TAIL_BYTES))
        _, _, tail = raw.read().decode("utf-8", "replace").rpartition("\n" + END)
    try:
        said: dict[str, Any] = json.loads(head + tail)
    except ValueError:
        return None
    return said


def _open_csv(path: Path) -> StoredReport:
    def rows() -> Iterator[Row]:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            for cells in csv.DictReader(stream):
                yield {name: _value(name, cell) for name, cell in cells.items() if name}

    return StoredReport(path, rows)


def _value(name: str, cell: str | None) -> Any:
    if not cell:
        return "" if name == "path" else None
    if name in ("width", "height"):
        return int(cell)
    if name == "stable":
        return cell == "true"
    if name not in COLUMNS or name in ("score", "logit"):
        return float(cell)
    return cell[1:] if cell[0] == "'" and FORMULA.match(cell[1:]) else cell


def _open_parquet(path: Path) -> StoredReport:
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise ReportError(f"{path}: needs more: pip install 'fakescan[remote]'") from e

    def rows() -> Iterator[Row]:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=ROWS):
                yield from batch.to_pylist()

    with parquet.ParquetFile(path) as table:
        said = json.loads((table.metadata.metadata or {}).get(KEY, b"{}"))
    return StoredReport(path, rows, said)


def _finding(row: Row) -> Finding:
    path = row["path"]
    if row.get("path_b64"):
        path = os.fsdecode(base64.b64decode(row["path_b64"]))
    names = (*COLUMNS, *RANGE, "sha256", "path_b64", "perturbed")
    perturbed = row.get("perturbed") or {
        name: value for name, value in row.items() if name not in names and value is not None
    }
    values: dict[str, Any] = {name: row.get(name) for name in (*COLUMNS, "sha256", "stable")}
    values["verdict"] = Verdict(row["verdict"])
    values["detector"] = row.get("detector") or ""
    return Finding(**{**values, "path": path, "perturbed": tuple(perturbed.items())})


_OPENERS: Mapping[str, Callable[[Path], StoredReport]] = {
    ".json": _open_json,
    ".jsonl": _open_lines,
    ".csv": _open_csv,
    ".parquet": _open_parquet,
}
