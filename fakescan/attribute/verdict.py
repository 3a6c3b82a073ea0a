"""An evaluation of methods as text, and what it says of LoRAX. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fakescan.attribute.intervals import difference, interval
from fakescan.evaluate.intervals import UNKNOWN, Estimate
from fakescan.evaluate.paper import read_rows

FIGURES = ("AAF", "AA", "BWT", "binary_AAF", "mAP")
LORAX, NEAREST, PROBE, TUNED, JOINT = (
    "LoRAX",
    "nearest mean",
    "linear probe",
    "fine-tuning",
    "joint training",
)
PROBE_AROUND = "linear probe, around"
PAPER_METHODS = ("LoRAX", "Fine-tuning", "DER w/o P", "MEMO", "DyTox")


class Row(Protocol):
    """One method over one order; `fakescan.attribute.sequence.Track`."""

    def row(self) -> dict[str, Any]:
        """Figures by name, fractions."""
        ...


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Method -> figure -> its mean over orders."""
    found: dict[str, dict[str, float]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        found[method] = {name: float(np.mean([row[name] for row in own])) for name in FIGURES}
        found[method] |= {"seconds": float(np.mean([np.mean(row["seconds"]) for row in own]))}
        finals = [row["AAF"] for row in own]
        found[method] |= {"orders": len(own), "lowest": min(finals), "highest": max(finals)}
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table: a method each, means over orders, in percent."""
    yield (
        f"{'method':<24}{'orders':>6}{'AAF':>8}{'(range)':>14}{'(95 %)':>14}{'AA':>8}{'BWT':>8}"
        f"{'real/fake':>11}{'mAP':>8}{'s/task':>9}"
    )
    for method, figures in means(rows).items():
        span = f"({100 * figures['lowest']:.1f}-{100 * figures['highest']:.1f})"
        bounds = _bounds(_interval(rows, method))
        cells = [_percent(figures[name]) for name in FIGURES]
        yield (
            f"{method:<24}{figures['orders']:>6.0f}{cells[0]:>8}{span:>14}{bounds:>14}"
            f"{cells[1]:>8}{cells[2]:>8}{cells[3]:>11}{cells[4]:>8}{figures['seconds']:>9.1f}"
        )


def _interval(rows: Sequence[Mapping[str, Any]], method: str) -> Estimate:
    found = [row["right"] for row in rows if row["method"] == method and "right" in row]
    return interval(found) if found else UNKNOWN


def _bounds(found: Estimate) -> str:
    return f"({100 * found.low:.1f}-{100 * found.high:.1f})" if found.is_known else "-"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def remarks(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Sentences that must stand beside the table."""
    found = means(rows)
    if LORAX not in found:
        return
    own = found[LORAX]["AAF"]
    for name in (NEAREST, PROBE, PROBE_AROUND, "fine-tuning, refitted"):
        if name in found and own <= found[name]["AAF"]:
            yield (
                f"LoRAX does not beat {name} here: {100 * own:.1f} against "
                f"{100 * found[name]['AAF']:.1f}; the simpler method is to be preferred."
            )
    for name in (TUNED, PROBE_AROUND, JOINT):
        if name in found:
            points = f"{100 * (own - found[name]['AAF']):+.1f} points of AAF"
            yield f"LoRAX against {name}: {points}{_paired(rows, name)}."
    properties = found.get("file properties")
    if properties is not None:
        yield (
            f"File properties alone reach {100 * properties['AAF']:.1f}: so much may be told "
            "without any pixel."
        )


def _paired(rows: Sequence[Mapping[str, Any]], other: str) -> str:
    """The interval of LoRAX's AAF less another's, in words."""
    both = [
        [row["right"] for row in rows if row["method"] == method and "right" in row]
        for method in (LORAX, other)
    ]
    if not all(both):
        return ""
    found = difference(*both)
    return f" (95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f})"


def against_paper(rows: Sequence[Mapping[str, Any]], scenario: str, memory: int) -> Iterator[str]:
    """Lines of paper / yours / difference for one of CDDB's scenarios."""
    own = means(rows)[LORAX]
    yield (
        f"paper / yours / difference, scenario {scenario}; published with 500 exemplars, "
        f"yours with {memory}"
    )
    yield f"{'method':<14}{'backbone':<14}" + "".join(f"{name:>26}" for name in FIGURES[:3])
    for row in read_rows("lorax_500_exemplars"):
        if row["scenario"] == scenario and row["method"] in PAPER_METHODS:
            yield f"{row['method']:<14}{row['backbone']:<14}" + "".join(
                f"{_against(float(row[name]), own[name]):>26}" for name in FIGURES[:3]
            )
    if scenario == "hard":
        yield "real or fake alone, as S-Prompts prints it (average accuracy, forgetting):"
        for row in read_rows("cddb_hard_baselines_sprompts_table1"):
            buffer = f"{row['buffer_per_class'] or '-'} per class"
            figure = _against(float(row["avg_acc"]), own["binary_AAF"])
            yield f"{row['method']:<26}{buffer:<16}{figure:>26}"
    yield "Attribution and real-or-fake figures are not comparable with each other."


def _against(paper: float, own: float) -> str:
    if math.isnan(own):
        return f"{paper:.2f} / - / -"
    return f"{paper:.2f} / {100 * own:.2f} / {100 * own - paper:+.2f}"
