"""The tables of an ablation as Markdown and CSV, and what the paper's orderings came to."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ablation_orderings import Ordering, Seeds, claims, difference, judge, over_seeds
from ablation_plan import Row, Table
from ablation_runs import Outcome
from dev_scores import Figures, percent

from fakescan.evaluate.intervals import Estimate

POINTS = 100


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run and its figures."""

    outcome: Outcome
    figures: Figures


Results = Mapping[str, Mapping[int, Result]]
"""Finished runs by row and seed."""

HEADER = (
    "row", "seeds", "parameters", "seconds", "ap", "ap_low", "ap_high", "ap_seed_min",
    "ap_seed_max", "auc", "auc_low", "auc_high", "auc_seed_min", "auc_seed_max", "ap_gain",
    "ap_gain_low", "ap_gain_high", "auc_gain", "auc_gain_low", "auc_gain_high",
)  # fmt: skip
"""Columns of the CSV; gains are over the reference row."""
ORDERING_HEADER = (
    "better", "worse", "printed", "seeds", "ap_difference", "ap_low", "ap_high",
    "auc_difference", "auc_low", "auc_high", "verdict",
)  # fmt: skip


def write_table(folder: Path, table: Table, results: Results, conditions: Sequence[str]) -> str:
    """Write NAME.csv, NAME-orderings.csv and NAME.md; the latter is given back.

    Args:
        folder: for the files.
        table: what was planned.
        results: of its rows, as far as they are finished.
        conditions: one line each, to stand above the table.
    """
    seeds = {name: {s: r.figures for s, r in row.items()} for name, row in results.items()}
    orderings = [
        judge(claim, seeds) for claim in claims(table.name, [row.name for row in table.rows])
    ]
    _write_csv(folder / f"{table.name}.csv", HEADER, _values(table, results, seeds))
    _write_csv(
        folder / f"{table.name}-orderings.csv", ORDERING_HEADER, map(_ordering_values, orderings)
    )
    text = "\n".join(
        [
            f"## {table.title}",
            "",
            *(f"- {line}" for line in conditions),
            "",
            *_markdown(table, results, seeds),
            "",
            *_verdicts(table, orderings),
            "",
        ]
    )
    (folder / f"{table.name}.md").write_text(text, encoding="utf-8")
    return text


def _markdown(table: Table, results: Results, seeds: Mapping[str, Seeds]) -> Iterator[str]:
    reference = next(row.title for row in table.rows if row.name == table.reference)
    yield (
        f"| {table.title.lower()} | parameters | seeds | AP at 1:1 | seeds from, to | AUC | "
        f"seeds from, to | AP over {reference} | AUC over {reference} | seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in table.rows:
        own = results.get(row.name, {})
        if not own:
            yield f"| {row.title} | | not run | | | | | | | |"
            continue
        found = seeds[row.name]
        cells = [row.title, f"{_parameters(own):,}", str(len(own))]
        for figure in ("ap", "auc"):
            low, high = _spread(found, figure)
            cells += [percent(_mean(found, figure)), f"{POINTS * low:.1f}, {POINTS * high:.1f}"]
        for figure in ("ap", "auc"):
            gain = _gain(table, row, seeds, figure)
            cells.append(signed(gain) if gain else "")
        seconds = _seconds(own)
        cells.append("" if seconds is None else f"{seconds:.0f}")
        yield f"| {' | '.join(cells)} |"


def _verdicts(table: Table, orderings: Sequence[Ordering]) -> Iterator[str]:
    titles = {row.name: row.title for row in table.rows}
    counts: dict[str, int] = {}
    yield "| the paper says | by, points of mAP | here: AP at 1:1 | here: AUC | seeds | it |"
    yield "|---|---|---|---|---|---|"
    for ordering in orderings:
        claim = ordering.claim
        if not {claim.better, claim.worse} <= titles.keys():
            continue
        counts[ordering.verdict] = counts.get(ordering.verdict, 0) + 1
        if ordering.ap is None or ordering.auc is None:
            cells = ["", "", ""]
        else:
            cells = [signed(ordering.ap), signed(ordering.auc), str(ordering.seeds)]
        yield (
            f"| {titles[claim.better]} > {titles[claim.worse]} | {_printed(ordering)} | "
            f"{' | '.join(cells)} | {ordering.verdict} |"
        )
    yield ""
    yield "Of these orderings: " + ", ".join(f"{v} {n}" for v, n in sorted(counts.items())) + "."


def signed(estimate: Estimate) -> str:
    """Such as +0.4 [-0.1, +0.8], in points."""
    value, low, high = (POINTS * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _printed(ordering: Ordering) -> str:
    gaps = [f"{gap:.2f} ({backbone})" for backbone, gap in ordering.claim.printed]
    return ", ".join(gaps) or "a figure"


def _values(table: Table, results: Results, seeds: Mapping[str, Seeds]) -> Iterator[list[object]]:
    for row in table.rows:
        own = results.get(row.name, {})
        if not own:
            continue
        values: list[object] = [row.name, len(own), _parameters(own), _seconds(own)]
        for figure in ("ap", "auc"):
            found = _mean(seeds[row.name], figure)
            values += [found.value, found.low, found.high, *_spread(seeds[row.name], figure)]
        for figure in ("ap", "auc"):
            values += _bounds(_gain(table, row, seeds, figure))
        yield values


def _ordering_values(ordering: Ordering) -> list[object]:
    return [
        ordering.claim.better,
        ordering.claim.worse,
        _printed(ordering),
        ordering.seeds,
        *_bounds(ordering.ap),
        *_bounds(ordering.auc),
        ordering.verdict,
    ]


def _bounds(estimate: Estimate | None) -> list[object]:
    return [None] * 3 if estimate is None else [estimate.value, estimate.low, estimate.high]


def _mean(seeds: Seeds, figure: str) -> Estimate:
    return over_seeds([seeds[s][figure] for s in sorted(seeds)])


def _spread(seeds: Seeds, figure: str) -> tuple[float, float]:
    values = [float(found[figure][0]) for found in seeds.values()]
    return min(values), max(values)


def _gain(table: Table, row: Row, seeds: Mapping[str, Seeds], figure: str) -> Estimate | None:
    base = seeds.get(table.reference, {})
    if row.name == table.reference or not base.keys() & seeds[row.name].keys():
        return None
    return difference(seeds[row.name], base, figure)


def _parameters(own: Mapping[int, Result]) -> int:
    return next(iter(own.values())).outcome.parameters


def _seconds(own: Mapping[int, Result]) -> float | None:
    known = [r.outcome.seconds for r in own.values() if r.outcome.seconds is not None]
    return float(np.median(known)) if known else None


def _write_csv(path: Path, header: Sequence[str], rows: Iterator[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        table.writerows(rows)
