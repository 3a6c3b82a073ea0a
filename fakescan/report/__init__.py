"""A scan's result -> text, one writer per format.

A writer is a pure function from a `Report` to pieces of text or bytes: one before the findings,
one for each finding as it comes, and what is left after the last. `streams` lets several writers
share one pass over the findings: advanced in step, they hold one finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee

from fakescan.report.annotations import github_chunks
from fakescan.report.columnar import parquet_chunks
from fakescan.report.delimited import csv_chunks
from fakescan.report.envelope import json_chunks
from fakescan.report.junit import junit_chunks
from fakescan.report.lines import jsonl_chunks
from fakescan.report.page import html_chunks
from fakescan.report.record import Piece, Report, Writer
from fakescan.report.sarif import sarif_chunks
from fakescan.report.table import table_chunks

__all__ = ["FORMATS", "Format", "Piece", "Report", "Writer", "streams"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One report format, and what it asks of a scan."""

    writer: Writer
    suffix: str | None = None
    """Of its files; None for what is only printed."""
    is_whole: bool = False
    """A part of it is no use: a file gets its name when it is finished."""
    is_binary: bool = False
    """Its pieces are bytes; never printed."""
    hashes: bool = False
    """Findings must carry the sha256 of their file."""
    thumbnails: bool = False
    """Findings must carry a small picture."""


FORMATS = {
    "table": Format(writer=table_chunks),
    "csv": Format(writer=csv_chunks, suffix=".csv"),
    "json": Format(writer=json_chunks, suffix=".json", is_whole=True),
    "jsonl": Format(writer=jsonl_chunks, suffix=".jsonl"),
    "sarif": Format(writer=sarif_chunks, suffix=".sarif", is_whole=True, hashes=True),
    "junit": Format(writer=junit_chunks, suffix=".xml", is_whole=True),
    "github": Format(writer=github_chunks),
    "html": Format(writer=html_chunks, suffix=".html", is_whole=True, thumbnails=True),
    "parquet": Format(writer=parquet_chunks, suffix=".parquet", is_whole=True, is_binary=True),
}
"""By the name that `--format` takes."""


def streams(report: Report, writers: Sequence[Writer]) -> list[Iterator[Piece]]:
    """The pieces of each writer, piece by piece, over one pass of the findings.

    They must be advanced in step; findings wait for one that lags behind. One that has failed is
    dropped, and the others go on.
    """
    branches = tee(report.findings, len(writers))
    return [
        writer(replace(report, findings=branch))
        for writer, branch in zip(writers, branches, strict=True)
    ]
