"""An evaluation as text: tables for a terminal, or Markdown to paste."""

from __future__ import annotations

from collections.abc import Sequence

from fakescan.evaluate.against_paper import AgainstPaper, Line
from fakescan.evaluate.benchmark import Row
from fakescan.evaluate.evaluation import EQUALISED, RAW, Evaluation
from fakescan.evaluate.record import (
    Report,
    interval,
    notes,
    percent,
    rows_of,
    telling_rows,
)
from fakescan.report.table import visible

Lines = list[list[str]]
"""A table: its headings, then its rows; the first column is text, the others are numbers."""
SHOWN = 20
"""Images left out that are listed one by one."""
NAME_CHARACTERS = 36
"""Of a name on the terminal; files have all of it."""
PAPER_NAMES = {"ap": "AP 1:1", "acc": "accuracy"}
"""Of the figures that stand beside the paper's."""
GAP = 2
"""Spaces between columns."""


def table_text(report: Report) -> str:
    """All tables, with what must be known to read them, for a terminal."""
    parts = [sentence(report)]
    for evaluation in report.evaluations:
        parts.append(heading(evaluation))
        parts += [_aligned(lines) for lines in tables_of(evaluation)]
        if found := [*notes(report, evaluation), *left_out_lines(evaluation)]:
            parts.append("\n".join(f"note: {visible(line)}" for line in found))
    return "\n\n".join(parts) + "\n"


def markdown_text(report: Report) -> str:
    """The same as Markdown."""
    parts = [sentence(report)]
    for evaluation in report.evaluations:
        parts.append(f"## {heading(evaluation)}")
        parts += [_piped(lines) for lines in tables_of(evaluation)]
        if found := [*notes(report, evaluation), *left_out_lines(evaluation)]:
            parts.append("\n".join(f"- {visible(line)}" for line in found))
    return "\n\n".join(parts) + "\n"


def sentence(report: Report) -> str:
    """What was evaluated, and how figures are written."""
    conditions = report.conditions
    splits = f", split {', '.join(conditions.splits)}" if conditions.splits else ""
    limit = f", at most {conditions.limit} of each" if conditions.limit else ""
    return (
        f"{visible(conditions.data)}{splits}{limit}; percent, 95 % intervals from "
        f"{conditions.settings.resamples} resamples"
    )


def heading(evaluation: Evaluation) -> str:
    """The detector, with how many images it scored."""
    samples = evaluation.conditions[RAW].table.samples
    fakes = sum(s.label for s in samples)
    at = ""
    if evaluation.t_fake is not None and evaluation.t_real is not None:
        below = f", real below {evaluation.t_real:.3g}"
        at = f", fake from {evaluation.t_fake:.3g}"
        at += below if evaluation.t_real < evaluation.t_fake else ""
    return f"{visible(evaluation.detector)}: {fakes} fakes, {len(samples) - fakes} reals{at}"


def tables_of(evaluation: Evaluation) -> list[Lines]:
    """All tables that its scores can fill."""
    tables = [paper_table(found) for found in evaluation.paper]
    tables += [ranking_table(evaluation), verdicts_table(evaluation), reals_table(evaluation)]
    if len(evaluation.conditions) > (2 if EQUALISED in evaluation.conditions else 1):
        tables.append(robustness_table(evaluation))
    if evaluation.differences:
        tables.append(difference_table(evaluation))
    return [table for table in tables if len(table) > 1]


def paper_table(found: AgainstPaper) -> Lines:
    """Paper, yours, difference; generators that are missing by name, and the means."""
    heads = [f"{PAPER_NAMES[found.figure]} beside {found.paper_row}", "fakes", "reals"]
    mean = found.mean
    count = len(found.lines)
    return [
        [*heads, "paper", "yours", "difference"],
        *(_beside(line, line.generator) for line in found.lines),
        *([m.generator, "-", "-", _two(m.paper), "missing", "-"] for m in found.missing),
        _beside(mean, f"mean of these {count}" if found.missing else "mean"),
        [f"all {count + len(found.missing)}, as printed", "", "", _two(found.printed_mean), "", ""],
    ]


def _beside(line: Line, name: str) -> list[str]:
    yours = line.yours
    bounds = f" [{_two(yours.low)}, {_two(yours.high)}]"
    difference = f"{100 * line.difference:+.2f}"
    shown = f"{_two(yours.value)}{bounds}"
    return [name, str(line.fakes), str(line.reals), _two(line.paper), shown, difference]


