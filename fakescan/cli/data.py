"""`fakescan data`: look at labelled images, and make more of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakescan.cli import options
from fakescan.cli.check import check

if TYPE_CHECKING:
    from rich.console import Console

    from fakescan.evaluate.audit import Audit

NEEDED = ("torch", "safetensors")
"""Packages of the extra `train` that pairs are made with."""
SHOWN = 20
"""Images left out that are listed one by one."""


class PairKind(StrEnum):
    """How the fake of an aligned pair is made."""

    ROUND_TRIP = "round-trip"
    NOISE = "noise"
    RESCALED = "rescaled"
    REDUCED = "reduced"
    TWICE = "twice"
    MASKED = "masked"
    UPSAMPLING = "upsampling"


app = typer.Typer(help="Look at labelled images, and make more of them.", no_args_is_help=True)
app.command()(check)


@app.command()
def pairs(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled images: a folder or a manifest.")
    ],
    autoencoder: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Holds encoder.safetensors and decoder.safetensors."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pairs go.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    exclude_source: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Leave out sources that match. Repeatable."),
    ] = None,
    kind: Annotated[
        list[PairKind] | None,
        typer.Option(help="How the fakes are made. Repeatable.", show_default="round-trip"),
    ] = None,
    crop_px: Annotated[int, typer.Option(help="Side of the squares, a multiple of 8.")] = 320,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most N reals, chosen by a hash.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides rescaling and crop.")] = 0,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Make aligned pairs: each real image and its round trip through an autoencoder.

    With --kind, fakes are made in other ways too, and each real gets one of each. DIR gets 0_real,
    1_fake and a manifest.csv, and can be trained on beside DATA. Pairs that are there already are
    kept, so that an interrupted run goes on where it stopped. Images that cannot be read are
    listed and left out.
    """
    from rich.console import Console

    from fakescan.cli.progress import count_progress
    from fakescan.config import from_dict
    from fakescan.data.samples import read_samples, subsample
    from fakescan.errors import ConfigError, DatasetError

    samples = read_samples(data, split=tuple(split) if split else None)
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"{out}: lies inside {data}, where pairs would be taken for its images")
    try:
        from fakescan.data.autoencoder import load_autoencoder
        from fakescan.data.pairs import PairConfig, choose_reals, make_pairs, write_manifest
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in NEEDED:
            raise
        raise ConfigError(f"pairs: need the package {e.name}: pip install 'fakescan[train]'") from e
    chosen = [one.value for one in kind or [PairKind.ROUND_TRIP]]
    config = from_dict(PairConfig, {"crop_px": crop_px, "seed": seed, "kinds": chosen}, "pairs")
    reals = choose_reals(samples, tuple(exclude_source or ()))
    reals = reals if limit is None else subsample(reals, per_label=limit, seed=0)
    network = load_autoencoder(autoencoder)
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    rows = []
    with count_progress(console, len(reals), is_shown=not (no_progress or quiet)) as progress:
        for row in make_pairs(reals, network, out, config):
            rows.append(row)
            progress.advance(progress.task_ids[0])
    failed = [(row.sample.key, row.error) for row in rows if row.error is not None]
    _list_failed(failed, console)
    if len(failed) == len(rows):
        raise DatasetError(f"{data}: none of {len(rows)} real images could be made into a pair")
    manifest = write_manifest(rows, out)
    made = (len(rows) - len(failed)) * len(config.kinds)
    console.print(f"{made} pairs, {len(failed)} images left out; {manifest}", markup=False)


@app.command()
def audit(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled images: a folder or a manifest.")
    ],
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    per_label: Annotated[
        int, typer.Option(metavar="N", help="At most N reals and N fakes, chosen by a hash.")
    ] = 2000,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Say how well file properties alone (size, format, compression) separate the classes.

    An AUC of 0.5 is chance. The nearer to 1, the more a detector trained on these images can
    learn from their files instead of their pixels.
    """
    from rich.console import Console

    from fakescan.cli.progress import count_progress
    from fakescan.data.samples import read_samples, subsample
    from fakescan.evaluate.audit import audit as run_audit

    samples = read_samples(data, split=tuple(split) if split else None)
    chosen = subsample(samples, per_label=per_label, seed=0)
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    with count_progress(console, len(chosen), is_shown=not (no_progress or quiet)) as progress:
        found = run_audit(progress.track(chosen, task_id=progress.task_ids[0]))
    _print_audit(found)
    _list_failed(found.unreadable, console)


def _print_audit(found: Audit) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, title=f"{found.reals} real and {found.fakes} fake images")
    table.add_column("property")
    for name in ("real mean", "fake mean", "AUC"):
        table.add_column(name, justify="right")
    for row in found.rows:
        table.add_row(row.name, f"{row.real_mean:.4g}", f"{row.fake_mean:.4g}", f"{row.auc:.3f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    auc = found.together
    console.print(
        f"all together: AUC {auc.value:.3f}, 95 % interval {auc.low:.3f} to {auc.high:.3f}"
    )


def _list_failed(failed: Sequence[tuple[str, str]], console: Console) -> None:
    from fakescan.report.table import visible

    for key, reason in failed[:SHOWN]:
        console.print(f"left out: {visible(key)}: {reason}", markup=False)
    if len(failed) > SHOWN:
        console.print(f"left out: {len(failed) - SHOWN} more")
