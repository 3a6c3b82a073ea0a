"""How exported files compare with torch, as JSON for programs and as rows for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import fakescan
from fakescan import runtime
from fakescan.export import ExportReport
from fakescan.export.parity import MAX_AUC_LOSS, MAX_FLIPS, TOLERANCE, Parity

VERSION = 1
"""Grows when a reader of an older record could misunderstand a newer one."""
COLUMNS = (
    "precision", "MB", "logit max", "logit mean", "score max", "score mean", "flips", "AP", "AUC",
)  # fmt: skip
"""Of the table: sizes of differences, verdicts that changed, and changes in points."""


def to_json(report: ExportReport) -> str:
    """The whole comparison; all figures are against torch in float32."""
    values: dict[str, Any] = {
        "fakescan_parity_version": VERSION,
        "fakescan": fakescan.__version__,
        "runtime": runtime.described(),
        "detector": report.metadata.name,
        "file": str(report.path),
        "sha256": report.sha256,
        "written": report.metadata.precision,
        "limits": {"logit_fp32": TOLERANCE, "flips": MAX_FLIPS, "auc_loss": MAX_AUC_LOSS},
        "precisions": {
            name: {"bytes": size, **asdict(parity)} for name, size, parity in _all(report)
        },
    }
    return json.dumps(values, indent=2) + "\n"


def rows(report: ExportReport) -> list[tuple[str, ...]]:
    """One row for each precision that was compared, the written one first."""
    return [
        (
            name,
            f"{size / 1e6:.1f}",
            f"{parity.max_logit:.2g}",
            f"{parity.mean_logit:.2g}",
            f"{parity.max_score:.2g}",
            f"{parity.mean_score:.2g}",
            f"{parity.flips}/{parity.images}",
            _points(parity.ap_change),
            _points(parity.auc_change),
        )
        for name, size, parity in _all(report)
    ]


def _all(report: ExportReport) -> list[tuple[str, int, Parity]]:
    others = [(name, size, parity) for name, (size, parity) in report.others.items()]
    return [(report.metadata.precision, report.bytes, report.parity), *others]


def _points(change: float | None) -> str:
    return "" if change is None else f"{100 * change:+.2f}"