def _two(value: float) -> str:
    """Percent with as many decimals as the paper prints."""
    return f"{100 * value:.2f}"


def ranking_table(evaluation: Evaluation) -> Lines:
    """What no threshold decides; AUC also equalised, and of file properties alone."""
    heads = ["ranking", "fakes", "reals", "AUC", "AP 1:1", "TPR@1%", "TPR@5%"]
    rows = [
        [
            _name(kind, row),
            str(row.fakes),
            str(row.reals),
            interval(row.figures.auc),
            *(percent(getattr(row.figures, n).value) for n in ("ap", "tpr_at_1", "tpr_at_5")),
            _equalised(evaluation, kind, row.source),
            _properties(evaluation, kind, row.source),
        ]
        for kind, row in telling_rows(evaluation.raw)
    ]
    return [[*heads, "AUC equalised", "AUC of files"], *rows]


def verdicts_table(evaluation: Evaluation) -> Lines:
    """What the thresholds make of it; the oracle's accuracy beside it."""
    heads = ["verdicts", "accuracy", "real acc", "fake acc", "uncertain", "ECE", "oracle acc"]
    names = ("real_acc", "fake_acc", "uncertain", "ece", "oracle_acc")
    return [
        heads,
        *(
            [
                _name(kind, row),
                interval(row.figures.acc),
                *(percent(getattr(row.figures, name).value) for name in names),
            ]
            for kind, row in telling_rows(evaluation.raw)
        ),
    ]


def _name(kind: str, row: Row) -> str:
    return f"family {visible(row.source)}" if kind == "family" else visible(row.source)


def _equalised(evaluation: Evaluation, kind: str, name: str) -> str:
    condition = evaluation.conditions.get(EQUALISED)
    if condition is None:
        return "-"
    found = [r for k, r in rows_of(condition.benchmark) if (k, r.source) == (kind, name)]
    return percent(found[0].figures.auc.value)


def _properties(evaluation: Evaluation, kind: str, name: str) -> str:
    found = evaluation.properties
    if found is None or kind == "family":
        return "-"
    return percent((found.mean if kind == "mean" else found.rows[name]).value)


def reals_table(evaluation: Evaluation) -> Lines:
    """Every source of reals; only headings where nothing is called fake or real."""
    heads = ["source of reals", "reals", "called fake"]
    if evaluation.t_fake is None:
        return [heads]
    rows = evaluation.raw.reals
    return [
        heads,
        *([visible(r.source) or "reals", str(r.reals), interval(r.called_fake)] for r in rows),
    ]


def robustness_table(evaluation: Evaluation) -> Lines:
    """Mean AP at one to one and mean AUC under every condition."""
    heads = ["condition", "mean AP 1:1", "mean AUC"]
    return [
        heads,
        *(
            [name, interval(c.benchmark.mean.ap), interval(c.benchmark.mean.auc)]
            for name, c in evaluation.conditions.items()
        ),
    ]


def difference_table(evaluation: Evaluation) -> Lines:
    """Mean AUC minus that of the first detector."""
    heads = ["condition", "mean AUC minus the first detector's"]
    return [heads, *([name, interval(v)] for name, v in evaluation.differences.items())]


def left_out_lines(evaluation: Evaluation) -> list[str]:
    """Images without a score, and scores without an image; the first ones by name."""
    lines = [f"left out: {key}: {reason}" for key, reason in evaluation.left_out[:SHOWN]]
    if (more := len(evaluation.left_out) - SHOWN) > 0:
        lines.append(f"left out: {more} more")
    lines += [f"no image of the data: {path}" for path in evaluation.surplus[:SHOWN]]
    if (more := len(evaluation.surplus) - SHOWN) > 0:
        lines.append(f"no image of the data: {more} more")
    return lines


def _aligned(lines: Lines) -> str:
    lines = _narrow(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_padded(line, widths) for line in lines)


def _narrow(lines: Lines) -> Lines:
    """First cells of at most `NAME_CHARACTERS`."""
    most = NAME_CHARACTERS
    return [[c if len(c) <= most else c[: most - 1] + "…", *rest] for c, *rest in lines]


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    first = line[0].ljust(widths[0])
    rest = (cell.rjust(w + GAP) for cell, w in zip(line[1:], widths[1:], strict=True))
    return (first + "".join(rest)).rstrip()


def _piped(lines: Lines) -> str:
    heads, *rows = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = "|".join(["---", *("---:" for _ in heads[1:])])
    return "\n".join([_pipe(heads), f"|{rule}|", *map(_pipe, rows)])


def _pipe(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
