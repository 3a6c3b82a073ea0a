"""Reports of all shards of a scan -> one report, or the reason why they do not make one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fakescan.errors import ReportError
from fakescan.records import Finding, Shard, Summary, Verdict
from fakescan.report.record import Report
from fakescan.report.stored import StoredReport, open_report
from fakescan.scan.archive import INSIDE
from fakescan.scan.shard import takes

OWN = frozenset(
    (
        *("shard", "workers", "batch_size", "timeout_s", "access", "cache", "device", "runtime"),
        *("hashes", "thumbnails", "engine"),
    )
)
"""Settings in which shards may differ, since no verdict depends on them."""
SHOWN = 5


def merge(paths: Sequence[str | Path]) -> Report:
    """Join the reports of a scan's shards; rows come in order of the shards.

    Args:
        paths: one JSON or Parquet report of each, or its URI.

    Raises:
        ReportError: they do not belong together, one is missing or there twice; also while its
            findings are read, when a row is not of its shard.
    """
    shards = [(_shard(report), report) for report in map(open_report, paths)]
    if not shards:
        raise ReportError("nothing to merge")
    shards.sort(key=lambda pair: pair[0].number)
    _check_same([report for _, report in shards])
    _check_whole(shards)
    first = shards[0][1].said
    summary = Summary()
    for _, report in shards:
        summary.skipped.update(report.said["skipped"])
        summary.elapsed_s += report.said["elapsed_s"]
    return Report(
        findings=summary.watch(_findings(shards, summary)),
        summary=summary,
        detector=first["detector"],
        settings={**first["settings"], "shard": None},
        version=first["fakescan"],
        root=str(Path.cwd()),
        flagged=frozenset(map(Verdict, first["settings"]["flagged"])),
        is_only_flagged=first["settings"]["only_flagged"],
    )


def _shard(report: StoredReport) -> Shard:
    if not report.said:
        raise ReportError(
            f"{report.path}: CSV and JSON Lines do not say of which shard they are; "
            "write shards as .json or .parquet"
        )
    shard = report.said["settings"].get("shard")
    if shard is None or "listing" not in report.said:
        raise ReportError(f"{report.path}: no shard: the scan had no --shard")
    return Shard(**shard)


def _check_same(reports: Sequence[StoredReport]) -> None:
    first, *others = reports
    for other in others:
        if (detector := _difference(first.said["detector"], other.said["detector"])) is not None:
            raise ReportError(
                f"{first.path} and {other.path}: of different detectors or thresholds ({detector})"
            )
        if (setting := _difference(first.said["settings"], other.said["settings"])) is not None:
            raise ReportError(f"{first.path} and {other.path}: other settings ({setting})")
        if first.said["listing"] != other.said["listing"]:
            counts = [report.said["listing"]["count"] for report in (first, other)]
            raise ReportError(
                f"{first.path} and {other.path}: of different listings "
                f"({counts[0]} and {counts[1]} images); scan the same places again"
            )


def _difference(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    names = sorted((a.keys() | b.keys()) - OWN)
    name = next((n for n in names if a.get(n) != b.get(n)), None)
    return None if name is None else f"{name}: {a.get(name)} and {b.get(name)}"


def _check_whole(shards: Sequence[tuple[Shard, StoredReport]]) -> None:
    count = shards[0][0].count
    by_number: dict[int, StoredReport] = {}
    for shard, report in shards:
        if shard.count != count:
            raise ReportError(f"{report.path}: shard {shard}, the others are of {count}")
        if shard.number in by_number:
            other = by_number[shard.number].path
            raise ReportError(f"{other} and {report.path}: both are shard {shard}")
        if report.said["status"] != "complete":
            raise ReportError(f"{report.path}: not complete; run its shard again, it goes on")
        if not report.said["listing"]["is_whole"]:
            raise ReportError(f"{report.path}: its listing broke off; run its shard again")
        by_number[shard.number] = report
    missing = [str(number) for number in range(1, count + 1) if number not in by_number]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ReportError(f"of {count} shards are missing: {', '.join(missing[:SHOWN])}{more}")


def _findings(shards: Sequence[tuple[Shard, StoredReport]], summary: Summary) -> Iterator[Finding]:
    for shard, report in shards:
        count = 0
        for finding in report.findings():
            count += 1
            if not takes(shard, finding.path.split(INSIDE)[0]):
                raise ReportError(f"{report.path}: {finding.path} is not of shard {shard}")
            yield finding
        counts = report.said["counts"]
        is_all = not report.said["settings"]["only_flagged"]
        if is_all and count != sum(counts.values()):
            raise ReportError(f"{report.path}: {count} rows, it says {sum(counts.values())}")
    summary.is_complete = True
