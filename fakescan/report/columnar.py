"""Parquet: a row per finding in columns, and what a JSON report says besides in its metadata.

Needs pyarrow, which is loaded when such a report is begun.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fakescan.errors import ConfigError
from fakescan.report.envelope import head_of, tail_of
from fakescan.report.lines import json_row
from fakescan.report.record import COLUMNS, RANGE, Report

ROWS = 10_000
"""Of a group, which waits in memory: 2 MB or so."""
KEY = b"fakescan"
"""Of the metadata, where the rest of the report is, as JSON."""
NUMBERS = ("score", "logit", "score_min", "score_max")
COUNTS = ("width", "height")
EXTRA = ("sha256", "path_b64")


class _Sink:
    """A file that gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def flush(self) -> None: ...

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def parquet_chunks(report: Report) -> Iterator[bytes]:
    """The file's start, a piece for each finding (empty but for the last of a group), its end.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise ConfigError(".parquet: needs more: pip install 'fakescan[remote]'") from e
    names = tuple(report.settings.get("perturbations") or ())
    schema = pyarrow.schema([(name, _type(name, pyarrow)) for name in _columns(names)])
    sink = _Sink()
    with parquet.ParquetWriter(pyarrow.PythonFile(sink, "w"), schema, compression="zstd") as writer:
        yield sink.taken()
        rows: list[dict[str, Any]] = []
        for finding in report.findings:
            row = json_row(finding)
            rows.append(row | row.pop("perturbed", {}))
            if len(rows) == ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
            yield sink.taken()
        if rows:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
        rest = json.dumps({**head_of(report), **tail_of(report.summary)})
        writer.add_key_value_metadata({KEY: rest})
    yield sink.taken()


def _columns(perturbations: tuple[str, ...]) -> tuple[str, ...]:
    return (*COLUMNS, *EXTRA, *perturbations, *(RANGE if perturbations else ()))


def _type(name: str, pyarrow: Any) -> Any:
    if name in COUNTS:
        return pyarrow.int32()
    if name == "stable":
        return pyarrow.bool_()
    is_text = name in (*COLUMNS, *EXTRA) and name not in NUMBERS
    return pyarrow.string() if is_text else pyarrow.float64()
