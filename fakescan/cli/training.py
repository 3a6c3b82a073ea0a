"""What `fakescan train` starts: options and file -> settings -> one library call -> summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fakescan.config import from_dict, load, to_dict
from fakescan.data.samples import require_root
from fakescan.data.shards import is_shards
from fakescan.errors import ConfigError
from fakescan.places.uri import is_uri
from fakescan.report.table import visible

Overrides: TypeAlias = Mapping[tuple[str, ...], Any]
"""Place of a setting among the tables -> its value; None where the option was not given."""
Verbosity: TypeAlias = Literal["quiet", "notes", "bar"]

STAGES = {
    "shards": "shards",
    "trunk": "frozen blocks",
    "train": "training",
    "learn": "learning",
}
MISSING = {"torch", "open_clip", "safetensors", "tensorboard", "matplotlib", "onnx", "timm"}
"""Packages of the extra `train`."""


def run_training(
    out: Path,
    data: Sequence[str],
    config: Path | None,
    given: Overrides,
    *,
    resume: bool,
    device: str,
    verbosity: Verbosity,
) -> None:
    """Train, and say on standard error how it goes."""
    _require(data)  # before torch, which takes seconds to load, or is not there
    try:
        from fakescan.train.folder import read_run
        from fakescan.train.run import train
        from fakescan.train.settings import TrainConfig
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in MISSING:
            raise
        raise ConfigError(
            f"training needs the package {e.name}: pip install 'fakescan[train]'"
        ) from e
    options = {place: _whole(value) for place, value in given.items() if value is not None}
    if resume:
        if options or config:
            name = ".".join(next(iter(options))) if options else "--config"
            raise ConfigError(f"--resume takes the settings of {out}; leave out {name}")
        settings = read_run(out)
    else:
        settings = load(TrainConfig, config) if config else TrainConfig()
        settings = override(settings, options)
    if data:
        settings = override(settings, {("data",): [_rooted(root) for root in data]})
    console = Console(stderr=True)
    with Screen(console, verbosity) as screen:
        outcome = train(settings, out, resume=resume, device=device, listener=screen)
    if verbosity != "quiet":
        found = outcome.validation
        figures = f"held-out AUC {found.auc:.4f}, " if found else ""
        steps = "1 step" if outcome.steps == 1 else f"{outcome.steps} steps"
        console.print(
            f"{steps}; {figures}fake from score {outcome.band.t_fake:.3f}, "
            f"real below {outcome.band.t_real:.3f}",
            highlight=False,
        )
        console.print(visible(f"next: fakescan export {out} --out model.onnx"), highlight=False)


def override(settings: Any, options: Mapping[tuple[str, ...], Any]) -> Any:
    """Settings with single values replaced, wherever they are nested."""
    values = to_dict(settings)
    for place, value in options.items():
        table = values
        for name in place[:-1]:
            table = table.setdefault(name, {})
        table[place[-1]] = value
    if "levels" in values.get("model", {}):
        values["model"].setdefault("head", "levels")
    return from_dict(type(settings), values, "options")


def _whole(value: Any) -> Any:
    """Paths as they can be found from anywhere, since they go into config.toml."""
    return value.absolute() if isinstance(value, Path) else value


def _require(data: Sequence[str]) -> None:
    for root in data:
        if not is_shards(root):
            require_root(Path(root))


def _rooted(root: str) -> str:
    return root if is_uri(root) else str(Path(root).absolute())


class Screen:
    """Shows progress as a bar and notes as lines."""

    def __init__(self, console: Console, verbosity: Verbosity) -> None:
        self.console, self.verbosity = console, verbosity
        self._tasks: dict[str, TaskID] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=verbosity != "bar",
        )

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._bar.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move a stage's bar."""
        if not self._tasks:
            self._bar.start()  # not before: a bar without tasks leaves an empty line
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(STAGES[stage], total=total)
        self._bar.update(self._tasks[stage], completed=done, total=total)

    def learning(self, what: str, done: int, total: int) -> None:
        """Move the bar of one of several things that are learnt, called so."""
        if not self._tasks:
            self._bar.start()
        if "learn" not in self._tasks:
            self._tasks["learn"] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks["learn"], description=what, completed=done, total=total)

    def note(self, text: str) -> None:
        """Print a line."""
        if self.verbosity != "quiet":
            self.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)
