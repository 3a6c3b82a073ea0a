"""`fakescan train`: the options. Settings that have none are set in a file, by --config."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fakescan.cli import options


class Head(StrEnum):
    """What the head reads."""

    FINAL = "final"
    LEVELS = "levels"


class Precision(StrEnum):
    """Arithmetic of the trained part."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


def train(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder for the run; new or empty.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA...", help="Folders, manifests or tar shards of labelled images."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings as TOML; options here come before it."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, with its own settings.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Fine-tune this detector instead of a new one."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split. Repeatable.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Frozen tower: an open_clip ViT, or builtin, the one in the shipped detector.",
            show_default="builtin",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its weights, a safetensors file.")
    ] = None,
    depth: Annotated[int | None, typer.Option(help="Blocks of the tower that are used.")] = None,
    head: Annotated[Head | None, typer.Option(help="What the last linear layer reads.")] = None,
    level: Annotated[
        list[int] | None,
        typer.Option(
            help="Block after which head levels reads. Repeatable.", show_default="4, 6, 8"
        ),
    ] = None,
    adapt: Annotated[
        list[int] | None,
        typer.Option(
            metavar="BLOCK", help="Block with experts; 0: none. Repeatable.", show_default="last 3"
        ),
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Random views of each image.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images and aligned pairs in one step.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Parts that a step is computed in, to save memory.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate of the experts.")] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Arithmetic of the trained part.")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of each class held out, by whole sources.")
    ] = None,
    validation_source: Annotated[
        list[str] | None, typer.Option(help="Hold out this source instead; a glob. Repeatable.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better figure before it stops.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order and held-out sources.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute the frozen blocks anew in every epoch.")
    ] = False,
    cache_folder: Annotated[
        Path | None, typer.Option(help="Where the frozen blocks' output is stored.")
    ] = None,
    cache_max_gb: Annotated[
        float | None, typer.Option(help="Largest size of that store.", show_default="100")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", help="Processes that decode.", show_default="cores - 1"),
    ] = None,
    device: options.Device = options.DeviceName.AUTO,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a detector on labelled images; whole sources are held out to judge and calibrate it.

    DATA is any tree whose leaves are called 0_real and 1_fake, real and fake, or nature and ai,
    or a manifest with the columns path and label, or shards in the WebDataset convention, here or
    in a store, such as 's3://bucket/photos-{000..127}.tar'. Under torchrun every process takes its
    share.
    """
    from fakescan.cli.training import Overrides, run_training  # loads torch

    given: Overrides = {
        ("init",): init,
        ("splits",): split,
        ("backbone", "name"): backbone,
        ("backbone", "weights"): backbone_weights,
        ("model", "depth"): depth,
        ("model", "head"): head.value if head else None,
        ("model", "levels"): level,
        ("model", "mole", "blocks"): [k for k in adapt if k] if adapt else None,
        ("draws",): draws,
        ("epochs",): epochs,
        ("batch_size",): batch_size,
        ("accumulate",): accumulate,
        ("lr",): lr,
        ("precision",): precision.value if precision else None,
        ("validation",): validation,
        ("validation_sources",): validation_source,
        ("patience",): patience,
        ("seed",): seed,
        ("cache", "enabled"): False if no_cache else None,
        ("cache", "folder"): cache_folder,
        ("cache", "max_gb"): cache_max_gb,
        ("workers",): workers,
    }
    run_training(
        out,
        data or [],
        config,
        given,
        resume=resume,
        device=device.value,
        verbosity="quiet" if quiet else "notes" if no_progress else "bar",
    )
