"""HTML: one page with tables, pictures and conditions that needs nothing else.

Nothing from a path or a name is markup, and the page's policy lets it show its own style and
pictures, run nothing, and fetch nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files

from fakescan.evaluate.evaluation import Evaluation
from fakescan.evaluate.pictures import pictures_of
from fakescan.evaluate.record import Conditions, Report, notes
from fakescan.evaluate.text import Lines, heading, left_out_lines, sentence, tables_of
from fakescan.report.table import visible

EXPLAINED = (
    "AUC, AP and TPR rank images and need no threshold. AP, accuracy, ECE and the share of "
    "uncertain images are stated as if there were as many reals as fakes. “AUC equalised” is that "
    "of the same images with size and format made alike; “AUC of files” is what format, size, "
    "compression and metadata reach without a single pixel: 50 is chance. The oracle's threshold "
    "was fitted on these very images; its accuracy is no figure of the detector."
)


def html_text(report: Report) -> str:
    """The whole page."""
    style = files("fakescan.evaluate").joinpath("assets", "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    body = "\n".join(part for e in report.evaluations for part in _evaluation(report, e))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>fakescan: evaluation of {_text(report.conditions.data)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n"
        '<p class="brand">fakescan</p>\n<h1>Evaluation</h1>\n'
        f'<p>{_text(sentence(report))}</p>\n<p class="quiet">{_text(EXPLAINED)}</p>\n'
        f"{body}\n<h2>Conditions</h2>\n{_conditions(report.conditions)}\n</body>\n</html>\n"
    )


def _evaluation(report: Report, evaluation: Evaluation) -> Iterator[str]:
    yield f"<h2>{_text(heading(evaluation))}</h2>"
    if found := notes(report, evaluation):
        yield f'<ul class="notes">{_items(found)}</ul>'
    for lines in tables_of(evaluation):
        yield f"<h3>{_text(_title(lines[0][0]))}</h3>\n{_table(lines)}"
    for picture in pictures_of(evaluation, report.plan.comparisons):
        data = base64.b64encode(picture.png).decode()
        title = _text(picture.title)
        yield (
            f"<h3>{title}</h3>\n"
            f'<figure><img alt="{title}" src="data:image/png;base64,{data}"></figure>'
        )
    if found := left_out_lines(evaluation):
        yield f'<h3>Left out</h3>\n<ul class="card plain">{_items(found)}</ul>'


def _title(head: str) -> str:
    return head[:1].upper() + head[1:]


def _table(lines: Lines) -> str:
    heads, *rows = lines
    top = "".join(f'<th scope="col">{_text(head)}</th>' for head in ["", *heads[1:]])
    body = "\n".join(_row(row) for row in rows)
    return (
        f'<div class="card"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n'
        "</tbody>\n</table></div>"
    )


def _row(cells: list[str]) -> str:
    kind = ' class="sum"' if cells[0].partition(" ")[0] == "mean" else ""
    rest = "".join(f"<td>{_text(cell)}</td>" for cell in cells[1:])
    return f'<tr{kind}><th scope="row">{_text(cells[0])}</th>{rest}</tr>'


def _conditions(conditions: Conditions) -> str:
    settings = conditions.settings
    equalising = settings.equalising
    facts = {
        "data": conditions.data,
        "protocol": conditions.protocol.protocol.name if conditions.protocol else "none",
        "splits": ", ".join(conditions.splits) or "all",
        "rows": f"by {conditions.by}",
        "reals of a row": "as the pairing says" if conditions.pairing else "nearest in the layout",
        "limit": str(conditions.limit or "none"),
        "equalised": f"shorter side to {equalising.short_px} px at most, then JPEG 96"
        if equalising
        else "no",
        "intervals": f"95 %, {settings.resamples} bootstrap resamples by group",
        "seed": str(settings.seed),
        "date": conditions.date,
        "versions": ", ".join(f"{name} {value}" for name, value in conditions.versions.items()),
    }
    entries = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items())
    return f'<div class="card"><dl>{entries}</dl></div>'


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{_text(line)}</li>" for line in lines)


def _text(text: str) -> str:
    return escape(visible(text))
