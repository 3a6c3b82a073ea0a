"""A check's result for programs: JSON with everything, CSV with a row per problem."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from fakescan.check.likeness import Crossing, Twins
from fakescan.check.run import Check, spare_copies
from fakescan.check.shares import ShareTable
from fakescan.evaluate.audit import Audit
from fakescan.report.delimited import safe_cell

VERSION = 1
"""Grows when a reader of an older result could misunderstand a newer one."""
DIGITS = 6
"""Decimals of shares and AUC."""
COLUMNS = ("problem", "path", "other", "bits", "declared", "reason")
"""Of the CSV; what a problem has not is empty."""


def json_text(found: Check, data: str, exceeded: Sequence[str]) -> str:
    """Everything that was found.

    Args:
        found: the check.
        data: what was checked, as it was named.
        exceeded: a line for every limit that is exceeded.
    """
    likeness = found.likeness
    values = {
        "fakescan_check_version": VERSION,
        "data": data,
        "layout": asdict(found.layout),
        "images": found.images,
        "counts": [asdict(count) for count in found.counts],
        "unreadable": [{"path": key, "reason": reason} for key, reason in found.unreadable],
        "duplicates": {
            "copies": spare_copies(likeness),
            "groups": [[s.key for s in copies.samples] for copies in likeness.copies],
        },
        "near_duplicates": {
            "images": likeness.alike,
            "twins": [_twins(t) for t in likeness.anywhere],
            "across_splits": _crossing(likeness.across_splits),
            "across_labels": _crossing(likeness.across_labels),
        },
        "imbalance": [_table(table) for table in found.shares],
        "properties": found.audit and _audit(found.audit),
        "exceeded": list(exceeded),
    }
    return json.dumps(values, indent=2) + "\n"


def csv_text(found: Check) -> str:
    """A header, then a row per problem: safe to open in a spreadsheet."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    rows.writerows([safe_cell(cell) for cell in row] for row in _problems(found))
    return text.getvalue()


def _problems(found: Check) -> Iterator[tuple[Any, ...]]:
    for key, reason in found.unreadable:
        yield "unreadable", key, "", "", "", reason
    for copies in found.likeness.copies:
        first, *others = copies.samples
        for sample in others:
            yield "duplicate", sample.key, first.key, "", "", ""
    for problem, crossing in (
        ("across splits", found.likeness.across_splits),
        ("across labels", found.likeness.across_labels),
    ):
        for t in crossing.twins:
            yield problem, t.one.key, t.other.key, t.bits, str(t.is_declared).lower(), ""


def _crossing(crossing: Crossing) -> dict[str, Any]:
    return {
        "images": crossing.images,
        "undeclared_images": crossing.undeclared,
        "sides": [{"sides": list(two), "images": n} for two, n in crossing.counts.items()],
        "twins": [_twins(t) for t in crossing.twins],
    }


def _twins(t: Twins) -> dict[str, Any]:
    return {"path": t.one.key, "other": t.other.key, "bits": t.bits, "declared": t.is_declared}


def _table(table: ShareTable) -> dict[str, Any]:
    return {
        "property": table.title,
        "imbalance": round(table.imbalance, DIGITS),
        "rows": [asdict(row) for row in table.rows],
    }


def _audit(audit: Audit) -> dict[str, Any]:
    return {
        "reals": audit.reals,
        "fakes": audit.fakes,
        "auc": {name: round(value, DIGITS) for name, value in asdict(audit.together).items()},
        "alone": [
            {name: v if name == "name" else round(v, DIGITS) for name, v in asdict(row).items()}
            for row in audit.rows
        ],
    }
