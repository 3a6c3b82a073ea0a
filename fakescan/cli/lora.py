"""`fakescan lora`: LoRA files described by their weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli import lora_groups, lora_labels, options
from fakescan.cli import lora_options as shared

if TYPE_CHECKING:
    from fakescan.loras.describe import Description
    from fakescan.loras.search import Match, Matches

SKIPPED_SHOWN = 20
"""Files left out that are listed one by one."""

app = typer.Typer(
    help="Compare LoRA files by their weights: alike, copies, whose style.", no_args_is_help=True
)


@app.command()
def inspect(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="LoRA files, safetensors only.")
    ],
    per_module: Annotated[
        bool, typer.Option("--per-module", help="A row for each layer instead of each file.")
    ] = False,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """Say what LoRA files hold: dialect, type, base model, layers, ranks, strength.

    Nothing in a file is trusted or run. A file that cannot be used is named on standard error,
    and makes the exit code 3.
    """
    from threadpoolctl import threadpool_limits

    from fakescan.errors import LoraError
    from fakescan.loras.describe import describe
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    rows: list[dict[str, Any]] = []
    failed = 0
    with threadpool_limits(1):
        for path in files:
            try:
                description = describe(path)
            except LoraError as e:
                shared.note(f"fakescan: {e}")
                failed += 1
                continue
            to_rows = _module_rows if per_module else _file_rows
            rows += to_rows(str(path), description)
    columns = MODULE_COLUMNS if per_module else FILE_COLUMNS
    if rows:
        shared.write(Table("inspect", columns, rows, {"failed": failed}), format_, output)
    if failed:
        raise typer.Exit(LoraError.exit_code)


FILE_COLUMNS = ("path", "dialect", "type", "base", "modules", "rank", "strength", "notes")
MODULE_COLUMNS = (
    "path",
    "module",
    "group",
    "shape",
    "rank",
    "strength",
    "effective_rank",
    "stable_rank",
    "reason",
)


def _file_rows(path: str, found: Description) -> Iterator[dict[str, Any]]:
    low, high = found.ranks
    yield {
        "path": path,
        "dialect": found.dialect,
        "type": "+".join(found.kinds),
        "base": found.family,
        "modules": len(found.modules),
        "rank": str(low) if low == high else f"{low}-{high}",
        "strength": found.norm,
        "notes": list(found.warnings),
        "compared": len(found.compared),
        "ignored_tensors": found.ignored,
        "metadata": dict(found.metadata),
    }


def _module_rows(path: str, found: Description) -> Iterator[dict[str, Any]]:
    for module in found.modules:
        yield {
            "path": path,
            "module": module.name,
            "group": module.group,
            "shape": f"{module.shape[0]}x{module.shape[1]}",
            "rank": module.rank,
            "strength": module.norm,
            "effective_rank": module.effective_rank,
            "stable_rank": module.stable_rank,
            "reason": module.reason,
        }


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of LoRA files.")],
    out: Annotated[Path, typer.Option(metavar="IDX", help="Folder for the index.")],
    sketch: Annotated[
        int | None,
        typer.Option(
            metavar="Q",
            help="Side of a layer's sketch: 16, 32 or 64. Size on disk grows with its square.",
            show_default="32",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-j", help="Processes that read files.", show_default="one per core"
        ),
    ] = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Index a folder of LoRA files, or bring its index up to date.

    What has not changed is not read again. Files that cannot be used are listed, with the reason,
    and left out.
    """
    from fakescan.loras.build import build
    from fakescan.machine import usable_cores

    with _bar(is_shown=not (no_progress or quiet)) as progress:
        done = build(folder, out, size=sketch, workers=workers or usable_cores(), progress=progress)
    if quiet:
        return
    skipped = done.contents.skipped
    for bad in skipped[:SKIPPED_SHOWN]:
        shared.note(f"skipped: {bad.path}: {bad.reason}")
    if len(skipped) > SKIPPED_SHOWN:
        shared.note(f"skipped: {len(skipped) - SKIPPED_SHOWN} more")
    entries = done.contents.entries
    contents = len({entry.sha256 for entry in entries})
    shared.note(
        f"{out}: {len(entries)} files, {contents} different; {done.read} read now, "
        f"{len(skipped)} skipped, {done.removed} gone"
    )


@contextmanager
def _bar(*, is_shown: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not (is_shown and console.is_terminal):
        yield lambda _done, _all: None
        return
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("index", total=None)
        yield lambda done, all_: progress.update(task, completed=done, total=all_)


@app.command()
def search(
    idx: shared.Index,
    file: shared.AskedFile,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Files to list.")] = 10,
    modules: shared.Modules = None,
    compare: shared.Compare = shared.Comparison.AUTO,
    format_: shared.FormatOption = shared.Format.TABLE,
    output: shared.Output = None,
) -> None:
    """List the files of an index that are most like one file.

    Ranked by sketches; unless --compare sketch is given, the first 50 are compared again by
    their factors, where their files are still there.
    """
    from fakescan.loras.collection import Collection, chosen_groups
    from fakescan.loras.search import search as find
    from fakescan.loras.table import Table

    shared.check_outputs(output)
    groups = chosen_groups(modules or ())
    matches = find(
        Collection(idx),
        file,
        top=top,
        groups=groups,
        is_exact=compare is not shared.Comparison.SKETCH,
    )
    rows = [_match_row(n, match) for n, match in enumerate(matches.ranked[:top], 1)]
    facts = {"query": str(file), "base": matches.query.summary.family} | _facts(matches)
    shared.write(Table("search", SEARCH_COLUMNS, rows, facts), format_, output)
    for reason, count in facts["not_compared"].items():
        shared.note(f"not compared: {count} files: {reason}")
    if not rows:
        shared.note(f"{idx}: no file that can be compared with {file}")


SEARCH_COLUMNS = ("rank", "similarity", "raw", "coverage", "by", "path", "note")


def _facts(matches: Matches) -> dict[str, Any]:
    from collections import Counter

    reasons = Counter(reason for _, reason in matches.not_compared)
    return {"is_centred": matches.is_centred, "not_compared": dict(sorted(reasons.items()))}


def _match_row(number: int, match: Match) -> dict[str, Any]:
    from fakescan.loras.duplicates import THRESHOLD

    return {
        "rank": number,
        "similarity": match.similarity,
        "raw": match.raw,
        "coverage": match.coverage,
        "by": "factors" if match.is_exact else "sketch",
        "path": match.entry.path,
        "note": "same update" if match.raw > THRESHOLD else "",
        "sha256": match.entry.sha256,
    }


app.command()(lora_groups.cluster)
app.command()(lora_groups.duplicates)
app.command()(lora_labels.attribute)
app.command("eval")(lora_labels.evaluate)
