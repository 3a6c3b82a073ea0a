"""`fakescan attribute eval`: LoRAX beside what it must beat, on a sequence of tasks."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakescan.cli import attribute_options as shared
from fakescan.cli import options
from fakescan.errors import ConfigError

if TYPE_CHECKING:
    from fakescan.attribute.scenario import TaskImages
    from fakescan.attribute.sequence import Outcome

SUFFIXES = (".json", ".txt", ".png")


class Scenario(StrEnum):
    """CDDB's sequences."""

    EASY = "easy"
    HARD = "hard"
    LONG = "long"


def evaluate(
    attr: shared.Attributor,
    folders: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Tree with a folder for each task: real and generators in it."
        ),
    ] = None,
    cddb: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="CDDB's folders, one for each generator.")
    ] = None,
    scenario: Annotated[
        Scenario | None, typer.Option(help="Which of CDDB's sequences.", show_default="hard")
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK,TASK,...",
            help="Order of the tasks; for each one given, everything is learnt again. Repeatable.",
            show_default="by name, or CDDB's",
        ),
    ] = None,
    memory: Annotated[int, typer.Option(metavar="M", min=0, help="Exemplars in all.")] = 500,
    epochs: shared.Epochs = None,
    lr: shared.LearningRate = None,
    batch_size: shared.BatchSize = 32,
    test_share: Annotated[
        float, typer.Option(help="Share of each class judged on, where folders name no split.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, weights and order.")] = 0,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write all figures (.json), the text (.txt) or the confusion (.png). Repeatable.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every finished step there: the same command goes on where it was stopped.",
        ),
    ] = None,
    backbone_weights: shared.BackboneWeights = None,
    device: options.Device = options.DeviceName.AUTO,
    workers: options.Workers = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how an attributor of ATTR's design learns a sequence of tasks, beside its baselines.

    ATTR says backbone and design; what it has learnt is left as it is and not used. Printed beside
    LoRAX: nearest mean, linear probe and fine-tuning with the same memory, joint training, and
    file properties alone.
    """
    for path in output or ():
        if path.suffix not in SUFFIXES:
            raise ConfigError(f"{path}: no format for it; known: {', '.join(SUFFIXES)}")
    tasks = _tasks(folders, cddb, scenario, test_share, seed)
    orders = _orders(tasks, order)
    with shared.extra("eval"):
        from fakescan.attribute.book import Machine
        from fakescan.attribute.bundle import read_manifest
        from fakescan.attribute.settings import LearnSettings
        from fakescan.cli.training import Screen
        from fakescan.train.parallel import choose_device

        settings = LearnSettings.of(
            read_manifest(attr).design.preset,
            memory=memory,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            seed=seed,
        )
        machine = Machine(
            weights=backbone_weights, device=choose_device(device.value), workers=workers
        )
        with Screen(shared.stderr(), shared.verbosity(quiet, no_progress)) as screen:
            outcome = _run(attr, tasks, orders, settings, machine, screen, keep)
    name = (scenario or Scenario.HARD).value if cddb else None
    text = _text(outcome, name, memory)
    print(text, end="")
    _write(
        output or (), outcome, text, {"memory": memory, "epochs": settings.epochs, "scenario": name}
    )


def _tasks(
    folders: Path | None,
    cddb: Path | None,
    scenario: Scenario | None,
    test_share: float,
    seed: int,
) -> list[TaskImages]:
    from fakescan.attribute.scenario import read_cddb, read_folders

    if (folders is None) == (cddb is None):
        raise ConfigError("attribute eval: give either --folders or --cddb")
    if not 0 < test_share < 1:
        raise ConfigError(f"--test-share {test_share:g}: lies between 0 and 1")
    if cddb is not None:
        return read_cddb(cddb, (scenario or Scenario.HARD).value, test_share, seed)
    if scenario is not None:
        raise ConfigError("--scenario: needs --cddb")
    assert folders is not None
    return read_folders(folders, test_share, seed)


def _orders(tasks: list[TaskImages], asked: list[str] | None) -> list[list[int]]:
    names = [task.name for task in tasks]
    orders = []
    for text in asked or [",".join(names)]:
        wanted = text.split(",")
        if sorted(wanted) != sorted(names):
            raise ConfigError(f"--order {text}: name each task once; there are {', '.join(names)}")
        orders.append([names.index(name) for name in wanted])
    for chosen in orders:
        if tasks[chosen[0]].classes[0] != "real":
            raise ConfigError(f"{tasks[chosen[0]].name}: the first task needs real images, too")
    return orders


def _run(
    attr: Path, tasks: Any, orders: Any, settings: Any, machine: Any, screen: Any, keep: Path | None
) -> Outcome:
    from fakescan.attribute.scene import gather
    from fakescan.attribute.sequence import Track, run
    from fakescan.attribute.store import open_bundle
    from fakescan.train.views import ViewPool, ViewRecipe

    opened = open_bundle(attr, weights=machine.weights, device=machine.device)
    recipe = ViewRecipe(opened.manifest.preprocess, settings.augmentation, settings.seed)
    with ViewPool(recipe, machine.workers) as pool:
        material = gather(tasks, opened, pool, machine.cache, screen)

        def finished(track: Track) -> None:
            order = " > ".join(track.order)
            screen.note(f"{track.method}: AAF {100 * track.multi.final:.1f} ({order})")

        return run(material, orders, settings, screen.learning, finished, keep)


def _text(outcome: Outcome, scenario: str | None, memory: int) -> str:
    from fakescan.attribute.verdict import against_paper, remarks, table

    rows = [track.row() for track in outcome.tracks]
    train, test = outcome.images
    lost = f", {outcome.unreadable} cannot be read" if outcome.unreadable else ""
    lines = [f"{train} images to learn from, {test} to be judged by{lost}; percent", ""]
    lines += [*table(rows), "", *remarks(rows)]
    if scenario is not None:
        lines += ["", *against_paper(rows, scenario, memory)]
    return "\n".join(lines) + "\n"


def _write(output: Any, outcome: Outcome, text: str, facts: dict[str, Any]) -> None:
    from fakescan.attribute.plot import confusion_plot
    from fakescan.cli.tables import write_whole

    for path in output:
        if path.suffix == ".txt":
            write_whole(path, text.encode())
        elif path.suffix == ".json":
            rows = [track.row() for track in outcome.tracks]
            document = {"fakescan_attribute_version": shared.VERSION, "command": "eval", **facts}
            values = _without_nan(document | {"tracks": rows})
            write_whole(path, (json.dumps(values, indent=1) + "\n").encode())
        else:
            track = outcome.tracks[0]
            title = f"{track.method} after {len(track.order)} tasks"
            write_whole(path, confusion_plot(track.confusion, track.classes, title))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
