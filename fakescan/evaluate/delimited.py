"""CSV: a line per detector, condition and row, with the bounds of every figure beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from fakescan.evaluate.benchmark import FIGURES
from fakescan.evaluate.evaluation import RAW, Evaluation
from fakescan.evaluate.intervals import UNKNOWN, Estimate
from fakescan.evaluate.record import DIGITS, Report, rows_of

BOUNDED = (*FIGURES, "properties_auc")
COLUMNS = (
    "detector",
    "condition",
    "kind",
    "name",
    "family",
    "fakes",
    "reals",
    *(f"{name}{part}" for name in BOUNDED for part in ("", "_low", "_high")),
    "oracle_threshold",
)


def csv_text(report: Report) -> str:
    """The whole file."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    protocol = report.conditions.protocol
    figures = tuple(protocol.protocol.tables) if protocol else ()
    table.writerow([*COLUMNS, *(f"paper_{figure}" for figure in figures)])
    for evaluation in report.evaluations:
        printed = _printed(evaluation)
        for line in _lines(evaluation):
            beside = line[1] == RAW and line[2] != "family"
            cells = (printed.get((figure, line[3]), "") if beside else "" for figure in figures)
            table.writerow([*line, *cells])
        for name in dict.fromkeys(m.generator for found in evaluation.paper for m in found.missing):
            empty = [""] * (len(COLUMNS) - 4)
            cells = (printed.get((figure, name), "") for figure in figures)
            table.writerow([evaluation.detector, RAW, "missing", name, *empty, *cells])
    return stream.getvalue()


def _lines(evaluation: Evaluation) -> Iterator[list[str]]:
    for name, condition in evaluation.conditions.items():
        for kind, row in rows_of(condition.benchmark):
            properties = _properties(evaluation, kind, row.source) if name == RAW else UNKNOWN
            estimates = [*(getattr(row.figures, figure) for figure in FIGURES), properties]
            yield [
                evaluation.detector,
                name,
                kind,
                row.source,
                row.family,
                str(row.fakes),
                str(row.reals),
                *(text for estimate in estimates for text in _texts(estimate)),
                _text(row.oracle_threshold),
            ]


def _printed(evaluation: Evaluation) -> dict[tuple[str, str], str]:
    """Figure and row -> what the paper printed; the mean is over the rows that are there."""
    return {
        (found.figure, line.generator): _text(line.paper)
        for found in evaluation.paper
        for line in (*found.lines, found.mean)
    } | {
        (found.figure, missing.generator): _text(missing.paper)
        for found in evaluation.paper
        for missing in found.missing
    }


def _properties(evaluation: Evaluation, kind: str, name: str) -> Estimate:
    found = evaluation.properties
    if found is None or kind == "family":
        return UNKNOWN
    return found.mean if kind == "mean" else found.rows[name]


def _texts(estimate: Estimate) -> tuple[str, str, str]:
    return _text(estimate.value), _text(estimate.low), _text(estimate.high)


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{DIGITS}f}"
