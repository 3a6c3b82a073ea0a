"""Lists of places with a column of them: Parquet, CSV, or lines of URIs; read piece by piece.

A list may be longer than memory, and may itself lie in a store. A line that names nothing is a
row of the report.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from fakescan.errors import PlaceError
from fakescan.places.access import Access, PlaceProblem
from fakescan.places.patient import buffered
from fakescan.places.store import store_of
from fakescan.places.uri import is_uri, name_of, shown

COLUMNS = ("uri", "url", "path")
"""Where the places stand, by the first of these names that there is, or in the only column."""
SUFFIXES = (".parquet", ".csv")
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list."""

    number: int
    """From 1, the first below a heading."""
    place: str | None
    """None when it names nothing."""


@dataclass(frozen=True, slots=True)
class UriList:
    """A list that is read when it is asked for its lines."""

    source: str
    """A path or a URI."""
    access: Access

    def lines(self) -> Iterator[Line]:
        """Yield every line.

        Raises:
            PlaceError: the list cannot be read.
        """
        with _opened(self.source, self.access) as stream, _reasons(self.source):
            places = _READERS.get(_suffix(self.source), _of_text)(stream, self.source)
            for number, place in enumerate(places, 1):
                text = place.strip() if isinstance(place, str) else ""
                yield Line(number, text or None)

    def name(self, line: Line) -> str:
        """What a row calls a line that names nothing."""
        return f"{shown(self.source)}:{line.number}"


def is_uri_list(source: str) -> bool:
    """Whether a list is to be read piece by piece: by its suffix, its place, or its first line."""
    if source == "-":
        return False
    if _suffix(source) in SUFFIXES or is_uri(source):
        return True
    try:
        with Path(source).open("rb") as stream:
            return is_uri(stream.readline(4096).decode("utf-8", "replace").strip())
    except OSError:
        return False


def check_list(uris: UriList) -> None:
    """Refuse a list that cannot be read, or has no column of places, before the scan.

    Raises:
        PlaceError: with the reason.
    """
    next(uris.lines(), None)


def _suffix(source: str) -> str:
    return PurePosixPath(name_of(source)).suffix.lower()


@contextmanager
def _opened(source: str, access: Access) -> Iterator[IO[bytes]]:
    try:
        stream = (
            buffered(store_of(source, access).open(source))
            if is_uri(source)
            else Path(source).open("rb")  # noqa: SIM115  (closed below)
        )
    except OSError as e:
        raise PlaceError(f"{source}: cannot be read ({e.strerror})") from e
    except PlaceProblem as e:
        raise PlaceError(f"{shown(source)}: {e}") from e
    with stream:
        yield stream


@contextmanager
def _reasons(source: str) -> Iterator[None]:
    """One line for what readers of tables raise on damaged ones."""
    try:
        yield
    except PlaceProblem as e:
        raise PlaceError(f"{shown(source)}: {e}") from e
    except (OSError, ValueError, csv.Error) as e:  # pyarrow's errors are of these kinds
        kind = _suffix(source).removeprefix(".") or "text"
        raise PlaceError(f"{shown(source)}: not a {kind} list that can be read") from e


def _of_text(stream: IO[bytes], _source: str) -> Iterator[str | None]:
    with io.TextIOWrapper(stream, encoding="utf-8", errors="replace") as text:
        yield from (line for line in text if line.strip())


def _of_csv(stream: IO[bytes], source: str) -> Iterator[str | None]:
    with io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="") as text:
        rows = csv.DictReader(text)
        name = _column(list(rows.fieldnames or ()), source)
        for row in rows:
            yield row.get(name)


def _of_parquet(stream: IO[bytes], source: str) -> Iterator[str | None]:
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise PlaceError(f"{source}: needs more: pip install 'fakescan[remote]'") from e
    table: Any = parquet.ParquetFile(stream)
    name = _column(table.schema_arrow.names, source)
    for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, columns=[name]):
        yield from cast("list[str | None]", batch.column(0).to_pylist())


def _column(names: list[str], source: str) -> str:
    lower = {name.lower(): name for name in names}
    for name in COLUMNS:
        if name in lower:
            return lower[name]
    if len(names) == 1:
        return names[0]
    raise PlaceError(
        f"{shown(source)}: no column of places; it has {', '.join(names) or 'none'}, "
        f"and one should be called {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}"
    )


_READERS = {".csv": _of_csv, ".parquet": _of_parquet}
