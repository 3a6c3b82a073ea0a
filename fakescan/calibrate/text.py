"""What a calibration came to: lines for eyes, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fakescan.calibrate.folds import Figures
from fakescan.calibrate.leaks import RECORD
from fakescan.calibrate.run import Result
from fakescan.config import to_dict
from fakescan.evaluate.intervals import Estimate
from fakescan.records import Calibration
from fakescan.report.table import visible

VERSION = 1
"""Grows when a reader of an older report could misunderstand a newer one."""
DIGITS = 6
"""Decimals of figures in JSON."""
SHOWN = 20
"""Images left out that are listed one by one."""
ROWS = (
    ("reals called fake", "called_fake"),
    ("fakes found", "found"),
    ("fakes called real", "missed"),
    ("reals uncertain", "uncertain_reals"),
    ("fakes uncertain", "uncertain_fakes"),
    ("calibration error", "ece"),
)


def lines(result: Result) -> Iterator[str]:
    """The summary, a table among it."""
    reals, fakes = (sum(result.images[kind].values()) for kind in ("real", "fake"))
    yield f"{reals} real and {fakes} fake images, {len(result.unreadable)} unreadable"
    yield (
        f"AUC {result.auc:.3f}, which thresholds do not change; "
        f"file properties alone {result.properties_auc.value:.3f}"
    )
    yield ""
    yield f"{'per cent, 95 % intervals':<24}{'now':>22}{'calibrated':>22}"
    for title, name in ROWS:
        before, after = _cell(result.before, name), _cell(result.after, name)
        yield f"{title:<24}{before:>22}{after:>22}"
    yield ""
    yield (
        f"calibrated: each of {result.folds} parts judged by thresholds fitted on the others; "
        f"no {_kept(result.grouping)} is in two parts"
    )
    yield f"fake from score {_moved(result, 't_fake')}, real below {_moved(result, 't_real')}"
    for key, reason in result.unreadable[:SHOWN]:
        yield f"left out: {visible(key)}: {visible(reason)}"
    if len(result.unreadable) > SHOWN:
        yield f"left out: {len(result.unreadable) - SHOWN} more"
    yield from (f"warning: {visible(text)}" for text in result.warnings)


def _kept(grouping: str) -> str:
    return {"near-duplicates": "group of near copies"}.get(grouping, grouping)


def _cell(figures: Figures, name: str) -> str:
    found: Estimate = getattr(figures, name)
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _moved(result: Result, name: str) -> str:
    """A threshold, and the logits that the new one and the old one stand for.

    Scores are on another scale after calibration; logits are not.
    """
    new, old = (_logit(getattr(m.band, name), m.calibration) for m in (result.metadata, result.old))
    return f"{getattr(result.metadata.band, name):.4f} (logit {new:.2f}, before {old:.2f})"


def _logit(score: float, calibration: Calibration) -> float:
    """The logit of a score; infinite at 0 and 1."""
    if score in (0.0, 1.0):
        return math.copysign(math.inf, score - 0.5)
    return (math.log(score / (1 - score)) - calibration.intercept) / calibration.slope


def json_text(result: Result) -> str:
    """Everything that was found; shares, not per cent."""
    new, old = result.metadata, result.old
    values: dict[str, Any] = {
        "fakescan_calibration_version": VERSION,
        "detector": result.fingerprint,
        "name": new.name,
        "calibrated_on": new.training[RECORD],
        "calibration": {"before": to_dict(old.calibration), "after": to_dict(new.calibration)},
        "band": {"before": to_dict(old.band), "after": to_dict(new.band)},
        "auc": round(result.auc, DIGITS),
        "properties_auc": _rounded(asdict(result.properties_auc)),
        "grouping": result.grouping,
        "folds": result.folds,
        "figures": {
            "before": _rounded(asdict(result.before)),
            "after": _rounded(asdict(result.after)),
            "on_the_fitted_images": _rounded(asdict(result.fitted)),
        },
        "warnings": list(result.warnings),
        "unreadable": [{"path": key, "reason": why} for key, why in result.unreadable],
    }
    return json.dumps(values, indent=2) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
