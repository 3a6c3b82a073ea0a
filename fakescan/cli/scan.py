"""`fakescan scan`: the options. What they start is in `fakescan.cli.scanning`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fakescan.cli import options


class Format(StrEnum):
    """What standard output gets."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    HTML = "html"


class Notable(StrEnum):
    """Verdicts that can fail a scan, or make an image flagged."""

    FAKE = "fake"
    UNCERTAIN = "uncertain"
    ERROR = "error"


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|URI", help="Images, folders, and places such as s3://bucket/folder."
        ),
    ] = None,
    from_file: options.FromFile = None,
    null: options.Null = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|URI",
            help="Write a report; .csv, .json, .jsonl, .parquet, .sarif, .xml (JUnit) or .html by "
            "suffix. Repeatable.",
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="What standard output gets.",
            show_default="table on a terminal, csv elsewhere, nothing with --output",
        ),
    ] = None,
    fail_on: Annotated[
        list[Notable] | None,
        typer.Option(help="Exit with code 1 if any image has this verdict. Repeatable."),
    ] = None,
    max_fake: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Exit with code 1 if more than N images are fake."),
    ] = None,
    flagged: Annotated[
        list[Notable] | None,
        typer.Option(
            help="Verdict that makes an image flagged. Repeatable.",
            show_default="fake and uncertain",
        ),
    ] = None,
    only_flagged: Annotated[
        bool,
        typer.Option(
            "--only-flagged",
            help="Reports list flagged images and errors; the others are only counted.",
        ),
    ] = False,
    model: options.Model = None,
    threshold: options.Threshold = None,
    device: options.Device = options.DeviceName.AUTO,
    arithmetic: options.Arithmetic = options.ArithmeticMode.STORED,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="What decoding one image may take, and taking it out of an archive.",
        ),
    ] = 60.0,
    max_megapixels: Annotated[float, typer.Option(help="Larger images are not decoded.")] = 250.0,
    decode: options.Decode = options.DecodeMode.EXACT,
    include: options.Include = None,
    exclude: options.Exclude = None,
    ignore_files: options.IgnoreFiles = True,
    hidden: options.Hidden = False,
    follow_symlinks: options.FollowSymlinks = False,
    max_depth: options.MaxDepth = None,
    max_filesize: options.MaxFilesize = None,
    archives: options.UseArchives = False,
    archive_members: options.ArchiveMembers = 10_000,
    archive_megabytes: options.ArchiveMegabytes = 4000.0,
    archive_ratio: options.ArchiveRatio = 200.0,
    engine: options.Engine = options.EngineName.LOCAL,
    actors: options.Actors = None,
    shard: options.ShardName = None,
    readers: options.Readers = 16,
    attempts: options.Attempts = 6,
    read_timeout: options.ReadTimeout = 60.0,
    hash_: options.Hash = False,
    provenance: options.Provenance = True,
    metadata: options.Metadata = options.MetadataDepth.BRIEF,
    robustness: options.Robustness = False,
    perturb: options.Perturb = None,
    explain: options.Explain = False,
    attribute: options.Attribute = None,
    baseline: options.BaselineFile = None,
    copy_flagged: options.CopyFlagged = None,
    move_flagged: options.MoveFlagged = None,
    dry_run: options.DryRun = False,
    cache: options.UseCache = True,
    no_config: options.NoConfig = False,
    config: options.Config = None,
    offline: options.Offline = False,
    no_color: options.NoColor = False,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Score images; say which are real, fake or uncertain.

    Every image file gets a row: verdict and score, or why it has none. Exit codes: 0 done; 1 only
    by --fail-on or --max-fake; 2 usage; 3 no usable detector, or none scored; 130, 143 stopped.
    """
    from fakescan.cli import choosing
    from fakescan.cli.scanning import Wanted, run_scan  # loads NumPy, Pillow and rich
    from fakescan.perturb import ROBUSTNESS
    from fakescan.places.access import Access
    from fakescan.scan.pipeline import ScanSettings
    from fakescan.scan.shard import parse_shard

    del no_config, config  # they have set the defaults of the others
    gathering = choosing.wanted_gathering(copy_flagged, move_flagged, is_dry_run=dry_run)
    taken = (include, exclude, ignore_files, hidden, follow_symlinks, max_depth, max_filesize)
    settings = ScanSettings(
        threshold=threshold,
        batch_size=batch_size,
        workers=workers,
        timeout_s=timeout,
        max_megapixels=max_megapixels,
        decoding=decode.value,
        selection=choosing.selection(*taken, archives, gathering),
        shard=parse_shard(shard) if shard else None,
        archives=choosing.archive_limits(
            archives, archive_members, archive_megabytes, archive_ratio
        ),
        access=Access(readers=readers, attempts=attempts, timeout_s=read_timeout),
        hashes=hash_,
        provenance=metadata.value if provenance else "off",
        perturbations=(*(ROBUSTNESS if robustness else ()), *(perturb or ())),
    )
    wanted = Wanted(
        files=tuple(output or ()),
        stdout_format=format_.value if format_ else None,
        fail_on=frozenset(v.value for v in fail_on or ()),
        max_fake=max_fake,
        flagged=choosing.flagged_verdicts(flagged),
        is_only_flagged=only_flagged,
        model=model,
        engine=engine.value,
        actors=actors,
        device=device.value,
        arithmetic=arithmetic.value,
        threads=threads,
        is_offline=offline,
        is_quiet=quiet,
        has_cache=cache,
        has_progress=not (no_progress or quiet),
        figures=choosing.wanted_figures(output or ()) if explain else None,
        baseline=baseline,
        gathering=gathering,
        attributor=attribute,
        has_color=not no_color,
    )
    raise typer.Exit(
        run_scan(choosing.named(paths, from_file, settings.access, is_null=null), settings, wanted)
    )
