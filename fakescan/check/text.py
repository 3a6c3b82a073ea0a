"""A check's result for eyes: plain columns, a section per question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from fakescan.check.likeness import Crossing, Likeness, Twins
from fakescan.check.run import Check, spare_copies
from fakescan.check.shares import ShareTable
from fakescan.evaluate.audit import Audit
from fakescan.report.table import visible

SHOWN = 10
"""Lines of one kind that are listed; the rest is counted."""
SOURCES = 40
"""Lines of counts."""
PROPERTIES = 8
"""Properties whose AUC alone is listed."""
NAME_WIDTH = 44


def table_text(found: Check) -> str:
    """All sections, an empty line between two."""
    sections = (
        _heading(found),
        _counts(found),
        _listed("unreadable", [f"{visible(key)}: {why}" for key, why in found.unreadable]),
        _copies(found.likeness),
        _alike(found.likeness),
        _crossing("across splits", found.likeness.across_splits)
        if len({c.split for c in found.counts}) > 1
        else ["near-duplicates across splits: there is one split only"],
        _crossing("across labels", found.likeness.across_labels),
        *(_shares(table) for table in found.shares),
        _audit(found.audit),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _heading(found: Check) -> list[str]:
    example = f" (as in {visible(found.layout.example)})" if found.layout.example else ""
    reals = sum(c.reals for c in found.counts)
    splits = Counter[str]()
    for count in found.counts:
        splits[count.split] += count.reals + count.fakes
    named = ", ".join(f"{visible(name) or 'none'} {n}" for name, n in sorted(splits.items()))
    return [
        f"layout: {found.layout.name}{example}",
        f"images: {found.images}, {reals} real and {found.images - reals} fake",
        f"splits: {named if set(splits) != {''} else 'none'}",
    ]


def _counts(found: Check) -> list[str]:
    lines = [f"{'split':<10}{'source':<{NAME_WIDTH}}{'real':>7}{'fake':>7}  generator"]
    lines += [
        f"{_cut(c.split or '-', 9):<10}{_cut(c.source or '-', NAME_WIDTH - 1):<{NAME_WIDTH}}"
        f"{c.reals or '-':>7}{c.fakes or '-':>7}  {_cut(c.generator, NAME_WIDTH)}".rstrip()
        for c in found.counts[:SOURCES]
    ]
    return [*lines, *_rest(len(found.counts) - SOURCES)]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return [f"{title}: none"]
    return [f"{title}: {len(lines)}", *_indented(lines)]


def _copies(likeness: Likeness) -> list[str]:
    number = spare_copies(likeness)
    if not number:
        return ["exact copies: none"]
    lines = []
    for copies in likeness.copies:
        first, *others = (visible(s.key) for s in copies.samples)
        labels, splits = ({getattr(s, n) for s in copies.samples} for n in ("label", "split"))
        wrong = [w for w, n in (("both labels", labels), ("several splits", splits)) if len(n) > 1]
        where = f"  ({', '.join(wrong)})" if wrong else ""
        lines.append(f"{first} = {', '.join(others)}{where}")
    return [f"exact copies: {number}", *_indented(lines)]


def _alike(likeness: Likeness) -> list[str]:
    if not likeness.anywhere:
        return ["near-duplicates: none"]
    lines = [_twins(t) for t in likeness.anywhere]
    return [f"near-duplicates: {likeness.alike} images look like another one", *_indented(lines)]


def _crossing(title: str, crossing: Crossing) -> list[str]:
    if not crossing.twins:
        return [f"near-duplicates {title}: none"]
    declared = crossing.images - crossing.undeclared
    told = f", {declared} of them only as a pair or derived_from declares" if declared else ""
    sides = ", ".join(
        f"{visible(a) or 'no split'} - {visible(b) or 'no split'} {n}"
        for (a, b), n in crossing.counts.items()
    )
    heading = f"near-duplicates {title}: {crossing.images} images ({sides}){told}"
    return [heading, *_indented([_twins(t) for t in crossing.twins])]


def _twins(t: Twins) -> str:
    declared = ", declared" if t.is_declared else ""
    return f"{visible(t.one.key)} ~ {visible(t.other.key)}  ({t.bits} bits{declared})"


def _shares(table: ShareTable) -> list[str]:
    if not table.rows:
        return []
    title = f"{table.title}, imbalance {table.imbalance:.2f}"
    return [
        f"{title:<34}{'real':>8}{'fake':>8}",
        *(f"  {name:<32}{real:>8.1%}{fake:>8.1%}" for name, real, fake in table.shares()),
    ]


def _audit(audit: Audit | None) -> list[str]:
    if audit is None:
        return ["AUC of file properties: none, since readable images are of one class only"]
    auc = audit.together
    lines = [f"{row.name:<24}{row.auc:.3f}" for row in audit.rows[:PROPERTIES]]
    return [
        f"AUC of file properties alone, on {audit.reals} real and {audit.fakes} fake images: "
        f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]",
        _judgement(auc.low),
        *(f"  {line}" for line in lines),
    ]


def _judgement(low: float) -> str:
    if low > 0.9:
        return "The files give the label away: a detector need not look at a pixel."
    if low > 0.6:
        return "The files say much about the label: what a detector learns may be just that."
    return "Chance is 0.5; little for a detector to learn from the files."


def _indented(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:SHOWN])
    yield from _rest(len(lines) - SHOWN)


def _rest(more: int) -> list[str]:
    return [f"  and {more} more: --output FILE.json lists all"] if more > 0 else []


def _cut(text: str, width: int) -> str:
    text = visible(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"
