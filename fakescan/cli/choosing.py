"""What a scan starts from, and what becomes of the images that it flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer
from rich.console import Console

from fakescan.errors import ConfigError
from fakescan.explain.folder import FigureFolder
from fakescan.places.access import Access
from fakescan.places.store import check_places
from fakescan.places.uri import is_uri, spread
from fakescan.records import FLAGGED, Finding, Verdict
from fakescan.report import FORMATS
from fakescan.report.table import visible
from fakescan.scan.archive import ArchiveLimits
from fakescan.scan.gather import Gathering, gather
from fakescan.scan.listing import read_list
from fakescan.scan.selection import Selection
from fakescan.scan.sources import Target
from fakescan.scan.urilist import UriList, check_list, is_uri_list
from fakescan.scan.walk import check

SHOWN = 5
"""Failures that are told one by one."""


def named(
    paths: Sequence[str] | None, listed: str | None, access: Access, *, is_null: bool
) -> list[Target]:
    """The targets of a scan: places of the command line, which must exist, and those of a list.

    Raises:
        ConfigError: a path that was typed does not exist, or the list cannot be read.
        PlaceError: a URI that was typed cannot be read.
    """
    if not paths and listed is None:
        raise typer.BadParameter("need a PATH or --from-file")
    if is_null and listed is None:
        raise typer.BadParameter("--null needs --from-file")
    check([path for path in paths or () if not is_uri(path)])
    places = [place for path in paths or () for place in (spread(path) if is_uri(path) else [path])]
    check_places([place for place in places if is_uri(place)], access)
    targets: list[Target] = list(places)
    if listed is None:
        return targets
    if is_null or not is_uri_list(listed):
        return [*targets, *read_list(listed, is_null=is_null)]
    uris = UriList(listed, access)
    check_list(uris)
    return [*targets, uris]


def selection(
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
    ignore_files: bool,
    hidden: bool,
    follow_symlinks: bool,
    max_depth: int | None,
    max_filesize: float | None,
    archives: bool,
    gathering: Gathering | None,
) -> Selection:
    """What to take of the files that are met in folders.

    Raises:
        ConfigError: a pattern or a limit is wrong.
    """
    return Selection(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        ignore_files=ignore_files,
        hidden=hidden,
        follow_symlinks=follow_symlinks,
        max_depth=max_depth,
        max_filesize=max_filesize,
        archives=archives,
        leave_out=str(gathering.folder) if gathering else None,
    )


def archive_limits(
    is_wanted: bool, members: int, megabytes: float, ratio: float
) -> ArchiveLimits | None:
    """How much to take out of archives; None when they stay closed.

    Raises:
        ConfigError: a limit is out of range.
    """
    limits = ArchiveLimits(members=members, megabytes=megabytes, ratio=ratio)
    return limits if is_wanted else None


def wanted_gathering(copy: Path | None, move: Path | None, *, is_dry_run: bool) -> Gathering | None:
    """What is to become of flagged images; None for nothing.

    Raises:
        ConfigError: both are asked for, or the folder is none.
    """
    folder = copy or move
    if copy and move:
        raise ConfigError("--copy-flagged and --move-flagged: only one of them")
    if folder is None:
        if is_dry_run:
            raise ConfigError("--dry-run: needs --copy-flagged or --move-flagged")
        return None
    return Gathering(folder=folder, is_move=move is not None, is_dry_run=is_dry_run)


def wanted_figures(files: Sequence[str]) -> FigureFolder:
    """Where figures that explain scores go: beside the HTML report.

    Args:
        files: the outputs.

    Raises:
        ConfigError: none of them is HTML, or several are, or the folder cannot be one.
    """
    pages = [Path(f) for f in files if Path(f).suffix.lower() == FORMATS["html"].suffix]
    if len(pages) != 1 or is_uri(next(f for f in files if Path(f) == pages[0])):
        raise ConfigError(
            "--explain: needs one --output FILE.html on this machine, beside which its figures go"
        )
    return FigureFolder(pages[0])


def flagged_verdicts(chosen: Sequence[str] | None) -> frozenset[Verdict]:
    """The verdicts that make an image flagged."""
    return frozenset(map(Verdict, chosen)) if chosen else FLAGGED


def remember_flagged(
    findings: Iterable[Finding], verdicts: frozenset[Verdict], paths: list[str]
) -> Iterator[Finding]:
    """Pass findings on and keep the paths of the flagged ones."""
    for finding in findings:
        if finding.verdict in verdicts:
            paths.append(finding.path)
        yield finding


def gather_flagged(
    paths: Sequence[str],
    targets: Sequence[str],
    gathering: Gathering,
    console: Console,
    *,
    is_quiet: bool,
) -> bool:
    """Copy or move flagged images and say how it went; False when some could not be."""
    verb = "move" if gathering.is_move else "copy"
    past = {"move": "moved", "copy": "copied"}[verb]

    def tell(source: str, destination: Path) -> None:
        if gathering.is_dry_run:
            console.print(f"would {verb} {visible(source)} to {visible(str(destination))}")

    result = gather(paths, targets, gathering, tell)
    done = f"would {verb}" if gathering.is_dry_run else past
    kept = f", {result.kept} there already" if result.kept else ""
    if not is_quiet:
        console.print(f"{done} {result.done} flagged to {visible(str(gathering.folder))}{kept}")
    for path, reason in result.failed[:SHOWN]:
        console.print(f"error: not {past}: {visible(path)}: {visible(reason)}")
    if (more := len(result.failed) - SHOWN) > 0:
        console.print(f"error: not {past}: {more} more")
    return not result.failed
