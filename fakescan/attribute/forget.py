"""One task less: what was learnt with it goes, all else stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fakescan.attribute import bundle
from fakescan.attribute.attributor import Attributor
from fakescan.attribute.book import Machine
from fakescan.attribute.bundle import Manifest
from fakescan.attribute.lesson import rows_at
from fakescan.attribute.softmax import Linear
from fakescan.attribute.store import Change, open_bundle, save_state
from fakescan.errors import ConfigError


def remove_task(folder: Path, name: str, machine: Machine) -> Manifest:
    """Forget a task: its classes, extractor and exemplars; other adapters stay as they are.

    Raises:
        ConfigError: no such task, or the only one with reals.
        AttributorError: the bundle cannot be used.
    """
    with bundle.changing(folder):
        opened = open_bundle(
            folder, weights=machine.weights, device=machine.device, with_memory=True
        )
        manifest, known = opened.manifest, opened.attributor
        names = [task.name for task in manifest.tasks]
        if name not in names:
            raise ConfigError(f"task {name!r}: not known; known: {', '.join(names) or 'none'}")
        rest = [i for i, c in enumerate(known.classes) if c.task != name]
        if len(names) == 1:
            raise ConfigError(f"task {name!r}: the only one; delete {folder} instead")
        if not any(known.classes[i].kind == "real" for i in rest):
            raise ConfigError(f"task {name!r}: it has the only reals; nothing could be called real")
        change = Change(
            tuple(task for task in manifest.tasks if task.name != name),
            manifest.memory.limit,
            manifest.memory.mode,
        )
        return save_state(opened, without(known, names.index(name), rest), change)


def without(known: Attributor, task: int, rest: Sequence[int]) -> Attributor:
    """The attributor without one task's extractor, with the classes `rest` alone."""
    extractors = known.extractors.emptied()
    extractors.tasks.extend(t for i, t in enumerate(known.extractors.tasks) if i != task)
    assert known.linear is not None
    start = extractors.frozen_features + task * extractors.own_features
    columns = np.r_[0:start, start + extractors.own_features : known.linear.weight.shape[1]]
    kept = [i for i, e in enumerate(known.exemplars) if e.label in rest]
    return replace(
        known,
        extractors=extractors,
        classes=tuple(known.classes[i] for i in rest),
        linear=Linear(known.linear.weight[np.ix_(rest, columns)], known.linear.bias[list(rest)]),
        exemplars=tuple(
            replace(known.exemplars[i], label=rest.index(known.exemplars[i].label)) for i in kept
        ),
        rows=None if known.rows is None or not kept else rows_at(known.rows, kept),
    )
