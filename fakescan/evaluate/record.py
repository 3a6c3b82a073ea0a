"""What the writers of an evaluation's results share: the report, its notes, and plain values."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import PIL

from fakescan import runtime
from fakescan.config import to_dict
from fakescan.evaluate.against_paper import AgainstPaper, Line
from fakescan.evaluate.benchmark import FIGURES, Benchmark, Figures, Row
from fakescan.evaluate.evaluation import EQUALISED, Evaluation, Plan, Settings
from fakescan.evaluate.intervals import Estimate
from fakescan.evaluate.pairing import Pairing
from fakescan.evaluate.protocols import Setup

VERSION = 1
"""Grows when a reader of an older file could misunderstand a newer one."""
DIGITS = 6
"""Decimals of figures in files."""
LEAST_REALS = 100
"""Below, 1 % of the reals is less than one image."""
LEAK_AUC = 0.6
"""Mean AUC of file properties from which a note says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What every figure was made under."""

    data: str
    """Folder or manifest, as given."""
    splits: tuple[str, ...] = ()
    """Of the data; none: all of it."""
    by: str = "generator"
    """What a row is."""
    pairing: Pairing | None = None
    """Which reals a source of fakes met; None: those nearest in the layout."""
    limit: int | None = None
    """Fakes of a row, and of its reals, that were scored at most."""
    protocol: Setup | None = None
    """A public test set, which decides on splits, rows and pairing."""
    settings: Settings = field(default_factory=Settings)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When, UTC."""
    versions: Mapping[str, str] = field(default_factory=lambda: versions())


@dataclass(frozen=True, slots=True)
class Report:
    """Evaluations of one plan, the first of which others are compared with."""

    conditions: Conditions
    plan: Plan
    evaluations: tuple[Evaluation, ...]


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    import fakescan

    return {
        "fakescan": fakescan.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "runtime": runtime.described(),
    }


def rows_of(benchmark: Benchmark) -> Iterator[tuple[str, Row]]:
    """Kind and row: every row, then every family, then the mean."""
    yield from (("row", row) for row in benchmark.rows)
    yield from (("family", row) for row in benchmark.families)
    fakes = sum(row.fakes for row in benchmark.rows)
    yield "mean", Row("mean", fakes, benchmark.met, benchmark.mean)


def telling_rows(benchmark: Benchmark) -> Iterator[tuple[str, Row]]:
    """The same without families that have but one row."""
    counts = Counter(row.family for row in benchmark.rows)
    for kind, row in rows_of(benchmark):
        if kind != "family" or counts[row.source] > 1:
            yield kind, row


def notes(report: Report, evaluation: Evaluation) -> list[str]:
    """What a reader of this evaluation's figures must know, a line each."""
    return [
        *_notes_on_protocol(report.conditions.protocol, evaluation),
        *_notes_on_images(report, evaluation),
        *_notes_on_figures(evaluation),
    ]


def _notes_on_images(report: Report, evaluation: Evaluation) -> Iterator[str]:
    measured = {row.source for row in evaluation.raw.rows}
    if lost := [c.name for c in report.plan.comparisons if c.name not in measured]:
        yield f"no row for {', '.join(lost)}: no fake or no real of it has a score"
    properties = evaluation.properties
    if properties is None:
        yield (
            "only raw scores: files were not opened, so nothing is equalised, and what their "
            "properties give away is not known (see `fakescan data audit`)"
        )
    elif properties.mean.value >= LEAK_AUC:
        yield (
            "file properties alone (size, format, compression, metadata) reach a mean AUC of "
            f"{percent(properties.mean.value)}: these classes differ in more than their pixels"
        )
    if EQUALISED not in evaluation.conditions and properties is not None:
        yield "not repeated with format and size equalised"


def _notes_on_figures(evaluation: Evaluation) -> Iterator[str]:
    raw = evaluation.raw
    if few := [row.source for row in raw.rows if row.reals < LEAST_REALS]:
        yield (
            f"TPR at 1 % FPR allows no false positive where there are fewer than {LEAST_REALS} "
            f"reals: {len(few)} of {len(raw.rows)} rows"
        )
    if evaluation.t_fake is None:
        yield "no accuracy: no threshold was given"
    if evaluation.is_calibrated:
        yield f"ECE over all images {interval(raw.ece)}; rows with few images have too high a one"
    else:
        yield "no ECE: scores lie outside [0, 1], so that they are no probabilities"


