"""A scan's result -> text, one writer per format.

A writer is a pure function from a `Report` to pieces of text: one before the findings, one for
each finding as it comes, one after the last. Several writers are driven in step by `chunks`, so
that any number of outputs costs one pass and holds one finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import tee, zip_longest

from fakescan.report.delimited import csv_chunks
from fakescan.report.envelope import json_chunks
from fakescan.report.lines import jsonl_chunks
from fakescan.report.record import Report, Writer
from fakescan.report.table import table_chunks

__all__ = ["WRITERS", "Report", "Writer", "chunks"]

WRITERS: dict[str, Writer] = {
    "csv": csv_chunks,
    "json": json_chunks,
    "jsonl": jsonl_chunks,
    "table": table_chunks,
}
"""By name; a name is also the suffix of the file, except for `table`, which is for eyes."""


def chunks(report: Report, writers: Sequence[Writer]) -> Iterator[tuple[str, ...]]:
    """Drive writers over one pass of the findings; each step gives a piece of text per writer."""
    branches = tee(report.findings, len(writers))
    streams = [
        writer(replace(report, findings=branch))
        for writer, branch in zip(writers, branches, strict=True)
    ]
    return zip_longest(*streams, fillvalue="")
