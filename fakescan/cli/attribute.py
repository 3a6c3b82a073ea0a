"""`fakescan attribute`: which generator made an image; generators learnt one after another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli import attribute_bundle, attribute_eval, options
from fakescan.cli import attribute_options as shared
from fakescan.errors import ConfigError

if TYPE_CHECKING:
    from fakescan.attribute.answer import Rules
    from fakescan.attribute.design import Design
    from fakescan.attribute.predict import Named

app = typer.Typer(
    help="Say which generator made an image; learn generators one after another.",
    no_args_is_help=True,
)


class Preset(StrEnum):
    """How an attributor is built."""

    SHARED = "shared-trunk"
    PAPER = "lorax-paper"


class MemoryMode(StrEnum):
    """What is kept of old images."""

    TOKENS = "tokens"
    PATHS = "paths"
    COPIES = "copies"
    NONE = "none"


@app.command()
def init(
    attr: shared.NewAttributor,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Frozen tower: an open_clip ViT, or builtin, the one in the shipped detector; "
            "with lorax-paper convit_base, convit_small or convit_tiny.",
            show_default="builtin; lorax-paper: convit_base",
        ),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="shared-trunk: adapters in the last blocks only; lorax-paper: as published, on "
            "ConViT, whose weights --backbone-weights gives."
        ),
    ] = Preset.SHARED,
    backbone_weights: shared.BackboneWeights = None,
    last_blocks: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Blocks with adapters, counted from the last.", show_default="3"
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(metavar="R", help="Rank of each adapter.", show_default="8"),
    ] = None,
    level: Annotated[
        list[int] | None,
        typer.Option(
            metavar="BLOCK",
            help="Block after which the classifier reads; 0: the final embedding instead. "
            "Repeatable.",
            show_default="4, 6, 8",
        ),
    ] = None,
) -> None:
    """Make an attributor that knows no generator yet."""
    with shared.extra("init"):
        from fakescan.attribute.store import init as make
        from fakescan.model.backbone import BUILTIN, BackboneConfig

        design = _design(preset, last_blocks, rank, level)
        name = backbone or ("convit_base" if preset is Preset.PAPER else BUILTIN)
        manifest = make(attr, BackboneConfig(name=name, weights=backbone_weights), design)
    shared.note(f"{attr}: knows nothing yet, on {manifest.backbone.name}")
    shared.note(f"next: fakescan attribute learn {attr} --task NAME --fake DIR --real DIR")


def _design(
    preset: Preset, last_blocks: int | None, rank: int | None, level: list[int] | None
) -> Design:
    from fakescan.attribute.design import PAPER, Design

    if preset is Preset.PAPER:
        asked = {"--last-blocks": last_blocks, "--rank": rank, "--level": level}
        for name in [name for name, value in asked.items() if value is not None]:
            raise ConfigError(f"{name}: fixed by preset {preset.value}")
        return Design(preset=PAPER)
    return Design(
        last_blocks=3 if last_blocks is None else last_blocks,
        rank=8 if rank is None else rank,
        head="final" if level == [0] else "levels",
        levels=() if level == [0] else tuple(level or ()),
    )


@app.command()
def learn(
    attr: shared.Attributor,
    task: Annotated[str, typer.Option(metavar="NAME", help="What to call this task.")],
    fake: Annotated[
        list[str],
        typer.Option(
            metavar="[GEN=]DIR",
            help="Images of one generator, and its name; without one, it is the folder's. "
            "Repeatable.",
        ),
    ],
    real: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Real images; the first task needs some. Repeatable."),
    ] = None,
    memory: Annotated[
        int, typer.Option(metavar="M", min=0, help="Old images kept in all, classes alike.")
    ] = 500,
    memory_mode: Annotated[
        MemoryMode | None,
        typer.Option(
            help="What is kept of each: its tokens, its path, a copy, or nothing.",
            show_default="tokens; lorax-paper: paths",
        ),
    ] = None,
    epochs: shared.Epochs = None,
    lr: shared.LearningRate = None,
    batch_size: shared.BatchSize = 32,
    draws: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Random views of each image besides its middle; lorax-paper draws its own.",
            show_default="0",
        ),
    ] = None,
    false_unknown: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of known generators' fakes called unknown."),
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and held-out images.")] = 0,
    backbone_weights: shared.BackboneWeights = None,
    device: options.Device = options.DeviceName.AUTO,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", help="Processes that decode.", show_default="cores - 1"),
    ] = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn the generators of one task; what was learnt before is not learnt again.

    The new state counts once it is whole on the disk: stopped at any point, the old one works.
    A fifth of each class is held out to calibrate probabilities and the limit to unknown.
    """
    generators, reals = shared.images_of(fake, real or [])
    with shared.extra("learn"):
        from fakescan.attribute.book import Machine, NewTask
        from fakescan.attribute.bundle import read_manifest
        from fakescan.attribute.learn import learn as learn_task
        from fakescan.attribute.settings import LearnSettings
        from fakescan.cli.training import Screen
        from fakescan.train.parallel import choose_device

        settings = LearnSettings.of(
            read_manifest(attr).design.preset,
            memory=memory,
            memory_mode=memory_mode and memory_mode.value,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            draws=draws,
            false_unknown=false_unknown,
            seed=seed,
        )
        machine = Machine(
            weights=backbone_weights, device=choose_device(device.value), workers=workers
        )
        new = NewTask(name=task, generators=generators, reals=reals)
        with Screen(shared.stderr(), shared.verbosity(quiet, no_progress)) as screen:
            manifest = learn_task(attr, new, settings, machine, screen)
    if not quiet:
        learnt, rules = manifest.tasks[-1], manifest.rules
        names = [c.name for c in manifest.classes if c.task == task]
        shared.note(
            f"{attr}: learnt {', '.join(names)} from {learnt.images} new and "
            f"{learnt.exemplars} old images in {learnt.seconds:.0f} s"
        )
        shared.note(_limit(rules))


