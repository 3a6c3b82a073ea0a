"""Report files, read again: what they say of the scan, and their findings one by one.

JSON, JSON Lines, CSV and Parquet. JSON is read by line, as fakescan writes it, so that any size
will do; one that another program has laid out anew is read at once. CSV and JSON Lines say
nothing of their scan.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fakescan.errors import PlaceError, ReportError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.patient import buffered
from fakescan.places.pattern import find_objects
from fakescan.places.store import store_of
from fakescan.places.uri import WEB, is_uri, name_of, scheme_of, shown
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

    path: str
    """Or URI, as it may be shown."""
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


def open_report(place: str | Path, access: Access | None = None) -> StoredReport:
    """Open a report; its findings are not read yet.

    Args:
        place: a file or a URI.
        access: to the store; None: as usual.

    Raises:
        ReportError: it cannot be read, or is no report.
    """
    file = _File(str(place), access or Access())
    suffix = PurePosixPath(name_of(file.place)).suffix.lower()
    if suffix not in _OPENERS:
        known = ", ".join(sorted(_OPENERS))
        raise ReportError(f"{file.shown}: not a report that can be read again; known: {known}")
    with _reasons(file.shown):
        report = _OPENERS[suffix](file)
        if (first := next(report.rows(), None)) is not None and not _is_row(first):
            raise ReportError(f"{file.shown}: no report of a scan: no path and verdict in its rows")
        return report


def find_reports(places: Sequence[str], access: Access) -> list[str]:
    """The reports that places name, in their order.

    Args:
        places: files, URIs, and patterns and folders of stores.
        access: to the stores.

    Raises:
        ReportError: one cannot be looked at, or names no report.
    """
    found: list[str] = []
    for place in places:
        if not is_uri(place) or scheme_of(place) in WEB:
            found.append(place)
            continue
        try:
            uris = [entry.uri for entry in find_objects(place, access)]
        except (PlaceProblem, PlaceError) as e:
            why = str(e).removeprefix(f"{shown(place)}: ")
            raise ReportError(f"{shown(place)}: {why}") from e
        uris = uris if uris == [place] else [u for u in uris if PurePosixPath(u).suffix in _OPENERS]
        if not uris:
            raise ReportError(f"{shown(place)}: no reports there")
        found += uris
    return found


@dataclass(frozen=True, slots=True)
class _File:
    """A report file, here or in a store."""

    place: str
    access: Access

    @property
    def shown(self) -> str:
        return shown(self.place)

    def bytes(self) -> IO[bytes]:
        if is_uri(self.place):
            return buffered(store_of(self.place, self.access).open(self.place))
        return Path(self.place).open("rb")

    def text(self, *, errors: str = "strict", newline: str | None = None) -> IO[str]:
        return io.TextIOWrapper(self.bytes(), encoding="utf-8", errors=errors, newline=newline)


@contextmanager
def _reasons(shown_as: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as e:
        raise ReportError(f"{shown_as}: no such file") from e
    except PlaceProblem as e:
        raise ReportError(f"{shown_as}: {e}") from e
    except OSError as e:
        raise ReportError(f"{shown_as}: cannot be read ({e.strerror or 'damaged'})") from e
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error, RecursionError) as e:
        raise ReportError(f"{shown_as}: not a report of a scan, or a damaged one") from e


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(kind), str) for kind in KINDS)


def _open_lines(file: _File) -> StoredReport:
    def rows() -> Iterator[Row]:
        with file.text() as stream:
            yield from (json.loads(line) for line in stream if line.strip())

    return StoredReport(file.shown, rows)


def _open_json(file: _File) -> StoredReport:
    said = _said(file)
    if said is None:
        with file.text() as stream:
            whole = json.load(stream)
        found = whole.pop("findings")
        return StoredReport(file.shown, lambda: iter(found), whole)

    def rows() -> Iterator[Row]:
        with file.text() as stream:
            while stream.readline() != BEGIN:
                pass
            for line in stream:
                if line == END:
                    return
                yield json.loads(line.strip().removesuffix(","))

    return StoredReport(file.shown, rows, said)


def _said(file: _File) -> dict[str, Any] | None:
    """All but the findings; None when lines are not as fakescan writes them."""
    head = ""
    with file.text() as stream:
        for line in stream:
            if line == BEGIN:
                break
            head += line
            if len(head) > TAIL_BYTES:
                return None
    with file.bytes() as raw:
        raw.seek(max(0, raw.seek(0, os.SEEK_END) - TAIL_BYTES))
        _, _, tail = raw.read().decode("utf-8", "replace").rpartition("\n" + END)
    try:
        said: dict[str, Any] = json.loads(head + tail)
    except ValueError:
        return None
    return said


def _open_csv(file: _File) -> StoredReport:
    def rows() -> Iterator[Row]:
        with file.text(errors="surrogateescape", newline="") as stream:
            for cells in csv.DictReader(stream):
                yield {name: _value(name, cell) for name, cell in cells.items() if name}

    return StoredReport(file.shown, rows)


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


def _open_parquet(file: _File) -> StoredReport:
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise ReportError(f"{file.shown}: needs more: pip install 'fakescan[remote]'") from e

    def rows() -> Iterator[Row]:
        with file.bytes() as stream, parquet.ParquetFile(stream) as table:
            for batch in table.iter_batches(batch_size=ROWS):
                yield from batch.to_pylist()

    with file.bytes() as stream, parquet.ParquetFile(stream) as table:
        said = json.loads((table.metadata.metadata or {}).get(KEY, b"{}"))
    return StoredReport(file.shown, rows, said)


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


_OPENERS: Mapping[str, Callable[[_File], StoredReport]] = {
    ".json": _open_json,
    ".jsonl": _open_lines,
    ".csv": _open_csv,
    ".parquet": _open_parquet,
}
