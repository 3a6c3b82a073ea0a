"""Options that several commands share, with one wording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DeviceName(StrEnum):
    """Where the detector runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class EngineName(StrEnum):
    """What runs a scan."""

    LOCAL = "local"
    RAY = "ray"


class ArithmeticMode(StrEnum):
    """What a detector's products are computed in."""

    STORED = "stored"
    FAST = "fast"


class DecodeMode(StrEnum):
    """How JPEGs are decoded."""

    FAST = "fast"
    EXACT = "exact"


class MetadataDepth(StrEnum):
    """How much of a file's metadata goes into reports."""

    BRIEF = "brief"
    FULL = "full"


Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="Detector: a file that `fakescan export` wrote, or a name in the registry.",
        show_default="the one that comes with the package",
    ),
]
Device = Annotated[
    DeviceName, typer.Option(help="Where the detector runs; auto takes a GPU that works.")
]
Arithmetic = Annotated[
    ArithmeticMode,
    typer.Option(
        help="stored multiplies as the detector's file says. fast multiplies in integers, on the "
        "CPU: made from the file at first use, faster, and scores move a little."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Score from which an image is fake, and below which it is real.",
        show_default="the detector's two thresholds",
    ),
]
Decode = Annotated[
    DecodeMode,
    typer.Option(
        help="exact decodes every pixel. fast scales large JPEGs down while decoding them, where "
        "the detector looks at a resized image, and moves their scores a little. --robustness "
        "and --perturb imply exact."
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Images scored together.", show_default="1 on the CPU, 32 on a GPU"),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-j", help="Processes that decode.", show_default="one per core"),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Threads that score, on the CPU.",
        show_default="one per core that may be used",
    ),
]
UseCache = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Keep scores, and use those of earlier scans."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch a detector.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="In folders, only files that match; as in .gitignore. Repeatable.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="In folders, leave out what matches; as in .gitignore. Repeatable.",
    ),
]
IgnoreFiles = Annotated[
    bool, typer.Option("--ignore-files/--no-ignore-files", help="Heed .fakescanignore files.")
]
Hidden = Annotated[
    bool, typer.Option("--hidden/--no-hidden", help="In folders, take names with a dot in front.")
]
FollowSymlinks = Annotated[
    bool,
    typer.Option(
        "--follow-symlinks/--no-follow-symlinks",
        help="Follow links to folders, and out of the folder that is named.",
    ),
]
MaxDepth = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Levels of folders; 1 takes only files directly in a folder."
    ),
]
MaxFilesize = Annotated[
    float | None, typer.Option(metavar="MB", help="Larger files are not opened.")
]
UseArchives = Annotated[
    bool,
    typer.Option("--archives/--no-archives", help="Look into zip and tar (gz, bz2, xz) archives."),
]
ArchiveMembers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Members looked at in one archive.")
]
ArchiveMegabytes = Annotated[
    float, typer.Option(metavar="MB", help="What one archive may unpack to.")
]
ArchiveRatio = Annotated[
    float, typer.Option(metavar="N", help="Times its size that one archive may unpack to.")
]
FromFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URI|-",
        help="Also scan what is listed there: a path or URI a line, or the column uri, url or "
        "path of a .parquet or .csv; - is standard input.",
    ),
]
Null = Annotated[
    bool, typer.Option("--null", "-0", help="Paths in --from-file end with a null character.")
]
Engine = Annotated[
    EngineName,
    typer.Option(
        help="What runs the scan: this process, or Ray Data, on the cluster that RAY_ADDRESS names "
        "or on this machine."
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Copies of the detector that Ray runs.",
        show_default="one for each GPU, or machine",
    ),
]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Scan only part I of N; `fakescan report merge` joins the reports of all.",
    ),
]
Readers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Objects of a store that are read at once.")
]
Attempts = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, help="Times that a store is asked before an object counts as lost."
    ),
]
ReadTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="What reading an object once may take.")
]
Hash = Annotated[
    bool, typer.Option("--hash/--no-hash", help="Put the sha256 of each file into JSON reports.")
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE",
        help="JSON report with hashes: what it knows, by content and verdict, is not reported.",
    ),
]
CopyFlagged = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Copy flagged images there, under their paths."),
]
MoveFlagged = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Move flagged images there, under their paths."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied or moved.")]

Provenance = Annotated[
    bool,
    typer.Option(
        "--provenance/--no-provenance",
        help="Say what files claim of their origin (C2PA, XMP, EXIF, PNG text), beside the score.",
    ),
]
Metadata = Annotated[MetadataDepth, typer.Option(help="With full, prompts and GPS positions, too.")]
Robustness = Annotated[
    bool,
    typer.Option(
        "--robustness/--no-robustness",
        help="Score every image also under blur 1-4 and JPEG 90-30: their scores, range, and "
        "whether the verdict is stable.",
    ),
]
Perturb = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME:STRENGTH",
        help="Score every image also under this: jpeg, blur, resize, crop or equalise, such as "
        "jpeg:75 or resize:0.5. Repeatable.",
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Draw where each score comes from: a PNG per row, in a folder beside the HTML report.",
    ),
]

Attribute = Annotated[
    Path | None,
    typer.Option(
        metavar="ATTR",
        help="Say which generator made what is not real: a folder of `fakescan attribute` that was "
        "exported, or the exported file. Every image is decoded, known scores or not.",
    ),
]


def _apply_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Make settings from the environment and a file the defaults of the other options."""
    from fakescan.cli import settings
    from fakescan.cli.scan import scan

    if not (context.resilient_parsing or context.params.get("no_config")):
        found = settings.given(settings.options_of(scan), file)
        context.default_map = {s.option.parameter: s.value for s in found.values()}
    return file


NoConfig = Annotated[
    bool,
    typer.Option("--no-config", is_eager=True, help="No settings file and no FAKESCAN_ variables."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=_apply_settings,
        help="Settings file.",
        show_default="the nearest fakescan.toml or pyproject.toml",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary on standard error.")
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="No colours; the variable NO_COLOR does the same."),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]
