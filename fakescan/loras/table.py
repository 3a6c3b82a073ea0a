"""Rows for a terminal, for a spreadsheet, or for a program."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fakescan.report.delimited import safe_cell
from fakescan.report.lines import json_text
from fakescan.report.table import visible

VERSION = 1
DIGITS = 4
"""Decimals that are shown in a table."""
EXACT_DIGITS = 6
"""Decimals in CSV and JSON."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What one command has found."""

    command: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    facts: Mapping[str, Any]
    """What holds for all rows."""


def text_table(table: Table) -> str:
    """Columns as wide as they need; numbers to the right, the last column ragged."""
    cells = [list(table.columns)]
    cells += [[_shown(row.get(name)) for name in table.columns] for row in table.rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(table.columns))]
    is_number = [
        all(isinstance(row.get(name), int | float | None) for row in table.rows)
        for name in table.columns
    ]
    lines = []
    for line in cells:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        lines.append("  ".join(parts).rstrip() + "\n")
    return "".join(lines)


def csv_text(table: Table) -> str:
    """A header and a row for each; safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([safe_cell(_joined(_plain(row.get(n)))) for n in table.columns])
    return text.getvalue()


def json_document(table: Table) -> str:
    """An object with the facts, and the rows with all they have."""
    values = {
        "fakescan_lora_version": VERSION,
        "command": table.command,
        **{name: _plain(value) for name, value in table.facts.items()},
        "rows": [{name: _plain(value) for name, value in row.items()} for row in table.rows],
    }
    return json.dumps(json.loads(json_text(values)), ensure_ascii=False, indent=1) + "\n"


WRITERS = {"table": text_table, "csv": csv_text, "json": json_document}


def _plain(value: Any) -> Any:
    """Rounded, and without numbers that JSON has not."""
    if isinstance(value, float):
        return round(value, EXACT_DIGITS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _joined(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}" if abs(value) >= 10 else f"{value:.3f}"
    if isinstance(value, list | tuple):
        return visible("; ".join(map(str, value)))
    return visible(str(value))
