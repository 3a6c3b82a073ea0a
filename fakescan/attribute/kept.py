"""Finished steps of an evaluation in a folder, so that whoever is stopped goes on from there.

    FOLDER/DIGEST/METHOD.json             what was called in each finished step, and its time
    FOLDER/DIGEST/METHOD.3.safetensors    what the step after 3 starts from

DIGEST names everything that results depend on: images, order, design, backbone, settings. Files
that cannot be read count as not there: their steps are learnt again. Torch-free.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fakescan.errors import OutputError

VERSION = 1
"""Grows when methods learn otherwise."""

State = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """What a method said after it learnt one task."""

    number: int
    """Counted from 0."""
    seconds: float
    """That learning took."""
    called: list[list[list[int]]]
    """Classes of the judged images: for each of the method's names, for each task so far."""
    mean_ap: list[float | None]
    """CDDB's mAP, for each name."""


class Kept:
    """The steps of one method over one order; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, facts: Mapping[str, Any], method: str) -> None:
        """Read what is there.

        Args:
            folder: of the evaluation; None keeps nothing.
            facts: all that results depend on, JSON's types.
            method: its name.
        """
        self.steps: list[Step] = []
        self.state: State = {}
        """After the last step; nothing where no step follows."""
        self.is_whole = False
        """No step follows."""
        self._folder: Path | None = None
        if folder is not None:
            self._folder = folder / digest(facts)
            self._name = method.replace(",", "").replace(" ", "-").lower()
            self._read()

    def add(self, step: Step, state: State, *, is_last: bool) -> None:
        """Keep one more step.

        Raises:
            OutputError: it cannot be written.
        """
        self.steps.append(step)
        self.is_whole = is_last
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not is_last:
                whole = {name: np.ascontiguousarray(value) for name, value in state.items()}
                _replace(self._state_file(step.number), save(whole))
            steps = [asdict(s) for s in self.steps]
            text = json.dumps({"version": VERSION, "is_whole": is_last, "steps": steps})
            _replace(self._folder / f"{self._name}.json", text.encode())
            for path in self._folder.glob(f"{self._name}.*.safetensors"):
                if is_last or path != self._state_file(step.number):
                    path.unlink()
        except OSError as e:
            raise OutputError(f"{self._folder}: cannot be written ({e.strerror})") from e

    def _read(self) -> None:
        assert self._folder is not None
        try:
            found = json.loads((self._folder / f"{self._name}.json").read_text(encoding="utf-8"))
            steps = [Step(**values) for values in found["steps"]]
            if found["version"] != VERSION or not steps:
                return
            if not found["is_whole"]:
                self.state = load(self._state_file(steps[-1].number).read_bytes())
            self.steps, self.is_whole = steps, bool(found["is_whole"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            self.steps, self.state = [], {}

    def _state_file(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._name}.{number}.safetensors"


def digest(facts: Mapping[str, Any]) -> str:
    """A short name for what results depend on."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(paths: Sequence[Path]) -> str:
    """A name for files as they are now: their places, sizes and times."""
    told = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
            facts = f"{path.absolute()}\0{found.st_size}\0{found.st_mtime_ns}\n"
        except OSError:
            facts = f"{path.absolute()}\0-\n"
        told.update(facts.encode("utf-8", "surrogateescape"))
    return told.hexdigest()


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