def _notes_on_protocol(protocol: Setup | None, evaluation: Evaluation) -> Iterator[str]:
    if protocol is None:
        return
    found, columns = len(protocol.comparisons), protocol.protocol.columns
    yield (
        f"protocol {protocol.protocol.name}: the middle of each image, never scaled, padded with "
        f"black where it is smaller; as many reals as fakes, at most {protocol.per_label} of each; "
        f"{found} of {len(columns)} generators"
    )
    for name, why in protocol.missing.items():
        yield f"missing, and in no mean: {name} ({why})"
    if protocol.note:
        yield f"{protocol.note}; the paper does not say which images it took"
    if evaluation.t_fake is not None:
        yield (
            "the paper tuned one threshold on ProGAN's validation images; yours is "
            f"{evaluation.t_fake:.3g}, and was fixed without them"
        )


def percent(value: float) -> str:
    """Such as 93.7; a dash for what is not known."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def interval(estimate: Estimate) -> str:
    """Such as 93.7 [90.7, 96.4]."""
    if math.isnan(estimate.low):
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def plain(report: Report) -> dict[str, Any]:
    """Everything, as values that JSON has; what is not known is None."""
    return {
        "fakescan_evaluation_version": VERSION,
        "conditions": _conditions(report.conditions),
        "detectors": [_evaluation(report, e) for e in report.evaluations],
    }


def _conditions(conditions: Conditions) -> dict[str, Any]:
    settings, pairing = conditions.settings, conditions.pairing
    equalising = settings.equalising
    return {
        "data": conditions.data,
        "splits": list(conditions.splits),
        "by": conditions.by,
        "pairing": to_dict(pairing) if pairing else None,
        "limit": conditions.limit,
        "protocol": _protocol(conditions.protocol),
        "resamples": settings.resamples,
        "seed": settings.seed,
        "equalise_px": equalising.short_px if equalising else None,
        "date": conditions.date,
        "versions": dict(conditions.versions),
    }


def _evaluation(report: Report, evaluation: Evaluation) -> dict[str, Any]:
    samples = evaluation.conditions["raw"].table.samples
    fakes = sum(s.label for s in samples)
    properties = evaluation.properties
    return {
        "detector": evaluation.detector,
        "t_fake": evaluation.t_fake,
        "t_real": evaluation.t_real,
        "is_calibrated": evaluation.is_calibrated,
        "fakes": fakes,
        "reals": len(samples) - fakes,
        "results": {name: _benchmark(c.benchmark) for name, c in evaluation.conditions.items()},
        "properties_auc": None
        if properties is None
        else {
            "rows": {name: _estimate(value) for name, value in properties.rows.items()},
            "mean": _estimate(properties.mean),
        },
        "paper": [_paper(found) for found in evaluation.paper],
        "difference": {name: _estimate(v) for name, v in evaluation.differences.items()},
        "left_out": [{"path": key, "reason": reason} for key, reason in evaluation.left_out],
        "surplus": list(evaluation.surplus),
        "notes": notes(report, evaluation),
    }


def _benchmark(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "rows": [_row(row) for row in benchmark.rows],
        "families": [_row(row) for row in benchmark.families],
        "mean": _figures(benchmark.mean),
        "ece": _estimate(benchmark.ece),
        "reals": [
            {"source": r.source, "reals": r.reals, "called_fake": _estimate(r.called_fake)}
            for r in benchmark.reals
        ],
    }


def _protocol(protocol: Setup | None) -> dict[str, Any] | None:
    if protocol is None:
        return None
    return {
        "name": protocol.protocol.name,
        "per_label": protocol.per_label,
        "missing": dict(protocol.missing),
        "note": protocol.note,
    }


def _paper(found: AgainstPaper) -> dict[str, Any]:
    return {
        "figure": found.figure,
        "table": found.table,
        "row": found.paper_row,
        "generators": [_line(line) for line in found.lines],
        "mean": _line(found.mean),
        "missing": [{"generator": m.generator, "paper": _number(m.paper)} for m in found.missing],
        "printed_mean": _number(found.printed_mean),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "generator": line.generator,
        "fakes": line.fakes,
        "reals": line.reals,
        "paper": _number(line.paper),
        "yours": _estimate(line.yours),
        "difference": _number(line.difference),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.source,
        "family": row.family,
        "fakes": row.fakes,
        "reals": row.reals,
        "oracle_threshold": _number(row.oracle_threshold),
        "figures": _figures(row.figures),
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {name: _estimate(getattr(figures, name)) for name in FIGURES}


def _estimate(estimate: Estimate) -> dict[str, float | None] | None:
    if not estimate.is_known:
        return None
    return {name: _number(value) for name, value in asdict(estimate).items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)