def _limit(rules: Rules) -> str:
    if not rules.unknown_below:
        return "no fake is called unknown: there are no held-out fakes to fit that limit on"
    return (
        f"unknown below a generator score of {rules.unknown_below:.3f}, which "
        f"{rules.false_unknown:.0%} of known generators' held-out fakes do not reach"
    )


@app.command()
def predict(
    attr: shared.Attributor,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Images, and folders of images.")
    ],
    output: shared.Output = None,
    format_: shared.FormatOption = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Generators named with their probabilities.")
    ] = 3,
    unknown_threshold: Annotated[
        str,
        typer.Option(
            metavar="auto|off|X",
            help="Generator score below which a fake is of an unknown generator; auto: as fitted.",
        ),
    ] = "auto",
    backbone_weights: shared.BackboneWeights = None,
    device: options.Device = options.DeviceName.AUTO,
    workers: options.Workers = None,
) -> None:
    """Say of images whether a known generator made them, and which.

    A generator's score is the probability that it, of all that are known, made the image. What no
    known generator made can only be called real or unknown, and is sometimes called neither.
    """
    shared.check_outputs(output)
    with shared.extra("predict"):
        from fakescan.attribute.answer import generators
        from fakescan.attribute.namer import TorchNamer
        from fakescan.attribute.predict import predict as name_all
        from fakescan.attribute.predict import rules_at
        from fakescan.attribute.store import open_bundle
        from fakescan.train.parallel import choose_device

        opened = open_bundle(attr, weights=backbone_weights, device=choose_device(device.value))
        namer = TorchNamer(opened)
        rules = rules_at(namer.rules, unknown_threshold)
        rows = [_row(n, top) for n in name_all(paths, namer, rules, workers)]
    known = generators(namer.classes)
    facts = {
        "attributor": str(attr),
        "known_generators": list(known),
        "unknown_below": rules.unknown_below,
        "false_unknown": rules.false_unknown,
    }
    shared.write("predict", PREDICTED, rows, facts, format_, output)
    shared.note(f"known generators: {', '.join(known)}")
    if rows and all(row["error"] for row in rows):
        raise typer.Exit(3)


PREDICTED = (
    "path",
    "verdict",
    "fake_score",
    "generator",
    "generator_score",
    "margin",
    "top",
    "error",
)


def _row(named: Named, top: int) -> dict[str, Any]:
    said = named.attribution
    if said is None:
        return {"path": named.path, "verdict": "error", "error": named.error}
    return {
        "path": named.path,
        "verdict": said.verdict,
        "fake_score": said.fake_score,
        "generator": said.generator,
        "generator_score": said.generator_score,
        "margin": said.margin,
        "top": [f"{name} {score:.3f}" for name, score in said.ranked[:top]],
        "error": None,
    }


app.command("list")(attribute_bundle.list_)
app.command("remove-task")(attribute_bundle.remove_task)
app.command()(attribute_bundle.export)
app.command()(attribute_bundle.verify)
app.command("eval")(attribute_eval.evaluate)
