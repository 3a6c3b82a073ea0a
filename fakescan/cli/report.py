"""`fakescan report`: what is done with reports that scans have written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Join, sum up, compare and convert reports of scans, of any size.", no_args_is_help=True
)

Reports = Annotated[
    list[str],
    typer.Argument(
        metavar="REPORT...",
        help="Reports of scans, .json, .jsonl, .csv or .parquet: files, or places in stores, also "
        "folders and patterns there.",
    ),
]
Outputs = Annotated[
    list[str],
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|URI",
        help="Write a report; the suffix chooses the format, as for `fakescan scan`. Repeatable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SHOWN = 20


@app.command()
def merge(
    reports: Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT...",
            help="Reports of all shards of a scan, .json or .parquet: files, or places in stores, "
            "also folders and patterns there.",
        ),
    ],
    output: Outputs,
) -> None:
    """Join the reports of all shards of a scan into one.

    Refuses shards of different listings, detectors, thresholds or settings, a shard that is
    missing, incomplete or there twice, and rows that are not of their shard.
    """
    from fakescan.cli.rewriting import write_outputs
    from fakescan.places.access import Access
    from fakescan.report.stored import find_reports
    from fakescan.scan.merge import merge as merged

    write_outputs(merged(find_reports(reports, Access())), output)


@app.command()
def convert(
    reports: Reports,
    output: Outputs,
    worst: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only the N images with the highest scores."),
    ] = None,
) -> None:
    """Write the rows of one or more reports in another format.

    Reports must be of one detector. Thumbnails are not stored in reports: an HTML page has none.
    """
    from fakescan.cli.rewriting import joined, write_outputs
    from fakescan.places.access import Access
    from fakescan.report.stored import find_reports

    write_outputs(joined(find_reports(reports, Access()), output, worst), output)


@app.command()
def summarise(reports: Reports, json: AsJson = False) -> None:
    """Count verdicts, formats, reasons of errors and scores over any number of reports."""
    from fakescan.cli.rewriting import print_overview
    from fakescan.places.access import Access
    from fakescan.report.overview import Overview
    from fakescan.report.stored import find_reports, open_report

    overview = Overview()
    found = find_reports(reports, Access())
    for place in found:
        overview.add(open_report(place).findings())
    print_overview(overview, len(found), is_json=json)


@app.command()
def diff(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="The earlier report: a file, or a URI.")
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The later one.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write all changes there, as CSV."),
    ] = None,
    least: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Score changes up to that do not count."),
    ] = 1e-6,
    json: AsJson = False,
) -> None:
    """Say which images are new, gone, or have another verdict or score, by path."""
    from fakescan.cli.rewriting import print_changes
    from fakescan.report.difference import changes
    from fakescan.report.stored import open_report

    found = changes(open_report(before).findings(), open_report(after).findings(), least=least)
    print_changes(found, output, SHOWN, is_json=json)
